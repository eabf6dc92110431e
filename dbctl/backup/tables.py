"""Brings single tables back beside the live ones: into a schema of their own, nothing else is touched."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from sqlalchemy.ext.asyncio import AsyncSession

from dbctl.backup.alongside import time_limit
from dbctl.backup.archive import Archive
from dbctl.backup.connections import at, find_maintenance, only_restore, patient, run_ddl
from dbctl.backup.fetch import intact
from dbctl.backup.model import Facts, Progress, Say, ignore
from dbctl.backup.naming import new_id, side_name
from dbctl.backup.new_database import drop_leftovers, name_in_the_making, scrap_database
from dbctl.backup.pg_restore import fill_database
from dbctl.backup.pipe import copy_schema
from dbctl.backup.preflight import Preflight, check_restore
from dbctl.backup.restore_model import RestoreOptions, TableBack, TablesBack
from dbctl.backup.rows import count_rows, read_tables
from dbctl.backup.table_facts import Side, copy_back, detach, find_tables
from dbctl.backup.table_swap import swap_script
from dbctl.backup.toc import entries_of, outward_sql
from dbctl.database import Target
from dbctl.errors import Failed
from dbctl.postgres.identifiers import quote_identifier
from dbctl.settings import BackupSettings


@dataclass(frozen=True, slots=True)
class _Work:
    target: Target
    maintenance: Target
    archive: Archive
    settings: BackupSettings
    jobs: int


async def restore_tables(
    target: Target,
    archive: Archive,
    settings: BackupSettings,
    names: Sequence[str],
    *,
    jobs: int = 1,
    progress: Progress = ignore,
    say: Say = ignore,
) -> TablesBack:
    """Put tables of the backup, with keys, indexes and sequences, into a new schema ``restored_…``.

    They are restored into a database of their own first, compared with the manifest, and come over in one
    transaction: on any failure the live database is as it was. They belong to the role that restores, without
    grants, foreign keys, triggers and policies: these are in the SQL that would swap them with the live ones.
    Raises Corrupt, Refused, Busy, UsageError, NotFound,
    ToolFailed, Failed.
    """
    started = time.monotonic()
    database = target.conninfo.database
    async with (
        time_limit(settings.timeout, "the restore"),
        intact(archive, progress=progress) as ready,
    ):
        maintenance = await find_maintenance(target)
        work = _Work(target, maintenance, ready, settings, jobs)
        run_id = new_id(datetime.now(UTC))
        schema, replaced = (side_name(name, "of", run_id) for name in ("restored", "replaced"))
        async with only_restore(maintenance, database):
            found, own, tables = await _restore(
                work, names, name_in_the_making(database, run_id), schema, say
            )
            swap = await swap_script(target, found, schema, replaced, own)
    return TablesBack(
        backup_id=archive.manifest.id,
        environment=target.environment,
        database=database,
        schema=schema,
        tables=tables,
        swap_sql=swap,
        drop_sql=f"DROP SCHEMA {quote_identifier(schema)} CASCADE;",
        duration_seconds=round(time.monotonic() - started, 3),
    )


async def _restore(
    work: _Work, names: Sequence[str], side_database: str, schema: str, say: Say
) -> tuple[list[Side], tuple[str, ...], tuple[TableBack, ...]]:
    """The tables as they were in the backup, the SQL of what reaches out of them, and what is said of them."""
    archive, facts = work.archive, work.archive.manifest.facts
    options = RestoreOptions(beside=side_database, owners=False, tablespaces=False)
    ready = await check_restore(work.maintenance, archive, side_database, replace(options, room=False))
    for leftover in await drop_leftovers(work.maintenance, work.target.conninfo.database):
        say(f"dropped {leftover}: an earlier restore was killed")
    async with scrap_database(work.maintenance, side_database, facts.locale, ready.server_major):
        fresh = at(work.target, side_database)
        await fill_database(
            fresh, ready, archive, owners=False, tablespaces=False, only=("--section=pre-data",)
        )
        async with patient(fresh) as database:
            async with database.session() as session:
                tables = [(one.schema, one.name) for one in await find_tables(session, names)]
            await _fill(work, fresh, ready, tables)
            async with database.session() as session:
                # Only now they have their keys.
                found = await find_tables(session, names)
                rows = await _compare(session, found, facts, ready.server_major)
            await run_ddl(database, f"CREATE SCHEMA {quote_identifier(schema)}", *detach(found))
            await run_ddl(database, *(f"{one.alter} SET SCHEMA {quote_identifier(schema)}" for one in found))
        await copy_schema(fresh, work.target, schema, ready.server_major)
    own = await outward_sql(ready.pg_restore, archive, tables)
    return (
        found,
        own,
        tuple(
            TableBack(
                one.schema, one.name, sum(rows[oid] for oid in one.family(found)), copy_back(one, schema)
            )
            for one in found
            if not one.below
        ),
    )


async def _fill(work: _Work, fresh: Target, ready: Preflight, tables: Sequence[tuple[str, str]]) -> None:
    """Rows, keys, indexes and sequences of the tables."""
    with tempfile.TemporaryDirectory() as folder:
        entries = Path(folder) / "entries"
        entries.write_text(await entries_of(ready.pg_restore, work.archive, tables))
        await fill_database(
            fresh,
            ready,
            work.archive,
            owners=False,
            tablespaces=False,
            jobs=work.jobs,
            memory_bytes=work.settings.restore_memory,
            only=(f"--use-list={entries}",),
        )


async def _compare(session: AsyncSession, found: Sequence[Side], facts: Facts, major: int) -> dict[int, int]:
    """How many rows each has, by oid; raises Failed where the manifest says otherwise."""
    tables = await read_tables(session, {one.oid for one in found})
    expected = {(one.schema, one.name): one for one in facts.tables}
    wanted = [expected.get((one.schema, one.name)) for one in tables]
    digests = any(one is not None and one.digest is not None for one in wanted)
    counted = await count_rows(session, tables, major, digests=digests)
    for have, want in zip(counted, wanted, strict=True):
        if have != want:
            raise Failed(
                f"the restored rows of {have.schema}.{have.name} are not those of the backup",
                why=f"{want.rows if want else 'none'} in the manifest, {have.rows} restored, or other values",
                hint="the live table was not touched",
            )
    return dict.fromkeys((one.oid for one in found), 0) | {
        table.oid: one.rows for table, one in zip(tables, counted, strict=True)
    }
