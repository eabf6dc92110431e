"""Killed wherever it is, a restore leaves the old database under its name or one command away."""

from __future__ import annotations

import asyncio
import os
import signal
from contextlib import closing
from typing import Any

import psycopg2
import pytest
from sqlalchemy.ext.asyncio import AsyncConnection

from dbctl.backup.model import Backup
from dbctl.backup.naming import is_side_name
from dbctl.backup.undo import find_kept, undo_restore
from dbctl.errors import NotFound
from tests.backup.conftest import Room
from tests.fixtures.database import execute

MOST_STEPS = 60


def restore_until(room: Room, made: Backup, step: int) -> bool:
    """Restore in a process that is killed before its ``step``th change; whether it came to its end."""
    child = os.fork()
    if child == 0:
        done = 0
        plain = AsyncConnection.exec_driver_sql

        async def counted(self: AsyncConnection, statement: str, *rest: Any, **more: Any) -> Any:
            nonlocal done
            if not statement.startswith(("ANALYZE", "SELECT")):
                done += 1
                if done == step:
                    os.kill(os.getpid(), signal.SIGKILL)
            return await plain(self, statement, *rest, **more)

        AsyncConnection.exec_driver_sql = counted  # type: ignore[method-assign]
        try:
            asyncio.run(room.restore(made))
        finally:
            os._exit(0)
    _, status = os.waitpid(child, 0)
    return os.WIFEXITED(status)


def test_killed_before_each_of_its_changes_the_old_database_is_there_or_undo_brings_it_back(room: Room):
    name = room.conninfo.database
    room.execute(f"ALTER DATABASE \"{name}\" SET my.own TO 'x'", f"COMMENT ON DATABASE \"{name}\" IS 'ours'")
    made = asyncio.run(room.backup())
    room.execute("CREATE TABLE later ()")
    for step in range(1, MOST_STEPS):
        came_to_its_end = restore_until(room, made, step)
        assert (room.execute("SELECT to_regclass('later') IS NULL") == [(True,)]) == came_to_its_end
        if came_to_its_end:
            break
        assert not {one for one in room.databases() if is_side_name(one, name, "before")}
    # CREATE, limit, setting, owner, both names, the comment: each was a place to be killed at.
    assert 6 < step < MOST_STEPS - 1
    assert len(room.databases()) == 2
    undone = asyncio.run(_undo(room))
    assert room.execute("SELECT count(*) FROM later, (SELECT current_setting('my.own')) AS s") == [(0,)]
    assert room.databases() == {name, undone}


async def _undo(room: Room) -> str:
    return (await undo_restore(room.target, await find_kept(room.target))).aside


async def test_undo_brings_back_the_last_one_replaced_and_may_itself_be_undone(room: Room):
    made = await room.backup()
    room.execute("CREATE TABLE first ()")
    await room.restore(made)
    room.execute("CREATE TABLE second ()")
    # Ids of one second sort by chance.
    await asyncio.sleep(1)
    second = await room.restore(made)
    assert second.kept
    with closing(psycopg2.connect(**room.conninfo.with_database(second.kept).keywords)):
        assert await find_kept(room.target) == second.kept
        undone = await undo_restore(room.target, second.kept)
    assert room.execute("SELECT to_regclass('second') IS NOT NULL") == [(True,)]
    assert undone.aside in undone.drop_command
    again = await undo_restore(room.target, await find_kept(room.target, undone.aside))
    assert room.execute("SELECT to_regclass('second') IS NULL") == [(True,)]
    assert len({undone.aside, again.aside} & room.databases()) == 1


async def test_undo_without_a_restore_names_what_there_is(room: Room):
    with pytest.raises(NotFound, match="no restore put a database aside"):
        await find_kept(room.target)
    done = await room.restore(await room.backup())
    with pytest.raises(NotFound) as caught:
        await find_kept(room.target, "postgres")
    assert str(done.kept) in caught.value.why


async def test_a_lost_database_is_brought_back_by_undo(room: Room):
    done = await room.restore(await room.backup())
    execute(room.conninfo.with_database("postgres"), f'DROP DATABASE "{room.conninfo.database}" WITH (FORCE)')
    undone = await undo_restore(room.target, await find_kept(room.target))
    assert (undone.brought_back, undone.aside) == (done.kept, "")
    assert room.execute("SELECT count(*) FROM plain") == [(500,)]
