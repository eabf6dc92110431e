"""How long a statement may wait and run: by what it is, and by what its transaction holds already."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache

_COMMENT = re.compile(r"--[^\n]*|/\*.*?\*/", re.DOTALL)
_FIRST_WORD = re.compile(r"[\s(]*([a-z]+)")
# Words at which PostgreSQL's parser must say what they mean there.
_TELLING = ("concurrently", "validate", "vacuum")
_DATA = {"insert", "update", "delete", "merge", "copy", "select", "with", "values", "table", "show", "fetch"}
_SESSION = {"set", "reset", "begin", "start", "commit", "rollback", "savepoint", "release", "end", "abort"}


class Kind(StrEnum):
    """What a statement is to the others: ``blocking`` ones make them queue while they wait and while they hold.

    ``concurrent`` ones (CONCURRENTLY, VALIDATE, VACUUM) let reads and writes through, and take as long as they take.
    """

    BLOCKING = "blocking"
    DATA = "data"
    CONCURRENT = "concurrent"
    SESSION = "session"


@dataclass(frozen=True, slots=True)
class Limits:
    """What the server is told before a statement, in milliseconds; 0 is no limit."""

    lock_ms: int
    statement_ms: int


@dataclass(frozen=True, slots=True)
class Patience:
    """How long statements may wait for locks (``lock_``) and run, in seconds; 0 is for ever.

    ``retry_budget_seconds`` is how long a revision that did not get its locks is tried again.
    """

    lock_seconds: float = 2
    data_lock_seconds: float = 30
    ddl_seconds: float = 0
    data_seconds: float = 0
    concurrent_seconds: float = 0
    retry_budget_seconds: float = 600

    def limits(self, kind: Kind, *, holds_locks: bool) -> Limits:
        """The limits of a statement; ``holds_locks``: its transaction has locks already that others wait for."""
        lock = self.lock_seconds
        if kind is Kind.CONCURRENT:
            # Cut short, it would leave an invalid index: it waits as long as it may run.
            return Limits(_ms(lock if holds_locks else 0), _ms(self.concurrent_seconds))
        if kind is Kind.DATA:
            return Limits(_ms(lock if holds_locks else self.data_lock_seconds), _ms(self.data_seconds))
        return Limits(_ms(lock), _ms(self.ddl_seconds))


@lru_cache(maxsize=512)
def kind_of(sql: str, formats: str = "") -> Kind:
    """What a statement, or the strictest of several in one text, is to others; ``formats`` as for `numbered`."""
    plain = _COMMENT.sub(" ", sql).lower()
    first = found[1] if (found := _FIRST_WORD.match(plain)) else ""
    if not any(word in plain for word in _TELLING) and (";" not in plain.rstrip("; \n")):
        return _by_word(first)
    # Else PostgreSQL's parser is not even loaded.
    from dbctl.migrate.kinds import read_kind

    return read_kind(sql, formats)


def _by_word(first: str) -> Kind:
    if first in _SESSION:
        return Kind.SESSION
    return Kind.DATA if first in _DATA else Kind.BLOCKING


def _ms(seconds: float) -> int:
    return round(seconds * 1000)
