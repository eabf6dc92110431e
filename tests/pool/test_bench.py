"""The benchmark's arithmetic, and that it outlives the connections it measures."""

from __future__ import annotations

import asyncio

import pytest

from dbctl.database import resolve_target
from dbctl.pool.bench import bounds_of, enough_tasks, percentile, run_benchmark
from dbctl.pool.model import Level
from dbctl.settings import load_settings
from tests.fixtures.cli import url_of
from tests.fixtures.database import execute

KILL = (
    "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity"
    " WHERE application_name = 'dbctl bench' AND datname = current_database()"
)


@pytest.mark.parametrize(("share", "expected"), [(0.5, 50), (0.95, 95), (0.99, 99), (1.0, 100)])
def test_a_percentile_is_a_value_that_was_measured(share, expected):
    assert percentile(range(1, 101), share) == expected
    assert percentile([7], share) == 7
    assert percentile([], share) is None


def test_enough_are_the_fewest_tasks_with_nearly_the_best_throughput():
    levels = [Level(tasks, 1, 1, rate, 0, 0, 0) for tasks, rate in ((1, 400), (2, 790), (4, 800), (8, 700))]
    assert enough_tasks(levels) == 2
    assert enough_tasks([Level(1, 1, 0, 0, None, None, None)]) is None


async def test_connections_that_are_killed_do_not_end_a_benchmark(conninfo):
    tree = {"database": {"url": url_of(conninfo)}, "pool": {"size": 2, "max_overflow": 0}}
    target = await resolve_target(load_settings(overrides=tree, environ={}, needs_database=False), {})
    bounds = bounds_of(target, 4, 0.5)
    done: list[int] = []
    measuring = asyncio.create_task(run_benchmark(target, bounds, done.append))
    killed = 0
    while not measuring.done():
        if not done:
            await asyncio.sleep(0.01)
            continue
        killed += (await asyncio.to_thread(execute, conninfo, KILL))[0][0]
        await asyncio.sleep(0.05)
    report = await measuring
    assert killed > 0
    assert done == [1, 2, 3]
    assert all(one.checkouts > 0 for one in report.levels)


async def test_a_benchmark_that_is_cancelled_leaves_no_connection(conninfo):
    tree = {"database": {"url": url_of(conninfo)}}
    target = await resolve_target(load_settings(overrides=tree, environ={}, needs_database=False), {})
    begun = asyncio.Event()
    measuring = asyncio.create_task(run_benchmark(target, bounds_of(target, 8, 0.1), lambda _: begun.set()))
    await asyncio.wait_for(begun.wait(), 60)
    measuring.cancel()
    with pytest.raises(asyncio.CancelledError):
        await measuring
    count = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'dbctl bench' AND datname = current_database()"
    for _ in range(600):
        if execute(conninfo, count) == [(0,)]:
            break
        await asyncio.sleep(0.1)
    assert execute(conninfo, count) == [(0,)]
