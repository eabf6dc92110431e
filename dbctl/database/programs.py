"""Which server a program of PostgreSQL's would go to, by its arguments and its environment."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import takewhile
from pathlib import PurePath
from typing import Any

from dbctl.database.conninfo import ConnInfo, parse_conninfo

_CLIENTS = {
    *("psql", "pg_dump", "pg_dumpall", "pg_restore", "pg_basebackup", "pgbench", "pg_isready"),
    *("createdb", "dropdb", "createuser", "dropuser", "vacuumdb", "reindexdb", "clusterdb"),
}
_LONG = {"--host": "host", "--port": "port", "--dbname": "dbname", "--username": "user"}
_SHORT = {"-h": "host", "-p": "port", "-d": "dbname", "-U": "user"}
# The next word is theirs, and no database's name.
_TAKE_A_WORD = {"-c", "-f", "-F", "-j", "-o", "-v", "-L", "-P", "-R", "-T"}
# Of these so it is for all but psql.
_ELSEWHERE = {"-n", "-N", "-t", "-S", "-X", "-Z", "-E"}
_SHELLS = {"sh", "bash", "dash", "zsh", "ksh"}
_ENDS = {"|", "||", "&&", ";", "&", "<", ">", ">>"}
_URL = re.compile(r"postgres(?:ql)?(?:\+\w+)?://\S+")


@dataclass(frozen=True, slots=True)
class Call:
    """A program, and the server that it would go to."""

    program: str
    address: ConnInfo


def calls_of(arguments: Any, environ: Mapping[str, str]) -> Iterator[Call]:
    """The programs in the arguments of a new process that would go to a server, in a shell's words too.

    Of other programs those that are given a PostgreSQL URL. Raises SettingsError for an address that can't be read.
    """
    words = list(_words(arguments))
    for number, word in enumerate(words):
        if PurePath(word).name in _CLIENTS:
            program = PurePath(word).name
            taking = _TAKE_A_WORD if program == "psql" else _TAKE_A_WORD | _ELSEWHERE
            yield Call(program, _address(words[number + 1 :], taking, environ))
            return
    for word in words:
        if found := _URL.search(word):
            yield Call(PurePath(words[0]).name, parse_conninfo(found[0].strip("'\""), environ=environ))


def _words(arguments: Any) -> Iterator[str]:
    if isinstance(arguments, str | bytes | os.PathLike):
        yield from _split(os.fsdecode(arguments))
        return
    words = [os.fsdecode(each) for each in arguments]
    is_shell = bool(words) and PurePath(words[0]).name in _SHELLS
    for word in words:
        # What a shell is given to run is one argument.
        yield from _split(word) if is_shell else (word,)


def _split(text: str) -> Sequence[str]:
    try:
        return shlex.split(text)
    except ValueError:
        return text.split()


def _address(words: Sequence[str], taking: Collection[str], environ: Mapping[str, str]) -> ConnInfo:
    """As libpq will: the options, the database's name or address, then PG… variables and defaults."""
    given = dict(_options(words, taking))
    database = given.pop("dbname", "")
    is_address = "://" in database or "=" in database
    found = parse_conninfo(database if is_address else "", environ=environ)
    named = {} if is_address or not database else {"dbname": database}
    return replace(found, keywords={**found.keywords, **named, **given})


def _options(words: Sequence[str], taking: Collection[str]) -> Iterator[tuple[str, str]]:
    rest = takewhile(lambda word: word not in _ENDS, words)
    is_named = False
    for word in rest:
        option, equals, value = word.partition("=")
        if option in _LONG:
            yield _LONG[option], value if equals else next(rest, "")
        elif word[:2] in _SHORT:
            yield _SHORT[word[:2]], word[2:] or next(rest, "")
        elif word in taking:
            next(rest, "")
        elif not word.startswith("-") and not is_named:
            is_named = True
            yield "dbname", word
