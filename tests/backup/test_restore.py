"""A restore brings everything back, or changes nothing."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import threading
from collections.abc import Callable
from contextlib import closing, suppress
from dataclasses import replace
from pathlib import Path

import psycopg2
import pytest

from dbctl.database import ConnInfo
from dbctl.errors import AlreadyExists, Busy, Corrupt, Failed, Refused, TimedOut, ToolFailed
from dbctl.postgres import binaries
from dbctl.postgres.binaries import find_client
from dbctl.postgres.locks import lock_key
from tests.backup.conftest import FAILS_TO_RESTORE, SLOW_TO_RESTORE, VARIETY, Room, room_on
from tests.fixtures.database import execute, made_database


def dump_text(conninfo: ConnInfo, *options: str) -> str:
    """What pg_dump says of a database: an independent comparison."""
    major = int(execute(conninfo, "SHOW server_version_num")[0][0]) // 10000
    program = find_client("pg_dump", major)
    argv = [str(program), *options, *(["--restrict-key=x"] if b"--restrict-key" in _help(program) else [])]
    return subprocess.check_output(argv, env={**os.environ, **conninfo.libpq_environment()}).decode()


def _help(program: Path) -> bytes:
    return subprocess.run([program, "--help"], capture_output=True, check=True).stdout


async def test_everything_comes_back_under_the_old_name(room: Room):
    before = dump_text(room.conninfo)
    made = await room.backup()
    room.execute(
        "DELETE FROM plain", "SELECT lo_unlink(oid) FROM pg_largeobject_metadata", "CREATE TABLE later ()"
    )
    changed = dump_text(room.conninfo)
    done = await room.restore(made)
    assert dump_text(room.conninfo) == before
    assert done.kept
    assert room.databases() == {room.conninfo.database, done.kept}
    assert dump_text(room.conninfo.with_database(done.kept)) == changed
    assert (done.tables, done.rows) == (5, 563)
    assert room.execute("SELECT count(*) > 0 FROM pg_statistic WHERE starelid = 'plain'::regclass") == [
        (True,)
    ]


async def test_the_replaced_database_can_be_brought_back_and_dropped_by_the_commands_told(room: Room):
    made = await room.backup()
    room.execute("CREATE TABLE later ()")
    done = await room.restore(made)
    psql = find_client("psql", 17).parent
    environment = {**os.environ, "PATH": f"{psql}:{os.environ['PATH']}"}
    subprocess.run(done.undo_command, shell=True, check=True, env=environment, capture_output=True)
    assert room.execute("SELECT count(*) FROM later") == [(0,)]
    done = await room.restore(made)
    subprocess.run(done.drop_command, shell=True, check=True, env=environment, capture_output=True)
    assert done.kept not in room.databases()


async def test_what_the_dump_leaves_out_stays_with_the_name(room: Room):
    name = room.conninfo.database
    room.execute(
        f'ALTER DATABASE "{name}" SET search_path TO app, "odd, name"',
        f"ALTER DATABASE \"{name}\" SET my.own TO 'a, b'",
        f"ALTER ROLE postgres IN DATABASE \"{name}\" SET work_mem TO '7MB'",
        f'REVOKE CONNECT ON DATABASE "{name}" FROM PUBLIC',
        f'ALTER DATABASE "{name}" CONNECTION LIMIT 17',
        f"COMMENT ON DATABASE \"{name}\" IS 'it''s \\ ours'",
    )
    properties = """
        SELECT datconnlimit, datdba, shobj_description(oid, 'pg_database'),
               ARRAY(SELECT a::text FROM unnest(datacl) AS a ORDER BY 1),
               ARRAY(SELECT (setrole, setconfig)::text FROM pg_db_role_setting WHERE setdatabase = d.oid ORDER BY 1)
          FROM pg_database AS d WHERE datname = current_database()
    """
    before = room.execute(properties)
    done = await room.restore(await room.backup())
    assert room.execute(properties) == before
    assert done.notes == ()


async def test_beside_replaces_nothing_and_refuses_a_name_that_is_taken(room: Room):
    made = await room.backup()
    room.execute("CREATE TABLE later ()")
    name = f"{room.conninfo.database} copy's \"='é"
    done = await room.restore(made, beside=name)
    assert (done.database, done.kept) == (name, None)
    assert room.databases() == {room.conninfo.database, name}
    assert execute(room.conninfo.with_database(name), "SELECT count(*) FROM plain") == [(500,)]
    assert room.execute("SELECT count(*) FROM later") == [(0,)]
    with pytest.raises(AlreadyExists):
        await room.restore(made, beside=name)
    assert room.databases() == {room.conninfo.database, name}


async def test_a_database_that_is_gone_comes_back(room: Room):
    made = await room.backup()
    execute(room.conninfo.with_database("postgres"), f'DROP DATABASE "{room.conninfo.database}" WITH (FORCE)')
    done = await room.restore(made)
    assert done.kept is None
    assert room.execute("SELECT count(*) FROM plain") == [(500,)]


@pytest.mark.parametrize("bit", [0, 7777, 40_000])
async def test_a_damaged_archive_reaches_no_server(room: Room, flip: Callable[..., None], bit: int):
    made = await room.backup()
    flip(made, bit)
    nowhere = room_on(ConnInfo({**room.conninfo.keywords, "host": "/nowhere"}), room.folder.path.parent)
    with pytest.raises(Corrupt, match="SHA-256"):
        await nowhere.restore(made)


async def test_rows_that_differ_from_the_manifest_stop_the_restore(room: Room, damage: Callable[..., None]):
    made = await room.backup()
    facts = json.loads((Path(made.path) / "manifest.json").read_text())["facts"]
    facts["tables"][0]["rows"] += 1
    damage(made, facts=facts)
    with pytest.raises(Failed, match="2 in the manifest, 1 restored"):
        await room.restore(room.folder.backups()[0])
    assert room.databases() == {room.conninfo.database}


async def test_a_failing_pg_restore_leaves_no_database_behind(room: Room):
    room.execute(*FAILS_TO_RESTORE)
    made = await room.backup()
    with pytest.raises(ToolFailed, match="no luck today"):
        await room.restore(made)
    assert room.databases() == {room.conninfo.database}


async def test_a_cancelled_restore_leaves_no_database_behind(room: Room):
    room.execute(*SLOW_TO_RESTORE)
    made = await room.backup()
    task = asyncio.create_task(room.restore(made))
    while not room.execute("SELECT pid FROM pg_stat_activity WHERE wait_event = 'PgSleep'"):
        await asyncio.sleep(0.05)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert room.databases() == {room.conninfo.database}


async def test_a_restore_that_takes_too_long_is_ended(room: Room):
    room.execute(*SLOW_TO_RESTORE)
    made = await room.backup()
    with pytest.raises(TimedOut):
        await replace(room, settings=room.settings.model_copy(update={"timeout": 2})).restore(made)
    assert room.databases() == {room.conninfo.database}


async def test_sessions_are_ended_for_the_swap_however_eager_they_are(room: Room):
    made = await room.backup()
    stop = threading.Event()

    def hammer() -> None:
        while not stop.is_set():
            with suppress(psycopg2.Error), closing(psycopg2.connect(**room.conninfo.keywords)) as connection:
                connection.cursor().execute("SELECT pg_sleep(0.02)")

    threads = [threading.Thread(target=hammer) for _ in range(3)]
    with closing(psycopg2.connect(**room.conninfo.keywords)) as session:
        for thread in threads:
            thread.start()
        try:
            await room.restore(made)
        finally:
            stop.set()
            for thread in threads:
                thread.join()
        with pytest.raises(psycopg2.Error):
            session.cursor().execute("SELECT 1")
    assert room.execute("SELECT count(*) FROM plain") == [(500,)]


async def test_a_session_that_we_may_not_end_keeps_the_old_database_in_place(room: Room):
    keeper = f"keeper_{room.conninfo.database}"
    room.execute(
        f"CREATE ROLE {keeper} LOGIN CREATEDB", f'ALTER DATABASE "{room.conninfo.database}" OWNER TO {keeper}'
    )
    for_keeper = ConnInfo({**room.conninfo.keywords, "user": keeper})
    made = await room.backup()
    try:
        with closing(psycopg2.connect(**room.conninfo.keywords)) as session:
            with pytest.raises(Refused, match="may not end it"):
                await room_on(for_keeper, room.folder.path.parent).restore(made, owners=False)
            session.cursor().execute("SELECT count(*) FROM plain")
        assert room.databases() == {room.conninfo.database}
        done = await room_on(for_keeper, room.folder.path.parent).restore(made, owners=False)
        assert room.databases() == {room.conninfo.database, done.kept}
    finally:
        room.drop()
        room.execute(
            f"REASSIGN OWNED BY {keeper} TO postgres", f"DROP OWNED BY {keeper}", f"DROP ROLE {keeper}"
        )


async def test_without_owners_all_belongs_to_the_role_that_restores(room: Room):
    owner = f"owner_{room.conninfo.database}"
    room.execute(
        f"CREATE ROLE {owner}", f"ALTER TABLE plain OWNER TO {owner}", f"GRANT SELECT ON measured TO {owner}"
    )
    made = await room.backup()
    room.execute(f"REASSIGN OWNED BY {owner} TO postgres", f"DROP OWNED BY {owner}", f"DROP ROLE {owner}")
    with pytest.raises(Refused, match=owner):
        await room.restore(made)
    await room.restore(made, owners=False)
    assert room.execute("SELECT pg_get_userbyid(relowner) FROM pg_class WHERE relname = 'plain'") == [
        ("postgres",)
    ]


async def test_a_second_restore_into_the_same_database_is_busy(room: Room):
    made = await room.backup()
    postgres = room.conninfo.with_database("postgres")
    with closing(psycopg2.connect(**postgres.keywords)) as other, other.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_lock(%s)", [lock_key(f"dbctl restore {room.conninfo.database}")])
        with pytest.raises(Busy):
            await room.restore(made)


async def test_what_a_killed_restore_left_is_dropped_by_the_next(room: Room):
    made = await room.backup()
    name = room.conninfo.database
    left = f"{name}_restore_20261122t171500z_3f9a1c"
    others = {
        f"{name}_restore",
        f"{name}_eu_restore_20261122t171500z_3f9a1c",
        f"{name}_restore_20261122t171500z",
    }
    for one in {left, *others}:
        room.execute(f'CREATE DATABASE "{one}"')
    said: list[str] = []
    done = await room.restore(made, say=said.append)
    assert room.databases() == {name, done.kept, *others}
    assert said == [f"dropped {left}: an earlier restore was killed before the swap, {name} is as it was"]


async def test_a_pg_restore_that_lacks_the_compression_is_found_before_anything(
    room: Room, monkeypatch: pytest.MonkeyPatch
):
    made = await room.backup()
    lean = [(folder, origin) for folder, origin in binaries._installations() if "embedded" in origin]
    if not lean:
        pytest.skip("no PostgreSQL without zstd here")
    monkeypatch.setattr(binaries, "_installations", lambda: iter(lean))
    with pytest.raises(Refused, match="can't read zstd:1"):
        await room.restore(made)


async def test_a_locale_that_the_server_lacks_is_no_obstacle(room: Room, damage: Callable[..., None]):
    made = await room.backup()
    facts = json.loads((Path(made.path) / "manifest.json").read_text())["facts"]
    facts["locale"] |= {"collate": "xx_XX.UTF-8", "ctype": "xx_XX.UTF-8", "provider": "c", "name": None}
    damage(made, facts=facts)
    done = await room.restore(room.folder.backups()[0])
    assert "xx_XX.UTF-8" in done.notes[0]
    assert room.execute("SELECT count(*) FROM plain") == [(500,)]


@pytest.mark.parametrize("major", [15, 17, 18])
async def test_the_circle_closes_on_every_version(
    versions: Callable[[int], ConnInfo], tmp_path: Path, major: int
):
    with made_database(versions(major)) as conninfo:
        execute(conninfo, *VARIETY)
        room = room_on(conninfo, tmp_path)
        before = dump_text(conninfo)
        made = await room.backup()
        execute(conninfo, "DROP TABLE plain CASCADE")
        await room.restore(made)
        assert dump_text(conninfo) == before
        room.drop()


async def test_a_newer_client_restores_into_an_older_server(
    versions: Callable[[int], ConnInfo], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    with made_database(versions(15)) as conninfo:
        newer = [
            one
            for one in binaries._installations()
            if binaries.program_version(one[0] / "pg_dump").startswith("17")
        ]
        monkeypatch.setattr(binaries, "_installations", lambda: iter(newer))
        execute(conninfo, *VARIETY)
        room = room_on(conninfo, tmp_path)
        made = await room.backup()
        await room.restore(made)
        assert execute(conninfo, "SELECT count(*) FROM plain") == [(500,)]
        execute(conninfo, *FAILS_TO_RESTORE)
        made = await room.backup()
        with pytest.raises(ToolFailed, match="no luck today"):
            await room.restore(made)
        room.drop()


async def test_an_older_server_is_refused(versions: Callable[[int], ConnInfo], room: Room, tmp_path: Path):
    made = await room.backup()
    with made_database(versions(15)) as conninfo:
        with pytest.raises(Refused, match="this server is the older 15"):
            await room_on(conninfo, tmp_path).restore(made, beside="copy")
