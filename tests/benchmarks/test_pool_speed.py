"""A checkout and SELECT 1 through our engine against SQLAlchemy's own, in turns."""

from __future__ import annotations

import gc
import statistics
import time

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from dbctl.database import ConnInfo, open_database
from dbctl.settings import DatabaseSettings, PoolSettings

ROUNDS, CHECKOUTS, LIMIT = 61, 300, 1.02
ASKED = text("SELECT 1")
POOL = PoolSettings()


async def cost(engine: AsyncEngine) -> tuple[float, float]:
    """CPU and wall seconds of so many checkouts, one after the other."""
    cpu, wall = time.process_time(), time.perf_counter()
    for _ in range(CHECKOUTS):
        async with engine.connect() as connection:
            await connection.execute(ASKED)
    return time.process_time() - cpu, time.perf_counter() - wall


@pytest.mark.benchmark
async def test_a_checkout_through_our_engine_costs_what_sqlalchemys_does(empty_conninfo: ConnInfo) -> None:
    """The bare engine has the same pool: its size, pre_ping and LIFO; ours adds limits, errors, retries, a password."""
    bare = create_async_engine(
        "postgresql+asyncpg://",
        connect_args=empty_conninfo.asyncpg_arguments(),
        pool_size=POOL.size,
        max_overflow=POOL.max_overflow,
        pool_timeout=POOL.timeout,
        pool_recycle=int(POOL.recycle),
        pool_pre_ping=POOL.pre_ping,
        pool_use_lifo=True,
    )
    pairs: list[tuple[tuple[float, float], tuple[float, float]]] = []
    async with open_database(empty_conninfo, DatabaseSettings(), POOL) as database:
        gc.disable()
        for number in range(ROUNDS + 2):
            # Each goes first in turn; the first two rounds connect and warm up.
            if number % 2:
                ours, theirs = await cost(database.engine), await cost(bare)
            else:
                theirs, ours = await cost(bare), await cost(database.engine)
            pairs += [(ours, theirs)] if number > 1 else []
        gc.enable()
    await bare.dispose()
    cpu, wall = (statistics.median(ours[kind] / theirs[kind] for ours, theirs in pairs) for kind in (0, 1))
    each = statistics.median(ours[1] for ours, _ in pairs) / CHECKOUTS
    print(
        f"\ncheckout + SELECT 1, ours / SQLAlchemy's: {cpu:.3f} CPU, {wall:.3f} wall ({each * 1e6:.0f} us each)"
    )
    assert cpu <= LIMIT
    assert wall <= LIMIT
