"""How many connections the work itself needs, by Little's law, and what a ping costs at this distance."""

from __future__ import annotations

import math
import statistics
import time
from dataclasses import dataclass
from typing import Any

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from dbctl.pool.model import Load, PingCost

# The times are there from 14 on, in milliseconds. A session adds its own once a second at most.
_COUNTERS = text(
    """
    SELECT CAST(extract(epoch FROM clock_timestamp()) AS float8) AS at, xact_commit + xact_rollback AS transactions,
           CAST(to_jsonb(d) ->> 'active_time' AS float8) / 1000
             + CAST(to_jsonb(d) ->> 'idle_in_transaction_time' AS float8) / 1000 AS held_seconds
    FROM pg_stat_database d WHERE datname = current_database()
    """
)
# Fewer say nothing: our own are among them.
_ENOUGH_TRANSACTIONS = 20
# How far a varying load is above its mean at nearly all times: three standard deviations, as of a Poisson process.
_DEVIATIONS = 3
_PINGS = 7


@dataclass(frozen=True, slots=True)
class Counters:
    """A database's counters at a moment (pg_stat_database)."""

    at: float
    transactions: int
    held_seconds: float | None


async def read_counters(connection: AsyncConnection) -> Counters:
    """The counters as they are now."""
    return Counters(**(await connection.execute(_COUNTERS)).mappings().one())


def estimate_load(before: Counters, after: Counters, processes: int) -> Load:
    """What happened in between; the estimate is None where that was too little to say."""
    seconds, transactions = after.at - before.at, after.transactions - before.transactions
    if seconds <= 0 or transactions < _ENOUGH_TRANSACTIONS:
        return Load(round(max(0.0, seconds), 3), max(0, transactions), None, None, None, None)
    rate = transactions / seconds
    if before.held_seconds is None or after.held_seconds is None:
        return Load(round(seconds, 3), transactions, round(rate, 1), None, None, None)
    hold = max(0.0, after.held_seconds - before.held_seconds) / transactions
    held = rate * hold
    return Load(
        seconds=round(seconds, 3),
        transactions=transactions,
        transactions_per_second=round(rate, 1),
        mean_hold_seconds=round(hold, 6),
        held_on_average=round(held, 2),
        suggested_per_process=suggested(held, processes),
    )


def suggested(held_on_average: float, processes: int) -> int:
    """Connections for each process that suffice at nearly all times."""
    mean = held_on_average / processes
    return max(1, math.ceil(mean + _DEVIATIONS * math.sqrt(mean)))


async def measure_ping(connection: AsyncConnection, *, enabled: bool) -> PingCost:
    """What the engine's ping takes on a connection that is in no transaction, against a bare round trip."""
    raw = await connection.get_raw_connection()
    driver: Any = raw.driver_connection
    adapted: Any = raw.dbapi_connection
    trips, pings = [], []
    for _ in range(_PINGS):
        started = time.perf_counter()
        await driver.execute("SELECT 1")
        between = time.perf_counter()
        await connection.run_sync(lambda sync: sync.dialect.do_ping(adapted))
        trips.append(between - started)
        pings.append(time.perf_counter() - between)
    trip, ping = statistics.median(trips), statistics.median(pings)
    return PingCost(enabled, round(trip, 6), round(ping, 6), round(ping / trip, 1))
