"""The triggers of a table, and what their functions do to rows, as far as their text says it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from sqlalchemy import Connection, text

from dbctl.postgres.masking import mask_literals

# Those of constraints and of partitions, which have them from their parent, are PostgreSQL's own.
_TRIGGERS = """
SELECT CAST(t.tgrelid AS bigint), t.tgname, CAST(t.tgtype AS int), l.lanname, p.proname, p.prosrc,
       ARRAY(SELECT CAST(a.attname AS text) FROM pg_attribute AS a
              WHERE a.attrelid = t.tgrelid AND a.attnum = ANY (CAST(t.tgattr AS int2[]))),
       string_to_array(encode(t.tgargs, 'escape'), '\\000')
  FROM pg_trigger AS t JOIN pg_proc AS p ON p.oid = t.tgfoid JOIN pg_language AS l ON l.oid = p.prolang
 WHERE NOT t.tgisinternal AND t.tgenabled IN ('O', 'A')
"""
Event = Literal["INSERT", "UPDATE", "DELETE"]
_ROW, _BEFORE = 1, 2
# Where rows are deleted they may have been by TRUNCATE.
_EVENTS: Mapping[Event, int] = {"INSERT": 4, "DELETE": 8 | 32, "UPDATE": 16}
# PostgreSQL's own functions and those of its extensions: the argument that names what they set; -1: nothing.
_KNOWN = {
    "tsvector_update_trigger": 0,
    "tsvector_update_trigger_column": 0,
    "moddatetime": 0,
    "insert_username": 0,
    "autoinc": 0,
    "suppress_redundant_updates_trigger": -1,
    "check_primary_key": -1,
    "triggered_change_notification": -1,
}
# Not the actions of a foreign key (ON UPDATE SET NULL).
ON_ROWS = r"delete\s+from|truncate|merge\s+into|(?<!\bon\s)update\s[^;]*?\bset\b"
# What it runs by a name or a text that is made up on the way may be anything; PostgreSQL's own functions are none.
_CHANGES = re.compile(
    rf"\b(?:{ON_ROWS}|execute\b(?!\s+(?:function|procedure))|perform\s+(?!pg_|set_config|nextval|1\b|from\b|\?))",
    re.IGNORECASE | re.DOTALL,
)
_BEGIN = r"(?:^|;|\bbegin\b|\bthen\b|\belse\b|\bloop\b)\s*"
_SETS = re.compile(
    rf'{_BEGIN}new\.("?)(?P<set>\w+)\1\s*:?=|\binto\s+(?:strict\s+)?new\.("?)(?P<into>\w+)\3',
    re.IGNORECASE,
)
_SETS_ALL = re.compile(rf"{_BEGIN}new\s*:?=|\binto\s+(?:strict\s+)?new\b(?!\.)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Trigger:
    """A trigger that is on. ``sets`` are the columns of its row that it sets ("*": any of them).

    ``reaches_out``: it may change other rows, or nobody can tell. ``columns`` are those of UPDATE OF, empty: all.
    """

    name: str
    events: int
    function: str
    sets: tuple[str, ...]
    reaches_out: bool
    columns: tuple[str, ...] = ()

    def fires_on(self, event: Event, column: str = "") -> bool:
        """Whether such a change, of that column of an UPDATE (empty: of any), fires it."""
        if event == "UPDATE" and self.columns and column and column not in self.columns:
            return False
        return bool(self.events & _EVENTS[event])


def read_triggers(connection: Connection) -> dict[int, tuple[Trigger, ...]]:
    """The triggers that are on, by the oid of their table (pg_trigger, pg_proc)."""
    found: dict[int, tuple[Trigger, ...]] = {}
    for table, *row in connection.execute(text(_TRIGGERS)):
        found[table] = (*found.get(table, ()), _trigger(*row))
    return found


def set_columns(triggers: Iterable[Trigger], columns: Iterable[str]) -> Iterator[str]:
    """What triggers set besides, where an UPDATE sets these columns."""
    changed = tuple(columns) or ("",)
    for one in triggers:
        if any(one.fires_on("UPDATE", column) for column in changed):
            yield from one.sets


def _trigger(name: str, type_: int, *function: Any) -> Trigger:
    language, called, source, columns, arguments = function
    sets, reaches_out = _read(language, called, source, [*(arguments or ())])
    if not (type_ & _ROW and type_ & _BEFORE):
        sets = ()
    return Trigger(name, type_, called, sets, reaches_out, tuple(columns))


def _read(language: str, function: str, source: str, arguments: list[str]) -> tuple[tuple[str, ...], bool]:
    if function in _KNOWN:
        place = _KNOWN[function]
        return (tuple(arguments[place : place + 1]) if place >= 0 else ()), False
    if language != "plpgsql":
        return ("*",), True
    plain = mask_literals(source, len(source) + 1)
    sets = [one["set"] or one["into"] for one in _SETS.finditer(plain)]
    if _SETS_ALL.search(plain):
        sets.append("*")
    return tuple(dict.fromkeys(sets)), bool(_CHANGES.search(plain))
