"""Whatever dies meanwhile, what is there afterwards is whole backups and nothing else."""

from __future__ import annotations

import asyncio
import os
import resource
import signal
import subprocess
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path

import psycopg2
import pytest

from dbctl.backup.folder import BackupFolder
from dbctl.backup.make import make_backup
from dbctl.backup.model import Request, Selection, Status
from dbctl.database import ConnInfo
from dbctl.errors import Busy, DbctlError, Failed, Refused, TimedOut, ToolFailed
from dbctl.postgres.scratch import scratch_server
from tests.backup.conftest import VARIETY, Room, room_on
from tests.backup.test_proof import prove
from tests.fixtures.database import execute


@contextmanager
def locked(room: Room) -> Iterator[None]:
    """A table that pg_dump waits for."""
    with closing(psycopg2.connect(**room.conninfo.keywords)) as other, other.cursor() as cursor:
        cursor.execute("LOCK TABLE plain IN ACCESS EXCLUSIVE MODE")
        yield


async def begun(room: Room, **options: object) -> asyncio.Task[object]:
    task: asyncio.Task[object] = asyncio.create_task(room.backup(**options))  # type: ignore[arg-type]
    while not list(room.folder.path.glob(".partial/*/archive.dump")):
        await asyncio.sleep(0.02)
    return task


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGQUIT])
async def test_a_server_that_dies_meanwhile_leaves_no_backup(tmp_path: Path, number: signal.Signals):
    with scratch_server() as scratch:
        server = ConnInfo(scratch.params)
        execute(server, "CREATE DATABASE app")
        room = room_on(server.with_database("app"), tmp_path)
        room.execute(*VARIETY)
        with locked(room):
            task = await begun(room)
            postmaster = int((scratch.folder / "data" / "postmaster.pid").read_text().split()[0])
            children = Path(f"/proc/{postmaster}/task/{postmaster}/children").read_text().split()
            os.kill(postmaster, number)
            for child in children:
                with suppress_gone():
                    os.kill(int(child), signal.SIGKILL)
            with pytest.raises(DbctlError):
                await asyncio.wait_for(task, 60)
    assert room.folder.backups() == ()
    assert room.leftovers() == []


@contextmanager
def suppress_gone() -> Iterator[None]:
    try:
        yield
    except ProcessLookupError:
        return


async def test_a_server_that_hangs_meanwhile_is_left_when_the_time_is_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("dbctl.backup.alongside._GRACE_SECONDS", 0.3)
    with scratch_server() as scratch:
        server = ConnInfo(scratch.params)
        execute(server, "CREATE DATABASE app")
        room = room_on(server.with_database("app"), tmp_path)
        room.execute(*VARIETY)
        with locked(room):
            task = await begun(room, timeout=2)
            postmaster = (scratch.folder / "data" / "postmaster.pid").read_text().split()[0]
            children = Path(f"/proc/{postmaster}/task/{postmaster}/children").read_text().split()
            subprocess.run(["kill", "-STOP", *children], check=True)
            try:
                with pytest.raises(TimedOut):
                    await asyncio.wait_for(task, 60)
            finally:
                subprocess.run(["kill", "-CONT", *children], check=True)
    assert room.folder.backups() == ()
    assert room.leftovers() == []


async def test_a_value_too_large_for_the_servers_memory_as_text_is_refused_with_its_table(tmp_path: Path):
    """As one of a gigabyte is, with less to do: its sessions get less memory than that value needs."""
    with scratch_server() as scratch:
        server = ConnInfo(scratch.params)
        execute(server, "CREATE DATABASE app")
        room = room_on(server.with_database("app"), tmp_path)
        room.execute("CREATE TABLE huge AS SELECT convert_to(repeat('x', 16 << 20), 'UTF8') AS v")
        postmaster = int((scratch.folder / "data" / "postmaster.pid").read_text().split()[0])
        status = Path(f"/proc/{postmaster}/status").read_text()
        mapped_kb = int(next(line for line in status.splitlines() if line.startswith("VmSize")).split()[1])
        limit = (mapped_kb << 10) + (40 << 20)
        resource.prlimit(postmaster, resource.RLIMIT_AS, (limit, limit))
        with pytest.raises(Refused, match=r"too large for a dump.*huge") as caught:
            await room.backup()
        assert "--exclude" in caught.value.hint
        assert (room.folder.backups(), room.leftovers()) == ((), [])
        made = await room.backup(request=Request(Selection(excluded=("huge",))))
        assert made.status is Status.GOOD


@pytest.mark.parametrize("jobs", [None, 2])
async def test_a_full_disk_is_said_whatever_the_format(room: Room, small_disk: Path, jobs: int | None):
    room.execute(
        "CREATE TABLE noise AS SELECT n, (SELECT string_agg(md5(random()::text || n || i), '')"
        " FROM generate_series(1, 100) AS i) AS text FROM generate_series(1, 500) AS n"
    )
    full = replace(room, folder=BackupFolder(small_disk / "backups"))
    with pytest.raises(Failed, match=r"(?i)no space left"):
        await full.backup(request=Request(jobs=jobs))
    assert full.leftovers() == []
    assert full.folder.backups() == ()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 256 KiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    argv = ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(folder)]
    if subprocess.run(argv, check=False, capture_output=True).returncode:
        pytest.skip("may not mount a file system here")
    try:
        yield folder
    finally:
        subprocess.run(["umount", folder], check=True)


async def test_no_room_for_a_proof_is_no_word_against_the_backup(room: Room, monkeypatch: pytest.MonkeyPatch):
    made = await room.backup()

    async def no_room(*_: object, **__: object) -> None:
        raise ToolFailed("pg_restore failed", why="could not extend file: No space left on device")

    monkeypatch.setattr("dbctl.backup.proof.fill_database", no_room)
    with pytest.raises(ToolFailed, match="No space left"):
        await prove(room, made)
    assert room.folder.backups()[0].status is Status.GOOD


async def test_ten_failing_nights_remove_nothing(room: Room):
    settings = room.settings.model_copy(update={"prune": True})
    loaded = room.target.settings
    target = replace(
        room.target,
        settings=replace(loaded, settings=loaded.settings.model_copy(update={"backup": settings})),
    )
    made = [await make_backup(target, [room.folder], Request()) for _ in range(2)]
    broken = replace(target, conninfo=target.conninfo.with_database("nowhere"))
    for _ in range(10):
        with pytest.raises(DbctlError):
            await make_backup(broken, [room.folder], Request())
    assert {one.id for one in room.folder.backups()} == {one.id for one in made}
    assert all(one.counts for one in room.folder.backups())


async def test_a_prune_that_somebody_is_in_the_way_of_takes_nothing_from_the_backup(
    room: Room, monkeypatch: pytest.MonkeyPatch
):
    async def busy(*_: object) -> None:
        raise Busy("another run writes to it")

    monkeypatch.setattr("dbctl.backup.make.prune_backups", busy)
    settings = room.target.settings.settings
    backup = settings.backup.model_copy(update={"prune": True})
    loaded = replace(room.target.settings, settings=settings.model_copy(update={"backup": backup}))
    with pytest.raises(Failed, match="is good, but not all went well"):
        await make_backup(replace(room.target, settings=loaded), [room.folder], Request())
    assert [one.counts for one in room.folder.backups()] == [True]


async def test_a_table_made_anew_meanwhile_is_noticed_or_dumped_as_it_was(room: Room):
    """A snapshot is of one moment: what changes afterwards is in no part of the backup."""
    with locked(room):
        task = await begun(room)
        room.execute("INSERT INTO measured VALUES ('2026-05-05', 1)", "CREATE TABLE later AS SELECT 1 AS one")
    made = await task
    found = next(one for one in room.folder.backups() if one == made)
    assert found.manifest
    tables = {one.name: one.rows for one in found.manifest.facts.tables}
    assert tables["measured_2026"] == 29
    assert "later" not in tables
    assert (await prove(room, found)).problem == ""
