"""Advisory locks: one holder, named to whoever waits, freed at any end."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
from sqlalchemy.pool import NullPool

from dbctl.errors import Busy
from dbctl.postgres.locks import advisory_lock, lock_key
from dbctl.postgres.scratch import ScratchServer

IDLE = "SELECT count(*) FROM pg_stat_activity WHERE state LIKE 'idle in transaction%'"


@pytest.fixture
async def engine(scratch: ScratchServer) -> AsyncIterator[AsyncEngine]:
    where = {name: scratch.params[name] for name in ("host", "user")}
    made = create_async_engine(
        "postgresql+asyncpg://",
        poolclass=NullPool,
        connect_args={**where, "database": "postgres", "server_settings": {"application_name": "the test"}},
    )
    yield made
    await made.dispose()


@pytest.fixture
async def first(engine: AsyncEngine) -> AsyncIterator[AsyncConnection]:
    async with engine.connect() as connection:
        yield connection


@pytest.fixture
async def second(engine: AsyncEngine) -> AsyncIterator[AsyncConnection]:
    async with engine.connect() as connection:
        yield connection


def test_a_names_key_never_changes() -> None:
    assert lock_key("dbctl migrate") == 8757749467929064510
    assert len({lock_key(str(number)) for number in range(1000)}) == 1000
    assert {lock_key(str(number)) < 0 for number in range(20)} == {True, False}


@pytest.mark.parametrize("name", ["0", "1", "2", "3", "4"])
async def test_the_second_is_told_who_holds_it(
    first: AsyncConnection, second: AsyncConnection, name: str
) -> None:
    async with advisory_lock(first, name):
        pid = await first.scalar(text("SELECT pg_backend_pid()"))
        with pytest.raises(Busy, match=f"pid {pid}, role postgres, the test from this machine") as caught:
            async with advisory_lock(second, name):
                pass
        assert f"pg_terminate_backend({pid})" in caught.value.hint
        assert "connected since 20" in caught.value.why


async def test_it_is_free_again_after_an_error(first: AsyncConnection, second: AsyncConnection) -> None:
    with pytest.raises(ZeroDivisionError):
        async with advisory_lock(first, "again"):
            _ = 1 / 0
    async with advisory_lock(second, "again"):
        pass


async def test_waiting_gets_it_as_soon_as_it_is_free(first: AsyncConnection, second: AsyncConnection) -> None:
    async def hold() -> None:
        async with advisory_lock(first, "soon"):
            held.set()
            await asyncio.sleep(0.3)

    held = asyncio.Event()
    holder = asyncio.create_task(hold())
    await held.wait()
    async with advisory_lock(second, "soon", wait_seconds=None):
        assert holder.done()
    await holder


async def test_waiting_has_an_end(first: AsyncConnection, second: AsyncConnection) -> None:
    async with advisory_lock(first, "end"):
        with pytest.raises(Busy):
            async with advisory_lock(second, "end", wait_seconds=0.3):
                pass


async def test_neither_holding_nor_waiting_keeps_a_transaction_open(
    engine: AsyncEngine, first: AsyncConnection, second: AsyncConnection
) -> None:
    async with advisory_lock(first, "open"), advisory_lock(second, "other"), engine.connect() as third:
        assert await third.scalar(text(IDLE)) == 0


async def test_a_lost_connection_frees_it_and_raises_nothing_more(
    engine: AsyncEngine, second: AsyncConnection
) -> None:
    async with engine.connect() as doomed:
        async with advisory_lock(doomed, "lost"):
            pid = await doomed.scalar(text("SELECT pg_backend_pid()"))
            await second.execute(text("SELECT pg_terminate_backend(:pid, 5000)"), {"pid": pid})
        await second.rollback()
        async with advisory_lock(second, "lost"):
            pass
