"""pg_dump and pg_restore: which program, which compression, and what their complaints mean."""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass
from pathlib import Path

from dbctl.errors import Busy, DbctlError, Refused, ToolFailed
from dbctl.postgres.binaries import find_client, program_version
from dbctl.postgres.client import run_tool

_FALLBACK = "gzip:1"
# A socket folder that can't exist: a client gets as far as its options are good, and no further.
_NOWHERE = {"PGHOST": "/dev/null"}
# What the server says of a row that does not fit into the largest piece of its memory.
_TOO_LARGE = ("invalid memory alloc request size", "out of memory", "string buffer", "exceeds maximum")
_DUMPING = re.compile(r'Dumping the contents of table "(.+)" failed')
_COMPLAINT = re.compile(r"[^\n]*(?:compress|-Z)[^\n]*")


@dataclass(frozen=True, slots=True)
class Tool:
    """A client program and its version."""

    path: Path
    version: str

    @property
    def major(self) -> int:
        """The major version: 17 of 17.10."""
        return int(self.version.partition(".")[0])


async def choose_tool(name: str, server_major: int) -> Tool:
    """The program for a server of that major. Raises ToolMissing where there are only older ones."""
    path = await asyncio.to_thread(find_client, name, server_major)
    return Tool(path, program_version(path))


async def choose_compression(pg_dump: Tool, wish: str) -> tuple[str, tuple[str, ...]]:
    """The wished compression, or gzip where pg_dump lacks it and a note that says so."""
    if wish == "none" or wish.startswith("gzip"):
        return wish, ()
    arguments = ("--format=custom", *compression_arguments(wish))
    tried = await run_tool(pg_dump.path, *arguments, environment=_NOWHERE, accept=frozenset({0, 1}))
    complaint = _COMPLAINT.search(tried.stderr_tail)
    if complaint is None:
        return wish, ()
    why = complaint[0].removeprefix("pg_dump: error: ")
    return _FALLBACK, (f"compressed by {_FALLBACK} instead of {wish}: pg_dump {pg_dump.version} says {why}",)


def compression_arguments(compression: str) -> tuple[str, ...]:
    """pg_dump's option; gzip as a number, the one form that all versions take."""
    method, _, level = compression.partition(":")
    forms = {"none": "0", "gzip": level or "6"}
    return (f"--compress={forms.get(method, compression)}",)


def dbname_argument(name: str) -> str:
    """As a connection string: a bare name with ``=`` in it would be read as one."""
    escaped = name.replace("\\", "\\\\").replace("'", "\\'")
    return f"dbname='{escaped}'"


def dump_error(error: ToolFailed, lock_wait_seconds: float) -> DbctlError:
    """What pg_dump ran into: no lock makes us busy, what it can't write at all is refused."""
    said = f"{error.why} {error.said}"
    if any(phrase in said for phrase in _TOO_LARGE):
        return Refused(
            "a value is too large for a dump",
            why=_table_of(said) or error.why,
            hint="a row must stay below 1 GB as text (bytea: 512 MB); split it, or leave its table out: --exclude",
        )
    if "permission denied" in error.why:
        hint = "connect as the owner, or as a member of pg_read_all_data"
        return ToolFailed(error.message, why=error.why, hint=hint)
    # Its --lock-wait-timeout is a statement_timeout while it locks; afterwards it has none.
    if "statement timeout" not in error.why:
        return error
    return Busy(
        "a table is locked by another session",
        why=f"pg_dump waited {lock_wait_seconds:g} s for it: {error.why}",
        hint="try again when it is done; pg_stat_activity and pg_locks show who holds it",
    )


def _table_of(said: str) -> str:
    found = _DUMPING.search(said)
    return f"a row of table {found[1]} has more than a gigabyte as text" if found else ""
