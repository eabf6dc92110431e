"""An archive's table of contents: which of its entries bring back single tables."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator

from dbctl.backup.archive import Archive
from dbctl.backup.archive_tools import Tool
from dbctl.postgres.client import run_tool

_ENTRY = re.compile(r"^\d+; \d+ \d+ (?P<what>.*)$")
# On empty tables they cost nothing, so those of all tables are taken: an INDEX entry does not name its table.
# Foreign keys, triggers and policies would reach out of the tables.
_KEYS = ("CONSTRAINT ", "INDEX ", "INDEX ATTACH ", "CHECK CONSTRAINT ", "SEQUENCE SET ")

TableName = tuple[str, str]


async def entries_of(pg_restore: Tool, archive: Archive, tables: Collection[TableName]) -> str:
    """The lines of ``pg_restore --list`` with these tables' rows, and all keys, indexes and sequences."""
    listed = bytearray()
    await run_tool(
        pg_restore.path,
        "--list",
        *archive.arguments,
        stdin=archive.stream(),
        environment={},
        sink=listed.extend,
    )
    return "".join(f"{line}\n" for line in _chosen(listed.decode(), tables))


def _chosen(listing: str, tables: Collection[TableName]) -> Iterator[str]:
    rows = tuple(f"TABLE DATA {_shown(schema)} {_shown(name)} " for schema, name in tables)
    for line in listing.splitlines():
        entry = _ENTRY.match(line)
        if entry and entry["what"].startswith((*rows, *_KEYS)):
            yield line


def _shown(name: str) -> str:
    """A name as the list shows it."""
    return name.replace("\n", " ").replace("\r", " ")
