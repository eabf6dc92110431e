"""One attempt at a dump: everything under one snapshot, each file hashed, and encrypted where that is wanted."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from dbctl.backup import catalog, server_wide
from dbctl.backup.alongside import alongside
from dbctl.backup.archive_tools import (
    Tool,
    choose_compression,
    choose_tool,
    compression_arguments,
    dump_error,
)
from dbctl.backup.connections import patient
from dbctl.backup.encryption import SUFFIX, Encrypter, encrypt
from dbctl.backup.model import Facts, Member, Progress, Request, Selection, SequenceSpan
from dbctl.backup.obstacles import refuse_obstacles
from dbctl.backup.selection import Chosen, choose_relations
from dbctl.backup.sequences import Name, Standing, read_sequences, spans_of
from dbctl.backup.snapshot import SIZE, export_snapshot, read_facts, server_version
from dbctl.backup.staging import MemberFile, Staged
from dbctl.database import Database, Target
from dbctl.errors import Busy, ToolFailed
from dbctl.postgres.client import Sink, ToolResult, run_tool
from dbctl.settings import BackupSettings

FILE_NAME, FOLDER_NAME = "archive.dump", "archive"
_POLL_SECONDS = 0.05


@dataclass(frozen=True, slots=True)
class Dumped:
    """What an attempt wrote, for the manifest."""

    archive: str
    members: tuple[Member, ...]
    facts: Facts
    selection: Selection | None
    server_version: str
    client_version: str
    compression: str
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Client:
    """pg_dump, the snapshot that it shall read, and how it compresses.

    ``size_bytes`` is the database's; ``work`` is where it writes a folder, None for one stream.
    """

    pg_dump: Tool
    server_version: str
    snapshot: str
    compression: str
    chosen: Chosen
    major: int
    jobs: int
    size_bytes: int
    work: Path | None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Dump:
    """An attempt: ``run`` fills the stage, or raises and leaves it to be discarded."""

    target: Target
    staged: Staged
    settings: BackupSettings
    request: Request
    recipients: tuple[Any, ...]
    progress: Progress
    _writing: asyncio.Event = field(default_factory=asyncio.Event)

    async def run(self) -> Dumped:
        """Dump, and read meanwhile what the manifest says. Raises Busy, Refused, ToolFailed and others."""
        self._writing.clear()
        async with patient(self.target) as database:
            before = await read_sequences(database, self.settings.lock_wait)
            async with database.session() as session:
                client = await self._prepare(session)
                async with alongside(self._read(session, client)) as reading:
                    archive, result = await self._archive(client)
                    self._writing.set()
                    facts, marks = await reading
            if client.chosen.oids is None:
                facts = replace(facts, sequences=await self._spans(database, before))
        roles, notes = await server_wide.dump_globals(self.target, client.pg_dump, self.settings)
        members = [*archive, await self._small(catalog.MEMBER_NAME, catalog.render_marks(marks))]
        members += [await self._small(server_wide.MEMBER_NAME, roles)] if roles else []
        return Dumped(
            archive=archive[0].name.partition("/")[0],
            members=tuple(members),
            facts=facts,
            selection=None if self.request.selection.whole else self.request.selection,
            server_version=client.server_version,
            client_version=client.pg_dump.version,
            compression=client.compression,
            notes=(*client.notes, *_warnings(result.stderr_tail), *notes),
        )

    async def _prepare(self, session: AsyncSession) -> _Client:
        snapshot = await export_snapshot(session)
        version, major = await server_version(session)
        pg_dump = await choose_tool("pg_dump", major)
        compression, notes = await choose_compression(pg_dump, self.settings.compression)
        chosen = await choose_relations(session, self.request.selection)
        await refuse_obstacles(session, chosen)
        size_bytes = int(await session.scalar(text(SIZE)) or 0)
        jobs, work = self._jobs(size_bytes), None
        if jobs > 1:
            # pg_dump writes a folder's files itself: they would lie there in the clear.
            work = None if self.recipients else self.staged.workplace
            if work is None and self.request.jobs:
                why = "encrypted" if self.recipients else "into no folder"
                notes += (f"{why}, hence in one stream and not in parallel",)
        return _Client(pg_dump, version, snapshot, compression, chosen, major, jobs, size_bytes, work, notes)

    def _jobs(self, size_bytes: int) -> int:
        if self.request.jobs:
            return self.request.jobs
        return self.settings.jobs if size_bytes >= self.settings.parallel_above else 1

    async def _spans(self, database: Database, before: Mapping[Name, Standing]) -> tuple[SequenceSpan, ...]:
        try:
            after = await read_sequences(database, self.settings.lock_wait)
        except Busy:
            # All is dumped: not worth to begin anew.
            return ()
        return spans_of(before, after)

    async def _archive(self, client: _Client) -> tuple[tuple[Member, ...], ToolResult]:
        if client.work is not None:
            return await self._dump_folder(client, client.work)
        return await self._dump_file(client)

    async def _read(self, session: AsyncSession, client: _Client) -> tuple[Facts, catalog.Marks]:
        facts = await read_facts(
            session,
            start=self._writing,
            only=client.chosen.oids,
            major=client.major,
            digests=self.request.digests or self.settings.digests,
        )
        return facts, await (await session.connection()).run_sync(catalog.read_marks)

    async def _dump_file(self, client: _Client) -> tuple[tuple[Member, ...], ToolResult]:
        name = FILE_NAME + (SUFFIX if self.recipients else "")
        async with self.staged.opened(name, client.size_bytes) as file, self._sink(file) as sink:
            result = await self._pg_dump(client, "--format=custom", sink=sink)
        return (file.member,), result

    async def _dump_folder(self, client: _Client, work: Path) -> tuple[tuple[Member, ...], ToolResult]:
        folder = work / FOLDER_NAME
        options = ("--format=directory", f"--jobs={client.jobs}", f"--file={folder}")
        async with alongside(self._watch_folder(folder)):
            result = await self._pg_dump(client, *options, sink=None)
        return await asyncio.to_thread(self.staged.adopt, FOLDER_NAME), result

    async def _watch_folder(self, folder: Path) -> None:
        """Tell how much there is, and when the first table is dumped: all locks are held by then."""
        while True:
            with suppress(OSError):
                sizes = _sizes(folder)
                self.progress(sum(sizes))
                if sizes:
                    self._writing.set()
            await asyncio.sleep(_POLL_SECONDS)

    @asynccontextmanager
    async def _sink(self, file: MemberFile) -> AsyncIterator[Sink]:
        def told(write: Callable[[bytes], Any]) -> Sink:
            def take(chunk: bytes) -> Any:
                waiting = write(chunk)
                self.progress(file.size_bytes)
                self._writing.set()
                return waiting

            return take

        if not self.recipients:
            # A network is waited for in a thread, a disk is not worth one.
            yield told(partial(self.staged.call, file.write) if self.staged.remote else file.write)
            return
        async with Encrypter(self.recipients, file.write) as encrypter:
            yield told(encrypter.put)

    async def _small(self, name: str, content: bytes) -> Member:
        name += SUFFIX if self.recipients else ""
        async with self.staged.opened(name) as file:
            file.write(encrypt(content, self.recipients) if self.recipients else content)
        return file.member

    async def _pg_dump(self, client: _Client, *options: str, sink: Sink | None) -> ToolResult:
        conninfo = await self.target.with_password()
        wait_ms = round(self.settings.lock_wait * 1000)
        try:
            return await run_tool(
                client.pg_dump.path,
                *options,
                "--no-password",
                f"--lock-wait-timeout={wait_ms}",
                f"--snapshot={client.snapshot}",
                *compression_arguments(client.compression),
                *client.chosen.options,
                environment=conninfo.libpq_environment(),
                password=conninfo.password,
                sink=sink,
            )
        except ToolFailed as error:
            raise dump_error(error, self.settings.lock_wait) from error


def _sizes(folder: Path) -> list[int]:
    return [one.stat().st_size for one in folder.iterdir()]


def _warnings(messages: str) -> tuple[str, ...]:
    lines = (line.strip() for line in messages.splitlines())
    return tuple(line for line in lines if line.startswith("pg_dump: warning:"))
