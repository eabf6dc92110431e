"""A backup is one snapshot, complete or absent."""

from __future__ import annotations

import asyncio
import itertools
import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path

import psycopg2
import pytest

from dbctl.backup.create import create_backup
from dbctl.backup.folder import BackupFolder
from dbctl.backup.model import TableRows
from dbctl.backup.verify import verify_bytes
from dbctl.database import ConnInfo
from dbctl.errors import Busy, Failed, Refused, TimedOut, ToolMissing, WrongPassword
from dbctl.postgres import binaries
from dbctl.postgres.locks import lock_key
from dbctl.postgres.scratch import scratch_server
from tests.backup.conftest import VARIETY, Room, room_on
from tests.fixtures.database import execute, made_database


async def test_the_manifest_says_what_was_dumped(room: Room):
    made = await room.backup()
    known = made.manifest
    assert known
    assert (known.environment, known.database) == ("test", room.conninfo.database)
    assert known.size_bytes == (Path(made.path) / "archive.dump").stat().st_size
    assert known.compression == "zstd:1"
    assert known.facts.alembic_revisions == ("abc123",)
    assert known.facts.roles == ("postgres",)
    assert [one.name for one in known.facts.extensions] == ["plpgsql"]
    assert set(known.facts.tables) == {
        TableRows("app", "alembic_version", 1),
        TableRows("public", '[/red] "quoted" äöü:x%s', 2),
        TableRows("public", "measured_2025", 31),
        TableRows("public", "measured_2026", 29),
        TableRows("public", "plain", 500),
    }
    assert room.folder.backups() == (made,)
    assert (await verify_bytes(made)).good


@pytest.mark.parametrize("compression", ["zstd:1", "zstd", "gzip", "gzip:9", "lz4", "none"])
async def test_a_flipped_bit_is_found_whatever_the_compression(
    room: Room, flip: Callable[..., None], compression: str
):
    made = await room.backup(compression=compression)
    assert made.manifest
    assert made.manifest.compression == compression
    for bit in range(0, made.manifest.size_bytes * 8, made.manifest.size_bytes * 8 // 50):
        flip(made, bit)
        assert not (await verify_bytes(made)).good
        flip(made, bit)
    assert (await verify_bytes(made)).good


async def test_a_compression_that_the_client_lacks_falls_back_and_says_so(
    versions: Callable[[int], ConnInfo], tmp_path: Path
):
    with made_database(versions(15)) as conninfo:
        said: list[str] = []
        room = room_on(conninfo, tmp_path)
        made = (await create_backup(room.target, [room.folder], room.settings, say=said.append)).backup
    assert made.manifest
    assert made.manifest.compression == "gzip:1"
    assert "zstd:1" in made.manifest.notes[0]
    assert said == [f"note: {made.manifest.notes[0]}"]


async def test_a_second_run_in_the_same_folder_is_busy(room: Room):
    with room.folder.locked(), pytest.raises(Busy):
        await room.backup()


async def test_a_second_run_on_the_same_database_is_busy(room: Room):
    with closing(psycopg2.connect(**room.conninfo.keywords)) as other, other.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_lock(%s)", [lock_key("dbctl backup")])
        with pytest.raises(Busy):
            await room.backup()
    assert room.folder.backups() == ()
    assert room.leftovers() == []


async def test_an_older_pg_dump_is_refused_before_anything_starts(
    room: Room, monkeypatch: pytest.MonkeyPatch
):
    debian = Path("/usr/lib/postgresql/15/bin")
    if not (debian / "pg_dump").exists():
        pytest.skip("no PostgreSQL 15 here")
    monkeypatch.setattr(binaries, "_installations", lambda: iter([(debian, "Debian")]))
    with pytest.raises(ToolMissing, match=r"found only older: 15"):
        await room.backup()
    assert room.leftovers() == []


async def test_no_pg_dump_at_all_is_an_error_with_the_package_to_install(
    room: Room, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(binaries, "_installations", lambda: iter([]))
    with pytest.raises(ToolMissing) as caught:
        await room.backup()
    assert "apt install postgresql-client-" in caught.value.hint


async def test_a_dump_that_takes_too_long_is_ended(room: Room):
    with closing(psycopg2.connect(**room.conninfo.keywords)) as other, other.cursor() as cursor:
        cursor.execute("LOCK TABLE plain IN ACCESS EXCLUSIVE MODE")
        with pytest.raises(TimedOut, match="1 s"):
            await room.backup(timeout=1)
    assert room.leftovers() == []
    assert room.folder.backups() == ()


async def test_a_cancelled_backup_leaves_neither_file_nor_session(room: Room):
    with closing(psycopg2.connect(**room.conninfo.keywords)) as other, other.cursor() as cursor:
        cursor.execute("LOCK TABLE plain IN ACCESS EXCLUSIVE MODE")
        task = asyncio.create_task(room.backup())
        while not list(room.folder.path.glob(".partial/*/archive.dump")):
            await asyncio.sleep(0.02)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert room.leftovers() == []
    assert await _sessions_end(room)


async def test_a_role_that_may_not_read_a_table_gets_no_backup(room: Room):
    with _role(room, "LOGIN") as role:
        weak = replace(room.conninfo, keywords={**room.conninfo.keywords, "user": role})
        with pytest.raises(Refused, match=r"may not read app\.alembic_version"):
            await room_on(weak, room.folder.path.parent).backup()
    assert room.folder.backups() == ()


async def test_rows_that_row_security_hides_are_an_error_and_not_a_short_dump(room: Room):
    with _role(room, "LOGIN") as role:
        room.execute(
            f"GRANT USAGE ON SCHEMA app TO {role}",
            f"GRANT SELECT ON ALL TABLES IN SCHEMA public, app TO {role}",
            f"GRANT SELECT ON LARGE OBJECT {room.execute('SELECT oid FROM pg_largeobject_metadata')[0][0]} TO {role}",
            "ALTER TABLE plain ENABLE ROW LEVEL SECURITY",
        )
        weak = replace(room.conninfo, keywords={**room.conninfo.keywords, "user": role})
        with pytest.raises(Refused, match=r"row-level security would hide rows of public\.plain"):
            await room_on(weak, room.folder.path.parent).backup()
    assert room.folder.backups() == ()


async def test_roles_of_owners_and_grants_are_in_the_manifest(room: Room):
    with _role(room, "NOLOGIN") as owner, _role(room, "NOLOGIN") as reader:
        room.execute(f"ALTER TABLE plain OWNER TO {owner}", f"GRANT SELECT ON measured TO {reader}")
        made = await room.backup()
    assert made.manifest
    assert set(made.manifest.facts.roles) == {"postgres", owner, reader}


async def test_a_full_disk_is_said_and_leaves_nothing(room: Room, small_disk: Path):
    room.execute(_NOISE)
    full = replace(room, folder=BackupFolder(small_disk / "backups"))
    with pytest.raises(Failed, match="No space left") as caught:
        await full.backup()
    assert caught.value.hint == "free some space there"
    assert full.leftovers() == []
    assert full.folder.backups() == ()


async def test_a_password_opens_the_door_and_appears_nowhere(tmp_path: Path):
    with scratch_server() as scratch:
        server = ConnInfo(scratch.params)
        execute(server, "CREATE ROLE keeper LOGIN SUPERUSER PASSWORD 'top%secret'", "CREATE DATABASE app")
        execute(server.with_database("app"), *VARIETY)
        (scratch.folder / "data" / "pg_hba.conf").write_text("local all all scram-sha-256\n")
        subprocess.run(["kill", "-HUP", _postmaster(scratch.folder)], check=True)
        keeper = ConnInfo({**server.keywords, "dbname": "app", "user": "keeper"}, "top%secret")
        made = await _until_asked_for_password(room_on(keeper, tmp_path))
        assert "top%secret" not in (Path(made.path) / "manifest.json").read_text()
        with pytest.raises(WrongPassword):
            await room_on(keeper.with_password("another"), tmp_path / "wrong").backup()
        assert list((tmp_path / "wrong" / "backups" / ".partial").iterdir()) == []


async def test_a_table_truncated_while_the_dump_begins_is_noticed(room: Room):
    from sqlalchemy import text

    from dbctl.backup.snapshot import export_snapshot, read_facts

    start = asyncio.Event()
    async with room.target.open() as database, database.session() as session:
        await export_snapshot(session)
        await session.execute(text("SELECT 1"))
        room.execute("TRUNCATE plain")
        start.set()
        with pytest.raises(Busy, match="plain was truncated"):
            await read_facts(session, start=start, only=None, major=17, digests=False)


_numbers = itertools.count()
_NOISE = """
    CREATE TABLE noise AS
    SELECT n, (SELECT string_agg(md5(random()::text || n || i), '') FROM generate_series(1, 100) AS i) AS text
      FROM generate_series(1, 500) AS n
"""


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 256 KiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", folder], check=False, capture_output=True
    )
    if mounted.returncode:
        pytest.skip("may not mount a file system here")
    try:
        yield folder
    finally:
        subprocess.run(["umount", folder], check=True)


@contextmanager
def _role(room: Room, options: str) -> Iterator[str]:
    """A role for the length of a block."""
    name = f"role_{os.getpid()}_{next(_numbers)}"
    room.execute(f"CREATE ROLE {name} {options}")
    try:
        yield name
    finally:
        room.execute(f"REASSIGN OWNED BY {name} TO postgres", f"DROP OWNED BY {name}", f"DROP ROLE {name}")


async def _sessions_end(room: Room) -> bool:
    for _ in range(100):
        if room.execute("SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'dbctl%'") == [
            (0,)
        ]:
            return True
        await asyncio.sleep(0.05)
    return False


def _postmaster(folder: Path) -> str:
    return (folder / "data" / "postmaster.pid").read_text().split()[0]


async def _until_asked_for_password(room: Room):
    """Back up once the server has read its new pg_hba.conf."""
    for _ in range(100):
        try:
            psycopg2.connect(**room.conninfo.keywords).close()
        except psycopg2.OperationalError:
            break
        await asyncio.sleep(0.05)
    return await room.backup()
