"""Whatever happens to the server, to the disk or to a second run meanwhile: the old database stays as it was."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from dbctl.backup.undo import undo_restore
from dbctl.database import ConnInfo
from dbctl.errors import Busy, Corrupt, DbctlError, Failed, Refused, Unreachable
from dbctl.postgres.scratch import scratch_server
from tests.backup.conftest import SLOW_TO_RESTORE, VARIETY, Room, room_on
from tests.fixtures.database import execute, made_database


@pytest.fixture
def small_space(room: Room) -> Iterator[str]:
    """A tablespace on a file system of 8 MiB."""
    data = Path(room.execute("SHOW data_directory")[0][0])
    folder = data.parent / f"small_{room.conninfo.database}"
    folder.mkdir()
    options = f"size=8m,uid={data.stat().st_uid},mode=0700"
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", options, "tmpfs", folder], check=False, capture_output=True
    )
    if mounted.returncode:
        folder.rmdir()
        pytest.skip("may not mount a file system here")
    name = f"small_{room.conninfo.database}"
    room.execute(f"CREATE TABLESPACE {name} LOCATION '{folder}'")
    try:
        yield name
    finally:
        room.drop()
        room.execute("DROP TABLE large", f"DROP TABLESPACE {name}")
        subprocess.run(["umount", folder], check=True)
        folder.rmdir()


async def test_a_disk_that_fills_up_midway_leaves_all_as_it_was(room: Room, small_space: str):
    room.execute(
        f"CREATE TABLE large (text text) TABLESPACE {small_space}",
        "INSERT INTO large SELECT repeat('x', 1000) FROM generate_series(1, 5000)",
    )
    made = await room.backup()
    with pytest.raises(Failed, match="No space left"):
        await room.restore(made)
    assert room.databases() == {room.conninfo.database}
    assert room.execute("SELECT count(*) FROM large") == [(5000,)]
    assert (await room.restore(made, tablespaces=False)).kept


async def test_a_server_that_crashes_midway_comes_back_with_the_old_database(
    versions: Callable[[int], ConnInfo], tmp_path: Path
):
    with made_database(versions(17)) as conninfo:
        execute(conninfo, *VARIETY)
        room = room_on(conninfo, tmp_path)
        quick = await room.backup()
        execute(conninfo, *SLOW_TO_RESTORE)
        slow = await room.backup()
        task = asyncio.create_task(room.restore(slow))
        while not (
            found := execute(conninfo, "SELECT pid FROM pg_stat_activity WHERE wait_event = 'PgSleep'")
        ):
            await asyncio.sleep(0.05)
        # One backend killed hard, and the server ends them all and recovers.
        os.kill(found[0][0], signal.SIGKILL)
        with pytest.raises(DbctlError) as caught:
            await task
        assert isinstance(caught.value, Failed | Unreachable)
        done = await room.restore(quick)
        assert room.databases() == {conninfo.database, done.kept}
        assert done.kept
        assert execute(conninfo.with_database(done.kept), "SELECT count(*) FROM slowly") == [(1,)]
        room.drop()


async def test_of_two_at_once_one_is_busy_and_one_is_done(room: Room):
    made = await room.backup()
    both = await asyncio.gather(room.restore(made), room.restore(made), return_exceptions=True)
    busy = [one for one in both if isinstance(one, Busy)]
    assert len(busy) == 1
    assert len(room.databases()) == 2
    assert room.execute("SELECT count(*) FROM plain") == [(500,)]


async def test_a_prepared_transaction_is_told_before_anything_is_done(
    tmp_path: Path,
):
    """It has no session that could be ended: neither a restore nor an undo may wait for it in vain."""
    with scratch_server(options={"max_prepared_transactions": "2"}) as scratch:
        server = ConnInfo(scratch.params)
        execute(server, "CREATE DATABASE app")
        room = room_on(server.with_database("app"), tmp_path)
        room.execute(*VARIETY)
        made = await room.backup()
        first = await room.restore(made)
        assert first.kept
        execute(room.conninfo, "BEGIN", "DELETE FROM plain", "PREPARE TRANSACTION 'it''s late'")
        for attempt in (room.restore(made), undo_restore(room.target, first.kept)):
            with pytest.raises(Refused, match="prepared transaction") as caught:
                await attempt
            assert "ROLLBACK PREPARED 'it''s late'" in caught.value.hint
        assert room.databases() == {"app", first.kept}
        assert (await room.restore(made, beside="app_copy")).kept is None
        execute(room.conninfo, "ROLLBACK PREPARED 'it''s late'")
        assert room.execute("SELECT count(*) FROM plain") == [(500,)]


async def test_a_truncated_archive_reaches_no_server(room: Room):
    made = await room.backup()
    archive = Path(made.path) / "archive.dump"
    os.truncate(archive, archive.stat().st_size - 1)
    nowhere = room_on(ConnInfo({**room.conninfo.keywords, "host": "/nowhere"}), room.folder.path.parent)
    with pytest.raises(Corrupt, match="bytes, not"):
        await nowhere.restore(room.folder.backups()[0])


async def test_a_role_that_the_server_refuses_is_told_as_such(room: Room):
    made = await room.backup()
    refused = room_on(ConnInfo({**room.conninfo.keywords, "user": "nobody_here"}), room.folder.path.parent)
    with pytest.raises(Unreachable):
        await refused.restore(made)
    assert room.databases() == {room.conninfo.database}
