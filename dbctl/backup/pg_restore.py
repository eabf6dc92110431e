"""Runs pg_restore into an empty database and stops at its first error."""

from __future__ import annotations

from collections.abc import Iterator

from dbctl.backup.archive import Archive
from dbctl.backup.archive_tools import dbname_argument
from dbctl.backup.preflight import Preflight
from dbctl.database import Target
from dbctl.errors import ToolFailed
from dbctl.postgres.client import run_tool

_HINT = "nothing was replaced; a missing role or privilege: try --no-owner"
# pg_restore 17 sets it on every server; one before 17 does not know it.
_HARMLESS = "transaction_timeout"
_HARMLESS_SINCE = 17


class _FirstError:
    """Reads pg_restore's messages and raises ToolFailed at the first error that matters."""

    def __init__(self) -> None:
        self._rest = ""

    def __call__(self, piece: str) -> None:
        *lines, self._rest = (self._rest + piece).split("\n")
        for line in lines:
            if "error: " in line and _HARMLESS not in line:
                raise ToolFailed("pg_restore failed", why=line.partition("error: ")[2], hint=_HINT)


async def fill_database(
    fresh: Target,
    ready: Preflight,
    archive: Archive,
    *,
    owners: bool = True,
    tablespaces: bool = True,
    jobs: int = 1,
    memory_bytes: int = 0,
    only: tuple[str, ...] = (),
) -> None:
    """Restore the archive into ``fresh``, so many tables at a time. Raises ToolFailed with pg_restore's first error.

    ``memory_bytes`` for each index that is built (0: as the server has it); ``only`` are more of pg_restore's options.
    """
    conninfo = await fresh.with_password()
    environment = conninfo.libpq_environment()
    environment["PGOPTIONS"] = " ".join(
        [environment.get("PGOPTIONS", ""), *_quick(memory_bytes, lz4=ready.lz4)]
    ).strip()
    tolerant = ready.pg_restore.major >= _HARMLESS_SINCE > ready.server_major
    try:
        await run_tool(
            ready.pg_restore.path,
            "--no-password",
            *(() if tolerant else ("--exit-on-error",)),
            *(() if owners else ("--no-owner", "--no-acl")),
            *(() if tablespaces else ("--no-tablespaces",)),
            # From a stream it reads in order, one after the other.
            *((f"--jobs={jobs}",) if jobs > 1 and not archive.encrypted else ()),
            *only,
            f"--dbname={dbname_argument(conninfo.database)}",
            *archive.arguments,
            stdin=archive.stream(),
            environment=environment,
            password=conninfo.password,
            on_message=_FirstError() if tolerant else None,
            accept=frozenset({0, 1}) if tolerant else frozenset({0}),
        )
    except ToolFailed as error:
        failed = ToolFailed(error.message, why=error.why, hint=_HINT)
        failed.said = error.said
        raise failed from error


def _quick(memory_bytes: int, *, lz4: bool) -> Iterator[str]:
    """Settings that the role may make for its sessions; those of checkpoints are the whole server's."""
    # Nobody relies on the database yet: what a crash of the server takes with it, the swap never sees.
    yield "-c synchronous_commit=off"
    if memory_bytes:
        yield f"-c maintenance_work_mem={memory_bytes >> 10}kB"
    if lz4:
        yield "-c wal_compression=lz4"
