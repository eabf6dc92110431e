"""The whole catalog as short marks, thing by thing: what a restore must bring back, told by name where it does not."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping

from sqlalchemy import Connection

from dbctl.errors import Corrupt
from dbctl.postgres.catalog.objects import Item, read_snapshot

MEMBER_NAME = "catalog.json"
# Settings belong to the database and are in the archive for `pg_restore --create`; a user mapping holds a password.
_KINDS_LEFT_OUT = {"setting", "user mapping"}
# Where things lie is the server's affair; an extension comes in the version that the server has.
_PARTS_LEFT_OUT = {"tablespace", "version"}
# Read back after a restore, `(a)::text = ANY ((ARRAY[…])::text[])` has its casts and parentheses elsewhere.
_CAST = re.compile(
    r"::(?:\"[^\"]+\"|[\w.]+)(?: varying| precision| with(?:out)? time zone)?(?:\(\d+(?:,\s*\d+)?\))?(?:\[\])*"
)
_LOOSE = re.compile(r"[\s()]+")
_LISTED = 5
_MARK_BYTES = 8

Marks = Mapping[str, str]


def read_marks(connection: Connection) -> Marks:
    """A mark for each thing that users made (pg_catalog), by what it is called: ``table public.users``."""
    snapshot = read_snapshot(connection)
    return {
        f"{item.kind} {item.name}": _mark(item)
        for item in snapshot.items.values()
        if item.kind not in _KINDS_LEFT_OUT
    }


def render_marks(marks: Marks) -> bytes:
    """As JSON, a thing a line."""
    return (json.dumps(dict(sorted(marks.items())), ensure_ascii=False, indent=0) + "\n").encode()


def parse_marks(text: bytes) -> Marks:
    """What ``render_marks`` wrote. Raises Corrupt."""
    try:
        found = json.loads(text)
    except ValueError as error:
        raise Corrupt(f"{MEMBER_NAME} is broken", why=str(error)) from None
    if not isinstance(found, dict):
        raise Corrupt(f"{MEMBER_NAME} is broken", why="it holds no object")
    return {str(name): str(mark) for name, mark in found.items()}


def compare_marks(expected: Marks, found: Marks) -> tuple[str, ...]:
    """What is not as it was, in a few sentences; nothing where all is."""
    return tuple(_told(expected, found))


def _told(expected: Marks, found: Marks) -> Iterator[str]:
    groups = {
        "missing": [name for name in expected if name not in found],
        "not the same": [name for name in expected if name in found and found[name] != expected[name]],
        "there too much": [name for name in found if name not in expected],
    }
    for what, names in groups.items():
        if names:
            more = f" and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
            yield f"{what}: {', '.join(sorted(names)[:_LISTED])}{more}"


def _mark(item: Item) -> str:
    parts = {name: sql for name, sql in item.parts.items() if name not in _PARTS_LEFT_OUT}
    said = [
        _plain(item, item.sql),
        *(f"{name}={_plain(item, parts[name])}" for name in sorted(parts)),
        *item.order,
    ]
    return hashlib.blake2b("\0".join(said).encode(), digest_size=_MARK_BYTES).hexdigest()


def _plain(item: Item, sql: str) -> str:
    """The statement without what PostgreSQL writes in another way when it reads its own text again."""
    plain = _LOOSE.sub("", _CAST.sub("", sql))
    # Its tables stand in the order of their oids.
    return "".join(sorted(plain)) if item.kind == "publication" else plain
