"""Writes a backup: one snapshot, hashed in flight, visible only when it is complete."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime

from dbctl import __version__
from dbctl.backup.alongside import alongside, time_limit
from dbctl.backup.archive_tools import (
    LOCK_WAIT_SECONDS,
    Tool,
    choose_compression,
    choose_tool,
    compression_arguments,
    dump_error,
)
from dbctl.backup.connections import patient
from dbctl.backup.folder import ARCHIVE_NAME, ArchiveFile, BackupFolder
from dbctl.backup.model import FORMAT_VERSION, Backup, Facts, Manifest, Progress, Say, ignore
from dbctl.backup.naming import new_id
from dbctl.backup.snapshot import export_snapshot, read_facts, server_version
from dbctl.database import Target
from dbctl.errors import ToolFailed
from dbctl.postgres.client import ToolResult, run_tool
from dbctl.postgres.locks import advisory_lock
from dbctl.settings import BackupSettings


@dataclass(frozen=True, slots=True)
class _Dumped:
    facts: Facts
    server_version: str
    client_version: str
    compression: str
    notes: tuple[str, ...]


async def create_backup(
    target: Target,
    folder: BackupFolder,
    settings: BackupSettings,
    *,
    progress: Progress = ignore,
    say: Say = ignore,
) -> Backup:
    """Dump the target's database into ``folder``; ``progress`` takes the bytes written so far.

    One run at a time in the folder and on the database: else Busy. On any failure, and on cancellation,
    the folder is as it was before.
    """
    with folder.locked():
        async with time_limit(settings.timeout, "the backup"), _only_run(target):
            started = datetime.now(UTC)
            clock = time.monotonic()
            with folder.stage(new_id(started)) as staged:
                with staged.archive() as archive:
                    dumped = await _dump(target, archive, settings.compression, progress)
                manifest = Manifest(
                    format_version=FORMAT_VERSION,
                    id=staged.final.name,
                    environment=target.environment,
                    database=target.conninfo.database,
                    host=target.conninfo.place,
                    server_version=dumped.server_version,
                    client_version=dumped.client_version,
                    dbctl_version=__version__,
                    created_at=started,
                    finished_at=datetime.now(UTC),
                    duration_seconds=round(time.monotonic() - clock, 3),
                    archive=ARCHIVE_NAME,
                    size_bytes=archive.size_bytes,
                    sha256=archive.digest.hexdigest(),
                    compression=dumped.compression,
                    notes=dumped.notes,
                    facts=dumped.facts,
                )
                backup = staged.publish(manifest)
    for note in dumped.notes:
        say(f"note: {note}")
    return backup


@dataclass(slots=True)
class _Sink:
    """Where pg_dump's output goes; ``writing`` is set with the first of it."""

    archive: ArchiveFile
    progress: Progress
    writing: asyncio.Event = field(default_factory=asyncio.Event)

    def __call__(self, chunk: bytes) -> None:
        self.archive.write(chunk)
        self.progress(self.archive.size_bytes)
        self.writing.set()


@asynccontextmanager
async def _only_run(target: Target) -> AsyncIterator[None]:
    async with (
        patient(target) as database,
        database.connect() as connection,
        advisory_lock(connection, "dbctl backup"),
    ):
        yield


async def _dump(target: Target, archive: ArchiveFile, wish: str, progress: Progress) -> _Dumped:
    async with patient(target) as database, database.session() as session:
        snapshot = await export_snapshot(session)
        version, major = await server_version(session)
        pg_dump = await choose_tool("pg_dump", major)
        compression, notes = await choose_compression(pg_dump, wish)
        options = (f"--snapshot={snapshot}", *compression_arguments(compression))
        sink = _Sink(archive, progress)
        async with alongside(read_facts(session, start=sink.writing)) as reading:
            result = await _run_pg_dump(target, pg_dump, options, sink)
            facts = await reading
        notes += _warnings(result.stderr_tail)
        return _Dumped(facts, version, pg_dump.version, compression, notes)


async def _run_pg_dump(target: Target, pg_dump: Tool, options: tuple[str, ...], sink: _Sink) -> ToolResult:
    conninfo = await target.with_password()
    try:
        return await run_tool(
            pg_dump.path,
            "--format=custom",
            "--no-password",
            f"--lock-wait-timeout={LOCK_WAIT_SECONDS * 1000}",
            *options,
            environment=conninfo.libpq_environment(),
            password=conninfo.password,
            sink=sink,
        )
    except ToolFailed as error:
        raise dump_error(error) from error


def _warnings(messages: str) -> tuple[str, ...]:
    lines = (line.strip() for line in messages.splitlines())
    return tuple(line for line in lines if line.startswith("pg_dump: warning:"))
