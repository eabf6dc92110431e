"""What event triggers noted: statements inside statements, reasons of rewrites, what a CASCADE took along."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from dbctl.migrate.trace.model import Hidden
from dbctl.postgres.sql import SqlNotParsed, parse

# AT_REWRITE_* of event_trigger.h.
_REASONS = {1: "persistence", 2: "default", 4: "type", 8: "access method"}
# Innermost first; a statement's text is quoted, its own quotes are not escaped.
_SQL = re.compile(r'SQL statement "(?P<sql>.*?)"(?=\n(?:PL/|SQL |compilation |extension )|\Z)', re.DOTALL)
# One in SQL says only where it is.
_OF_FUNCTION = re.compile(r'SQL function "(?P<name>.*?)" statement (?P<number>\d+)')
_OWN = re.compile(r"[^\n]*dbctl_note_command\(\)[^\n]*\n")
_SCRIPT = re.compile(r"^extension script file", re.MULTILINE)

Source = Callable[[str], str]


@dataclass(slots=True)
class Notes:
    """The notes of one statement."""

    hidden: tuple[Hidden, ...] = ()
    reasons: dict[int, tuple[str, ...]] = field(default_factory=dict)
    dropped: tuple[str, ...] = ()


def read_notes(text: str, source: Source) -> Notes:
    """What stands in the variable of the session; ``source`` gives the text of an SQL function."""
    notes = Notes()
    contexts: list[str] = []
    for line in filter(None, text.split("\n")):
        kind, *values = json.loads(line)
        if kind == "command":
            contexts.append(values[0])
        elif kind == "rewrite":
            oid, reason = values
            notes.reasons[oid] = tuple(word for bit, word in _REASONS.items() if reason & bit)
        else:
            notes.dropped += tuple(values[0])
    notes.hidden = tuple(hidden for context in contexts for hidden in _innermost(context, source))
    return notes


def hidden_in_error(error: BaseException | None, source: Source) -> tuple[Hidden, ...]:
    """The statement inside another that a driver's error comes from."""
    context = getattr(getattr(error, "diag", None), "context", None) or getattr(error, "context", None)
    if isinstance(context, str):
        return tuple(_innermost(context, source))
    return hidden_in_error(error.__cause__, source) if error and error.__cause__ else ()


def _innermost(context: str, source: Source) -> Iterator[Hidden]:
    """The innermost statement of a call stack."""
    stack = _OWN.sub("", context, count=1)
    # What an extension's script does belongs to CREATE EXTENSION.
    if _SCRIPT.search(stack):
        return
    if found := _SQL.match(stack):
        yield from _read(found["sql"])
    elif found := _OF_FUNCTION.match(stack):
        statements = list(_read(source(found["name"])))
        yield from statements[int(found["number"]) - 1 : int(found["number"])]


def _read(sql: str) -> Iterator[Hidden]:
    try:
        parsed = parse(sql)
    except SqlNotParsed:
        yield Hidden(sql, ())
        return
    for each in parsed:
        yield Hidden(each.sql, each.operations)
