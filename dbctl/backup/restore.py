"""Restores a backup into a new database, compares it with its manifest, and only then lets it take the name."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime

from dbctl.backup.alongside import time_limit, together
from dbctl.backup.archive import Archive
from dbctl.backup.arrival import compare_arrival
from dbctl.backup.connections import at, find_maintenance, only_restore, patient, psql_command, run_ddl
from dbctl.backup.fetch import intact
from dbctl.backup.mask import mask_database
from dbctl.backup.model import Manifest, Progress, Say, ignore
from dbctl.backup.naming import new_id, side_name
from dbctl.backup.new_database import drop_leftovers, name_in_the_making, new_database
from dbctl.backup.pg_restore import fill_database
from dbctl.backup.preflight import Preflight, check_restore
from dbctl.backup.properties import copy_properties
from dbctl.backup.restore_model import Restored, RestoreOptions
from dbctl.backup.statistics import analyze
from dbctl.backup.swap import KEPT, UNDONE, go_live
from dbctl.database import Target
from dbctl.errors import Failed
from dbctl.postgres.identifiers import quote_identifier
from dbctl.postgres.tasks import surely
from dbctl.settings import BackupSettings

_MOST_JOBS = 8

Finish = Callable[[Target], Awaitable[tuple[str, ...]]]


@dataclass(frozen=True, slots=True)
class _Names:
    """The name to give, the one in the making, and the one for the database that goes aside."""

    final: str
    fresh: str
    kept: str


@dataclass(frozen=True, slots=True)
class _Work:
    """One restore: what, where, how."""

    target: Target
    maintenance: Target
    archive: Archive
    settings: BackupSettings
    options: RestoreOptions
    finish: Finish | None

    @property
    def jobs(self) -> int:
        return self.options.jobs or min(_MOST_JOBS, os.cpu_count() or 1)


async def restore_backup(
    target: Target,
    archive: Archive,
    settings: BackupSettings,
    options: RestoreOptions = RestoreOptions(),  # noqa: B008 - frozen
    *,
    finish: Finish | None = None,
    progress: Progress = ignore,
    say: Say = ignore,
) -> Restored:
    """Put the backup in the place of the target's database, which is kept under another name.

    Every byte is checked before the server gets its first statement; ``progress`` takes the bytes checked so
    far. ``finish`` works on the new database when it was compared, before it takes the name, and gives notes.
    On any failure, and on cancellation, the databases are those of before. Raises Corrupt, Refused, Busy,
    ToolFailed, Failed.
    """
    started = time.monotonic()
    name = options.beside or target.conninfo.database
    async with (
        time_limit(settings.timeout, "the restore"),
        intact(archive, progress=progress) as ready,
    ):
        maintenance = await find_maintenance(target)
        work = _Work(target, maintenance, ready, settings, options, finish)
        async with only_restore(maintenance, name):
            kept, notes = await _restore(work, name, say)
    return _told(maintenance, archive.manifest, name, kept, notes=notes, started=started)


async def _restore(work: _Work, name: str, say: Say) -> tuple[str | None, tuple[str, ...]]:
    names, maintenance = _names(name), work.maintenance
    ready = await check_restore(maintenance, work.archive, name, work.options)
    for leftover in await drop_leftovers(maintenance, name):
        say(f"dropped {leftover}: an earlier restore was killed before the swap, {name} is as it was")
    locale = work.archive.manifest.facts.locale
    async with new_database(maintenance, names.fresh, locale, ready.server_major) as notes:
        async with _closed(work, names.fresh):
            found = await _fill(work, at(work.target, names.fresh), ready)
        carried = await copy_properties(maintenance, name, names.fresh) if ready.replaced else ()
        kept = names.kept if ready.replaced else None
        try:
            await surely(go_live(maintenance, names.fresh, name, kept))
        except asyncio.CancelledError:
            raise _too_late(name, kept) from None
    return kept, (*ready.notes, *notes, *found, *carried)


@asynccontextmanager
async def _closed(work: _Work, fresh: str) -> AsyncIterator[None]:
    """Keep everybody else out while what is to be masked is not."""
    if work.options.masks is None:
        yield
        return
    async with patient(work.maintenance) as database:
        await run_ddl(database, f"REVOKE CONNECT ON DATABASE {quote_identifier(fresh)} FROM PUBLIC")
        yield
        await run_ddl(database, f"GRANT CONNECT ON DATABASE {quote_identifier(fresh)} TO PUBLIC")


async def _fill(work: _Work, fresh: Target, ready: Preflight) -> tuple[str, ...]:
    """Rows, indexes, comparison, statistics; notes on what differs."""
    options = work.options
    await fill_database(
        fresh,
        ready,
        work.archive,
        owners=options.owners,
        tablespaces=options.tablespaces,
        jobs=work.jobs,
        memory_bytes=work.settings.restore_memory,
    )
    notes: list[str] = []

    async def compare() -> None:
        notes.extend(await compare_arrival(fresh, work.archive, ready, options))

    if work.finish is None and options.masks is None:
        await together(compare(), analyze(fresh, work.jobs))
        return tuple(notes)
    await compare()
    if options.masks is not None:
        notes += await mask_database(fresh, options.masks)
    if work.finish is not None:
        notes += await work.finish(fresh)
    await analyze(fresh, work.jobs)
    return tuple(notes)


def _too_late(name: str, kept: str | None) -> Failed:
    """For an interruption that came when the names were being swapped."""
    why = f"what was called so is kept as {kept!r}" if kept else ""
    hint = "`dbctl restore --undo` brings it back" if kept else ""
    return Failed(f"the restore was done: {name!r} is the restored database", why=why, hint=hint)


def _names(final: str) -> _Names:
    quote_identifier(final)
    run_id = new_id(datetime.now(UTC))
    return _Names(final, name_in_the_making(final, run_id), side_name(final, KEPT, run_id))


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
        aside = quote_identifier(side_name(name, UNDONE, manifest.id))
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
        drop_command=psql_command(maintenance, drop),
        undo_command=psql_command(maintenance, *undo) if undo else "",
        notes=notes,
    )
