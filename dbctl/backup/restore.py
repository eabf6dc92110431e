"""Restores a backup into a new database, compares it with its manifest, and only then lets it take the name."""

from __future__ import annotations

import asyncio
import shlex
import shutil
import time
from dataclasses import dataclass
from datetime import UTC, datetime

from sqlalchemy import text

from dbctl.backup.alongside import time_limit
from dbctl.backup.archive import Archive
from dbctl.backup.compare import compare_rows
from dbctl.backup.connections import at, find_maintenance, patient
from dbctl.backup.model import Facts, Manifest, Progress, Restored, Say, ignore
from dbctl.backup.naming import new_id, side_name
from dbctl.backup.new_database import drop_leftovers, name_in_the_making, new_database
from dbctl.backup.pg_restore import fill_database
from dbctl.backup.preflight import Preflight, check_restore
from dbctl.backup.properties import copy_properties
from dbctl.backup.swap import go_live
from dbctl.backup.verify import ensure_intact
from dbctl.database import Target
from dbctl.errors import Failed
from dbctl.postgres.binaries import find_client
from dbctl.postgres.identifiers import quote_identifier
from dbctl.postgres.locks import advisory_lock
from dbctl.postgres.tasks import surely
from dbctl.settings import BackupSettings


@dataclass(frozen=True, slots=True)
class _Names:
    """The name to give, the one in the making, and the one for the database that goes aside."""

    final: str
    fresh: str
    kept: str


async def restore_backup(
    target: Target,
    archive: Archive,
    settings: BackupSettings,
    *,
    beside: str | None = None,
    owners: bool = True,
    progress: Progress = ignore,
    say: Say = ignore,
) -> Restored:
    """Put the backup in the place of the target's database, which is kept under another name.

    ``beside`` gives it that name instead and replaces nothing. Every byte is checked before the server gets
    its first statement; ``progress`` takes the bytes checked so far. On any failure, and on cancellation,
    the databases are those of before. Raises Corrupt, Refused, Busy, ToolFailed, Failed.
    """
    started = time.monotonic()
    name = beside or target.conninfo.database
    async with time_limit(settings.timeout, "the restore"):
        await ensure_intact(archive.backup, progress=progress)
        maintenance = await find_maintenance(target)
        async with (
            patient(maintenance) as database,
            database.connect() as connection,
            advisory_lock(connection, f"dbctl restore {name}"),
        ):
            kept, notes = await _restore(target, maintenance, archive, beside, owners=owners, say=say)
    return _told(maintenance, archive.manifest, name, kept, notes=notes, started=started)


async def _restore(
    target: Target, maintenance: Target, archive: Archive, beside: str | None, *, owners: bool, say: Say
) -> tuple[str | None, tuple[str, ...]]:
    manifest = archive.manifest
    names = _names(beside or target.conninfo.database)
    ready = await check_restore(maintenance, archive, names.final, beside=beside is not None, owners=owners)
    for leftover in await drop_leftovers(maintenance, names.final):
        say(f"dropped {leftover}: an earlier restore was killed")
    locale = manifest.facts.locale
    async with new_database(maintenance, names.fresh, locale, ready.server_major) as notes:
        fresh = at(target, names.fresh)
        await fill_database(fresh, ready, archive, owners=owners)
        await _check(fresh, ready, manifest.facts)
        carried = await copy_properties(maintenance, names.final, names.fresh) if ready.replaced else ()
        kept = names.kept if ready.replaced else None
        try:
            await surely(go_live(maintenance, names.fresh, names.final, kept))
        except asyncio.CancelledError:
            raise _too_late(names.final, kept) from None
    return kept, notes + carried


def _too_late(name: str, kept: str | None) -> Failed:
    """For an interruption that came when the names were being swapped."""
    why = f"what was called so is kept as {kept!r}" if kept else ""
    return Failed(f"the restore was done: {name!r} is the restored database", why=why)


def _names(final: str) -> _Names:
    quote_identifier(final)
    run_id = new_id(datetime.now(UTC))
    return _Names(final, name_in_the_making(final, run_id), side_name(final, "before", run_id))


async def _check(fresh: Target, ready: Preflight, expected: Facts) -> None:
    async with patient(fresh) as database:
        async with database.session() as session:
            problems = await compare_rows(session, expected, ready.server_major)
        if problems:
            raise Failed(
                "the restored rows are not those of the backup",
                why="; ".join(problems),
                hint="nothing was replaced",
            )
        async with database.connect() as connection:
            await connection.execute(text("ANALYZE"))


def _told(
    maintenance: Target,
    manifest: Manifest,
    name: str,
    kept: str | None,
    *,
    notes: tuple[str, ...],
    started: float,
) -> Restored:
    live = quote_identifier(name)
    drop, undo = f"DROP DATABASE {live}", []
    if kept:
        drop = f"DROP DATABASE {quote_identifier(kept)}"
        aside = quote_identifier(side_name(name, "undone", manifest.id))
        undo = [
            f"ALTER DATABASE {live} RENAME TO {aside}",
            f"ALTER DATABASE {quote_identifier(kept)} RENAME TO {live}",
        ]
    return Restored(
        backup_id=manifest.id,
        environment=maintenance.environment,
        database=name,
        kept=kept,
        tables=len(manifest.facts.tables),
        rows=sum(table.rows for table in manifest.facts.tables),
        duration_seconds=round(time.monotonic() - started, 3),
        drop_command=_psql(maintenance, drop),
        undo_command=_psql(maintenance, *undo) if undo else "",
        notes=notes,
    )


def _psql(maintenance: Target, *statements: str) -> str:
    where = maintenance.conninfo
    psql = "psql" if shutil.which("psql") else str(find_client("psql", 0))
    words = [psql, "-h", where.host, "-p", where.port, "-U", where.role, "-d", where.database]
    return shlex.join([*words, *(word for one in statements for word in ("-c", one))])
