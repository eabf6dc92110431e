"""Reads go to a standby that keeps up; what can't be had there comes from the primary."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager

import pytest
from sqlalchemy import text

from dbctl.database import ConnInfo, open_database
from dbctl.database.replicas import Reads
from dbctl.errors import Failed
from dbctl.settings import DatabaseSettings, PoolSettings
from tests.fixtures.database import execute
from tests.fixtures.standby import Pair, streaming_pair

MAJOR = 17
IMPATIENT = DatabaseSettings(connect_timeout=2)


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    with streaming_pair(MAJOR, tmp_path_factory.mktemp("standby")) as made:
        execute(made.primary, "CREATE TABLE first (id int)")
        until(lambda: execute(made.standby, "SELECT pg_last_xact_replay_timestamp()")[0][0])
        yield made


@pytest.fixture
def told() -> list[str]:
    return []


@asynccontextmanager
async def reads_from(
    pair: Pair, *replicas: ConnInfo, told: list[str], lag: float = 30
) -> AsyncIterator[Reads]:
    async with AsyncExitStack() as stack:
        primary, *others = [
            await stack.enter_async_context(open_database(one, IMPATIENT, PoolSettings()))
            for one in (pair.primary, *replicas)
        ]
        yield Reads(primary, tuple(others), lag, told.append)


async def is_standby(session) -> bool:
    return bool(await session.scalar(text("SELECT pg_is_in_recovery()")))


def until(condition) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


async def test_a_standby_that_keeps_up_answers(pair, told):
    async with reads_from(pair, pair.standby, told=told) as reads:
        assert await reads.run(is_standby)
    assert not told


async def test_one_that_may_be_too_far_behind_is_passed_over(pair, told):
    execute(pair.standby, "SELECT pg_wal_replay_pause()")
    try:
        until(lambda: execute(pair.standby, "SELECT pg_get_wal_replay_pause_state()") == [("paused",)])
        execute(pair.primary, "CREATE TABLE later (id int)", "SELECT pg_switch_wal()")
        behind = "SELECT pg_last_wal_receive_lsn() > pg_last_wal_replay_lsn()"
        until(lambda: execute(pair.standby, behind)[0][0])
        async with reads_from(pair, pair.standby, told=told, lag=0) as reads:
            assert not await reads.run(is_standby)
    finally:
        execute(pair.standby, "SELECT pg_wal_replay_resume()")
    assert "behind, over database.max_replica_lag" in told[0]


async def test_one_that_receives_nothing_any_more_is_as_old_as_what_it_replayed_last(pair, told):
    execute(pair.standby, "ALTER SYSTEM SET primary_conninfo = ''", "SELECT pg_reload_conf()")
    try:
        until(lambda: not execute(pair.standby, "SELECT 1 FROM pg_stat_wal_receiver"))
        async with reads_from(pair, pair.standby, told=told, lag=0) as reads:
            assert not await reads.run(is_standby)
    finally:
        execute(pair.standby, "ALTER SYSTEM RESET primary_conninfo", "SELECT pg_reload_conf()")
        until(lambda: execute(pair.standby, "SELECT 1 FROM pg_stat_wal_receiver"))
    assert "behind" in told[0]


async def test_a_server_that_is_no_standby_is_never_read_from(pair, told):
    async with reads_from(pair, pair.primary, told=told) as reads:
        assert not await reads.run(is_standby)
    assert "it is no standby" in told[0]


async def test_where_nobody_listens_the_primary_answers(pair, told):
    gone = pair.standby.with_database("postgres")
    gone = ConnInfo({**gone.keywords, "host": "/nonexistent"}, gone.password)
    async with reads_from(pair, gone, told=told) as reads:
        assert not await reads.run(is_standby)
    assert "is passed over" in told[0]


async def test_one_that_hangs_is_left_for_the_primary(pair, told):
    os.kill(pair.standby_pid, signal.SIGSTOP)
    try:
        async with reads_from(pair, pair.standby, told=told) as reads:
            assert not await reads.run(is_standby)
    finally:
        os.kill(pair.standby_pid, signal.SIGCONT)
    assert "is passed over" in told[0]


async def test_one_that_hangs_in_a_session_that_was_open_is_left_for_the_primary(pair, told):
    async with reads_from(pair, pair.standby, told=told) as reads:
        backend = await reads.run(backend_pid)
        os.kill(backend, signal.SIGSTOP)
        try:
            assert not await reads.run(is_standby)
        finally:
            os.kill(backend, signal.SIGCONT)
    assert "is passed over" in told[0]


async def backend_pid(session) -> int:
    assert await is_standby(session)
    return int(await session.scalar(text("SELECT pg_backend_pid()")))


async def test_one_that_is_lost_midway_is_left_within_one_retry(pair, told):
    asked = []

    async def read(session) -> bool:
        asked.append(await is_standby(session))
        if asked[-1]:
            execute(pair.standby, f"SELECT pg_terminate_backend({await backend_pid(session)})")
        return await is_standby(session)

    async with reads_from(pair, pair.standby, pair.standby, told=told) as reads:
        assert not await reads.run(read)
    assert asked == [True, False]


async def test_a_mistake_in_the_statement_is_not_tried_elsewhere(pair, told):
    async def fail(session) -> None:
        await session.execute(text("SELECT 1 / 0"))

    async with reads_from(pair, pair.standby, told=told) as reads:
        with pytest.raises(Failed, match="division by zero"):
            await reads.run(fail)
    assert not told


async def test_a_write_never_reaches_a_server_by_this_way(pair, told):
    async def write(session) -> None:
        await session.execute(text("CREATE TABLE written (id int)"))

    async with reads_from(pair, pair.standby, told=told) as reads:
        with pytest.raises(Failed, match="read-only"):
            await reads.run(write)
