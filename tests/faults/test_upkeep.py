"""Faults that come with time: partitions that end, a server left behind, settings that somebody changed."""

from __future__ import annotations

import asyncio
from datetime import date

import pytest

from dbctl.health.checks.server import newest_minor
from dbctl.health.look import Outside
from dbctl.health.model import Status
from dbctl.health.run import Request, check_health
from tests.fixtures.database import execute
from tests.fixtures.health import health, target

BY_TIME = "CREATE TABLE log (at {type} NOT NULL, PRIMARY KEY (at)) PARTITION BY RANGE (at)"


def partition(conninfo, start: str, end: str, name: str = "log_1") -> None:
    """The one from the days ``start`` to ``end``, such as ``-30 d``."""
    bound = f"SELECT quote_literal((current_date + interval '{start}')::date), quote_literal((current_date + interval '{end}')::date)"
    ((first, last),) = execute(conninfo, bound)
    execute(conninfo, f"CREATE TABLE {name} PARTITION OF log FOR VALUES FROM ({first}) TO ({last})")


@pytest.mark.parametrize("kind", ["date", "timestamp", "timestamptz"])
async def test_a_table_whose_last_partition_ends_soon_is_found_until_the_next_is_there(conninfo, kind):
    execute(conninfo, BY_TIME.format(type=kind))
    partition(conninfo, "-28 d", "3 d")
    found = (await health(conninfo, "partitions_ahead"))["partitions_ahead"]
    assert (found.status, found.objects) == (Status.WARNING, ("public.log",))
    assert "then rows fail" in found.message
    execute(conninfo, found.fix)
    assert (await health(conninfo, "partitions_ahead"))["partitions_ahead"].status is Status.OK


async def test_the_next_partition_is_of_a_month_where_the_last_one_is(conninfo):
    execute(conninfo, BY_TIME.format(type="date").replace("log", '"lo""g"'))
    # The first of a month, within some days of now.
    months = "SELECT (date_trunc('month', now() + interval '28 d') + n * interval '1 month')::date::text FROM generate_series(-1, 1) n"
    first, last, after = (day for (day,) in execute(conninfo, months))
    execute(conninfo, f"""CREATE TABLE l PARTITION OF "lo""g" FOR VALUES FROM ('{first}') TO ('{last}')""")
    settings = {"partitions": {"ahead": "30d"}}
    found = (await health(conninfo, "partitions_ahead", health=settings))["partitions_ahead"]
    name = f'public."lo""g_{last.replace("-", "")}"'
    assert (
        found.fix
        == f"""CREATE TABLE {name} PARTITION OF public."lo""g" FOR VALUES FROM ('{last}') TO ('{after}')"""
    )
    execute(conninfo, found.fix)


@pytest.mark.parametrize(
    ("start", "end", "default", "status"),
    [
        ("-30 d", "-1 d", False, Status.CRITICAL),
        ("-30 d", "-1 d", True, Status.WARNING),
        # Nobody writes to it any more.
        ("-400 d", "-90 d", False, Status.OK),
        # A partition a day: the next one is made in the last hours.
        ("1 d", "2 d", False, Status.OK),
    ],
)
async def test_how_bad_it_is_depends_on_what_becomes_of_new_rows(conninfo, start, end, default, status):
    execute(conninfo, BY_TIME.format(type="date"))
    partition(conninfo, start, end)
    if default:
        execute(conninfo, "CREATE TABLE log_rest PARTITION OF log DEFAULT")
    assert (await health(conninfo, "partitions_ahead"))["partitions_ahead"].status is status


@pytest.mark.parametrize("end", ["MAXVALUE", "'infinity'"])
async def test_partitions_by_other_things_than_time_or_without_end_are_none_of_it(conninfo, end):
    execute(
        conninfo,
        "CREATE TABLE n (id int) PARTITION BY RANGE (id)",
        "CREATE TABLE n_1 PARTITION OF n FOR VALUES FROM (1) TO (9)",
    )
    assert (await health(conninfo, "partitions_ahead"))["partitions_ahead"].status is Status.SKIPPED
    execute(conninfo, BY_TIME.format(type="date"))
    execute(conninfo, f"CREATE TABLE log_1 PARTITION OF log FOR VALUES FROM ('2020-01-01') TO ({end})")
    assert (await health(conninfo, "partitions_ahead"))["partitions_ahead"].status is Status.OK


@pytest.mark.parametrize(
    ("day", "newest"),
    [
        (date(2026, 11, 12), 6),
        (date(2026, 11, 11), 5),
        (date(2020, 1, 1), 0),
        (date(2027, 2, 10), 6),
        (date(2027, 2, 11), 7),
        (date(2028, 1, 1), 10),
        # The last one there will be of 18 is that of November 2030.
        (date(2040, 1, 1), 22),
    ],
)
def test_the_newest_minor_release_is_known_by_the_schedule_for_as_long_as_there_are_any(day, newest):
    assert newest_minor(18, day) == newest
    assert newest_minor(99, day) is None


async def test_a_server_that_lacks_fixes_is_found(conninfo, monkeypatch):
    monkeypatch.setattr("dbctl.health.checks.server.newest_minor", lambda *_: 99)
    found = (await health(conninfo, "minor_version", health={"skip": ()}))["minor_version"]
    assert found.status is Status.WARNING
    assert ".99" in found.fix
    monkeypatch.setattr("dbctl.health.checks.server.newest_minor", lambda *_: 0)
    found = (await health(conninfo, "minor_version", health={"skip": ()}))["minor_version"]
    assert (found.status, found.fix) == (Status.OK, "")


async def test_a_setting_that_was_changed_since_the_last_run_is_named_once(conninfo, tmp_path):
    request = Request(("settings_changed",), state=tmp_path / "state")

    async def ask() -> tuple[Status, tuple[str, ...]]:
        await asyncio.sleep(0.6)
        (answer,) = (await check_health(target(conninfo), Outside(), request)).checks
        return answer.status, answer.objects

    assert await ask() == (Status.NOT_ENOUGH_DATA, ())
    assert await ask() == (Status.OK, ())
    execute(conninfo, f'ALTER DATABASE "{conninfo.database}" SET random_page_cost = 1.1')
    assert await ask() == (Status.WARNING, ("random_page_cost",))
    assert await ask() == (Status.OK, ())


async def test_settings_of_memory_that_contradict_each_other_are_found(conninfo):
    name = f'"{conninfo.database}"'
    assert (await health(conninfo, "memory"))["memory"].status is Status.OK
    execute(
        conninfo,
        f"ALTER DATABASE {name} SET effective_cache_size = '1MB'",
        f"ALTER DATABASE {name} SET work_mem = '1GB'",
    )
    found = (await health(conninfo, "memory"))["memory"]
    assert (found.status, found.objects) == (Status.WARNING, ("work_mem", "effective_cache_size"))
    execute(conninfo, "CREATE TABLE t AS SELECT g FROM generate_series(1, 9000) g", "ANALYZE t")
    large = {"memory": {"large": 1}}
    assert "shared_buffers" in (await health(conninfo, "memory", health=large))["memory"].objects


async def test_counters_that_were_just_reset_are_no_proof_that_all_is_well(conninfo):
    execute(conninfo, "SELECT pg_stat_reset()")
    found = await health(conninfo, "dead_rows", "stale_statistics")
    assert {one.status for one in found.values()} == {Status.NOT_ENOUGH_DATA}
    assert "since a reset" in found["dead_rows"].message
