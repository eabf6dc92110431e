"""Drives the real engine at rising concurrency: what it gives, and how long a checkout waits."""

from __future__ import annotations

import asyncio
import math
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from sqlalchemy import text

from dbctl.database import Database, Target
from dbctl.errors import DbctlError, Refused
from dbctl.pool.model import Benchmark, Bounds, Level
from dbctl.pool.report import setup_of
from dbctl.pool.sessions import read_server, read_sessions

# As much of the best throughput is as good as the best.
_NEARLY = 0.95
# Who gets an error doesn't ask again at once: a server that restarts has other work.
_PAUSE_SECONDS = 0.05
_ASKED = text("SELECT 1")


@dataclass(slots=True)
class _Tally:
    """What the tasks of one level saw: the wait of each checkout in seconds, and errors by their kind."""

    waits: list[float] = field(default_factory=list)
    errors: Counter[str] = field(default_factory=Counter)


def bounds_of(target: Target, most_tasks: int | None, seconds: float) -> Bounds:
    """What a benchmark will take: 1, 2, 4 … tasks up to ``most_tasks``, or four times the pool. Raises Refused.

    ``seconds`` are those of one level. Protected environments are no place for a load.
    """
    if target.settings.settings.protected:
        raise Refused(
            f"a benchmark is a load, and {target.environment} is protected",
            why="its application would get what the benchmark leaves",
            hint="run it in an environment that is like it, such as staging",
        )
    connections = setup_of(target.settings).per_process
    most = most_tasks or 4 * connections
    levels = [*(2**power for power in range(most.bit_length()) if 2**power < most), most]
    return Bounds(connections, round(seconds * len(levels), 1), tuple(levels))


async def run_benchmark(target: Target, bounds: Bounds, progress: Callable[[int], object]) -> Benchmark:
    """Measure each level in turn; ``progress`` takes how many are done. Writes nothing.

    Raises Refused where the pool would take the last free slots of the server.
    """
    each = bounds.seconds / len(bounds.levels)
    levels = []
    async with target.open(application_name="dbctl bench") as database:
        await _check_room(database, bounds)
        for number, tasks in enumerate(bounds.levels, 1):
            levels.append(await _level(database, tasks, each))
            progress(number)
    pool = target.settings.settings.pool
    return Benchmark(target.environment, bounds, pool.pre_ping, tuple(levels), enough_tasks(levels))


def enough_tasks(levels: Sequence[Level]) -> int | None:
    """The fewest tasks that get nearly the best throughput; None where none got anything."""
    best = max((one.per_second for one in levels), default=0)
    return next((one.tasks for one in levels if best and one.per_second >= _NEARLY * best), None)


def percentile(sorted_values: Sequence[float], share: float) -> float | None:
    """The value that ``share`` of all do not exceed (nearest rank); None of nothing."""
    if not sorted_values:
        return None
    return sorted_values[max(0, math.ceil(share * len(sorted_values)) - 1)]


async def _check_room(database: Database, bounds: Bounds) -> None:
    if database.pooler:
        return
    async with database.connect() as connection:
        slots = (await read_server(connection, await read_sessions(connection))).slots
    tightest = slots.tightest
    # One of those that are taken is our own.
    room = tightest.limit - tightest.used + 1
    if bounds.connections >= room:
        raise Refused(
            f"a benchmark with {bounds.connections} connections would take all that are free",
            why=f"{tightest.name} has {room} left of {tightest.limit}",
            hint="lower pool.size and pool.max_overflow for it, such as DBCTL_POOL__SIZE=2",
        )


async def _level(database: Database, tasks: int, seconds: float) -> Level:
    tally = _Tally()
    # All connections that this level can use are there before it is measured.
    await asyncio.gather(*(_checkout(database, _Tally()) for _ in range(tasks)))
    started = time.perf_counter()
    await asyncio.gather(*(_work(database, started + seconds, tally) for _ in range(tasks)))
    took = time.perf_counter() - started
    waits = sorted(tally.waits)
    p50, p95, p99 = (percentile(waits, share) for share in (0.5, 0.95, 0.99))
    return Level(
        tasks=tasks,
        seconds=round(took, 3),
        checkouts=len(waits),
        per_second=round(len(waits) / took, 1),
        wait_p50_seconds=p50,
        wait_p95_seconds=p95,
        wait_p99_seconds=p99,
        errors=dict(sorted(tally.errors.items())),
    )


async def _work(database: Database, until: float, tally: _Tally) -> None:
    while time.perf_counter() < until:
        await _checkout(database, tally)


async def _checkout(database: Database, tally: _Tally) -> None:
    try:
        asked = time.perf_counter()
        async with database.session() as session:
            await session.connection()
            got = time.perf_counter()
            await session.execute(_ASKED)
        tally.waits.append(got - asked)
    except DbctlError as error:
        tally.errors[error.kind] += 1
        await asyncio.sleep(_PAUSE_SECONDS)
