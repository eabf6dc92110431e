"""On a standby: who waits there, mostly for what is replayed; and indexes, whose uses it counts by itself."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from dbctl.activity.indexes.elsewhere import read_elsewhere
from dbctl.activity.indexes.find import find_indexes
from dbctl.activity.indexes.model import Kind
from dbctl.activity.locks.kill import find_victim
from dbctl.activity.locks.look import look_at_locks
from dbctl.database import ConnInfo
from dbctl.errors import Refused
from tests.activity.conftest import pid_of, reading, sessions, until
from tests.fixtures.database import execute
from tests.fixtures.standby import streaming_pair

MAJOR = 17


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[ConnInfo, ConnInfo]]:
    """A primary with a table, and a standby that follows it."""
    with streaming_pair(MAJOR, tmp_path_factory.mktemp("standby")) as pair:
        execute(pair.primary, "CREATE TABLE orders (id int)", "CREATE INDEX one ON orders (id)")
        until(lambda: execute(pair.standby, "SELECT count(*) FROM pg_class WHERE relname = 'one'")[0][0])
        yield pair.primary, pair.standby


async def test_a_reader_waits_for_the_replay_which_is_named_and_never_ended(pair):
    primary, standby = pair
    with sessions(primary) as there, sessions(standby) as here:
        locker = there.holds("LOCK TABLE orders IN ACCESS EXCLUSIVE MODE")
        # It comes to the standby with the next of the log that is written out.
        there.ask("SELECT pg_switch_wal()::text")
        until(lambda: here.ask("SELECT count(*) FROM pg_lock_status() WHERE mode = 'AccessExclusiveLock'"))
        reader = here.waits("SELECT * FROM orders")
        async with reading(standby) as connection:
            root, waiter = (await look_at_locks(connection)).sessions
            with pytest.raises(Refused, match="not ended"):
                await find_victim(connection, root.pid)
        locker.rollback()
        there.ask("SELECT pg_switch_wal()::text")
    assert root.state == "startup"
    assert (waiter.pid, waiter.relation) == (pid_of(reader), "public.orders")


async def test_whose_uses_were_counted_is_said_on_both_sides(pair):
    notes: list[str] = []
    for one in pair:
        execute(one, "SELECT pg_stat_reset()")
        async with reading(one) as connection:
            report = await find_indexes(connection, [Kind.UNUSED], unused_for_seconds=0)
        assert [found.index for found in report.findings] == ["public.one"]
        notes.append(report.notes[-1])
    assert notes[0].startswith("uses on standbys (1 of them) are not counted")
    assert notes[1].startswith("this is a standby")


async def test_what_a_standby_of_the_settings_reads_is_not_unused(pair):
    primary, standby = pair
    execute(standby, "SELECT pg_stat_reset()")
    async with reading(primary) as connection, reading(standby) as other:
        asked = await read_elsewhere(other, "standby")
        idle = await find_indexes(connection, [Kind.UNUSED], unused_for_seconds=0, elsewhere=[asked])
        execute(standby, "SET enable_seqscan = off", "SELECT * FROM orders WHERE id = 7")
        until(lambda: execute(standby, "SELECT pg_stat_get_numscans('one'::regclass)")[0][0])
        asked = await read_elsewhere(other, "standby")
        used = await find_indexes(connection, [Kind.UNUSED], unused_for_seconds=0, elsewhere=[asked])
    assert [one.index for one in idle.findings] == ["public.one"]
    assert idle.notes == ()
    assert used.findings == ()


async def test_where_a_standby_can_not_be_asked_no_index_is_called_unused(pair):
    primary, _ = pair
    async with reading(primary) as connection:
        asked = await read_elsewhere(connection, "other")
        report = await find_indexes(connection, [Kind.UNUSED], unused_for_seconds=0, elsewhere=[asked])
    assert report.findings == ()
    assert "standby other was not asked: it is no standby" in " ".join(report.notes)
