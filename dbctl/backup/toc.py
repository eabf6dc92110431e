"""An archive's table of contents: which of its entries bring back single tables."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Collection, Iterator
from pathlib import Path

from dbctl.backup.archive import Archive
from dbctl.backup.archive_tools import Tool
from dbctl.postgres.client import run_tool

_ENTRY = re.compile(r"^\d+; \d+ \d+ (?P<what>.*)$")
# On empty tables they cost nothing, so those of all tables are taken: an INDEX entry does not name its table.
# Foreign keys, triggers and policies would reach out of the tables.
_KEYS = ("CONSTRAINT ", "INDEX ", "INDEX ATTACH ", "CHECK CONSTRAINT ", "SEQUENCE SET ")
# What an entry is, what stands before the table's name in its line, and what behind it.
_OUTWARD = (
    ("FK CONSTRAINT", "", " "),
    ("TRIGGER", "", " "),
    ("RULE", "", " "),
    ("ROW SECURITY", "", " "),
    ("POLICY", "", " "),
    ("ACL", "TABLE ", " "),
    ("ACL", "COLUMN ", "."),
)
_FIRST_ENTRY = "\n--\n-- Name: "

TableName = tuple[str, str]


async def entries_of(pg_restore: Tool, archive: Archive, tables: Collection[TableName]) -> str:
    """The lines of ``pg_restore --list`` with these tables' rows, and all keys, indexes and sequences."""
    rows = tuple(f"TABLE DATA {_shown(schema)} {_shown(name)} " for schema, name in tables)
    listing = await _output(pg_restore, archive, "--list")
    return "".join(_chosen(listing, (*rows, *_KEYS)))


async def outward_sql(pg_restore: Tool, archive: Archive, tables: Collection[TableName]) -> tuple[str, ...]:
    """The statements that make what reaches out of these tables: foreign keys, triggers, policies, rules, grants."""
    kinds = [
        f"{kind} {_shown(schema)} {among}{_shown(name)}{end}"
        for schema, name in tables
        for kind, among, end in _OUTWARD
    ]
    chosen = "".join(_chosen(await _output(pg_restore, archive, "--list"), tuple(kinds)))
    if not chosen:
        return ()
    with tempfile.TemporaryDirectory() as folder:
        entries = Path(folder) / "entries"
        entries.write_text(chosen)
        script = await _output(pg_restore, archive, "--file=-", "--no-owner", f"--use-list={entries}")
    # What stands before the first entry sets up a session.
    _, _, body = script.partition(_FIRST_ENTRY)
    lines = f"--{body}".splitlines()
    return tuple(line for line in lines if line.strip() and not line.startswith(("--", "\\")))


async def _output(pg_restore: Tool, archive: Archive, *options: str) -> str:
    written = bytearray()
    await run_tool(
        pg_restore.path,
        *options,
        *archive.arguments,
        stdin=archive.stream(),
        environment={},
        sink=written.extend,
    )
    return written.decode()


def _chosen(listing: str, beginnings: tuple[str, ...]) -> Iterator[str]:
    for line in listing.splitlines():
        entry = _ENTRY.match(line)
        if entry and entry["what"].startswith(beginnings):
            yield f"{line}\n"


def _shown(name: str) -> str:
    """A name as the list shows it."""
    return name.replace("\n", " ").replace("\r", " ")
