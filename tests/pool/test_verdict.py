"""Why connections run short: a leak, demand and a full server are told apart, on real processes."""

from __future__ import annotations

import time
from contextlib import closing
from typing import Any

import psycopg2
import pytest

from dbctl.database import ConnInfo, resolve_target
from dbctl.pool.load import Counters, estimate_load
from dbctl.pool.model import PoolReport, Verdict
from dbctl.pool.report import read_pool
from dbctl.settings import load_settings
from tests.fixtures.cli import url_of
from tests.fixtures.database import execute, psycopg2_arguments

PATIENCE_SECONDS = 60


async def look(conninfo: ConnInfo, sample: float = 0.3, **pool: Any) -> PoolReport:
    """A report on the pool of an environment with these settings."""
    pool = {"leak_after": 0.2, **pool}
    tree = {"database": {"url": url_of(conninfo)}, "pool": pool}
    loaded = load_settings(overrides=tree, environ={}, needs_database=False)
    return await read_pool(await resolve_target(loaded, {}), sample)


async def look_until(conninfo: ConnInfo, verdict: Verdict, **pool: Any) -> PoolReport:
    """The same, as often as it takes on a machine that has other work."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while (report := await look(conninfo, **pool)).verdict is not verdict and time.monotonic() < deadline:
        pass
    return report


def connected(conninfo: ConnInfo) -> Any:
    """A connection, once the server has noticed that somebody left."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        try:
            return psycopg2.connect(**psycopg2_arguments(conninfo))
        except psycopg2.OperationalError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)


async def test_a_quiet_database_is_fine(conninfo):
    report = await look(conninfo)
    assert (report.verdict, report.ok) == (Verdict.FINE, True)
    assert report.load
    assert report.load.held_on_average is None


async def test_connections_that_nobody_gives_back_are_a_leak(conninfo, application):
    application("leak", 8)
    report = await look(conninfo, sample=0.5)
    assert report.verdict is Verdict.LEAK
    assert report.message.startswith("web holds 8 of 10 connections")
    assert report.evidence[0].startswith("8 sessions idle in transaction")
    assert "forgotten" in report.evidence[0]
    assert "a secret" not in str(report)
    assert "idle_in_transaction_session_timeout" in report.fix


async def test_connections_that_are_all_at_work_are_demand_and_no_leak(conninfo, application):
    application("work", 10)
    report = await look_until(conninfo, Verdict.DEMAND)
    assert report.verdict is Verdict.DEMAND
    assert report.message.startswith("web works on")
    assert "pool.size" in report.fix
    assert sum(one.sessions for one in report.sessions if one.application == "web") == 10


async def test_idle_connections_beyond_what_a_pool_keeps_are_a_leak_where_the_number_of_pools_is_known(
    conninfo, application
):
    with closing(psycopg2.connect(**psycopg2_arguments(conninfo), application_name="web")) as first:
        first.autocommit = True
        others = [psycopg2.connect(**psycopg2_arguments(conninfo), application_name="web") for _ in range(6)]
        time.sleep(0.3)
        assert (await look(conninfo)).verdict is Verdict.FINE
        report = await look(conninfo, processes=1)
        assert report.verdict is Verdict.LEAK
        assert report.evidence[0].startswith("2 more idle than the 5")
        for other in others:
            other.close()


async def test_a_short_transaction_that_is_open_now_is_no_leak(conninfo, application):
    application("leak", 8)
    report = await look(conninfo, leak_after=600, size=50)
    assert report.verdict is Verdict.FINE


async def test_sessions_that_can_not_be_seen_are_unknown_until_the_grant_that_is_named(conninfo, application):
    execute(conninfo, 'DROP ROLE IF EXISTS "Plain one"', 'CREATE ROLE "Plain one" LOGIN')
    plain = ConnInfo({**conninfo.keywords, "user": "Plain one"})
    application("leak", 8)
    report = await look(plain)
    assert (report.verdict, report.ok) == (Verdict.UNKNOWN, False)
    assert report.fix == 'GRANT pg_monitor TO "Plain one"'
    execute(conninfo, report.fix)
    assert (await look(plain, sample=0.5)).verdict is Verdict.LEAK
    execute(conninfo, 'DROP ROLE "Plain one"')


async def test_a_session_whose_state_nobody_keeps_is_unknown(conninfo):
    with closing(
        psycopg2.connect(**psycopg2_arguments(conninfo), options="-c track_activities=off")
    ) as silent:
        with silent.cursor() as cursor:
            cursor.execute("SELECT 1")
        report = await look(conninfo)
    assert report.verdict is Verdict.UNKNOWN
    assert "track_activities = on" in report.fix


@pytest.mark.parametrize("subject", ["ROLE narrow", "DATABASE"])
async def test_a_limit_that_is_used_up_is_saturation_and_so_is_one_that_keeps_us_out(conninfo, subject):
    execute(conninfo, "DROP ROLE IF EXISTS narrow", "CREATE ROLE narrow LOGIN", "GRANT pg_monitor TO narrow")
    what = subject if " " in subject else f'DATABASE "{conninfo.database}"'
    name = what.replace('"', "").lower()
    execute(conninfo, f"ALTER {what} CONNECTION LIMIT 3")
    narrow = ConnInfo({**conninfo.keywords, "user": "narrow"})
    taken = [psycopg2.connect(**psycopg2_arguments(narrow)) for _ in range(2)]
    report = await look(narrow)
    assert report.verdict is Verdict.SATURATION
    assert report.message == f"3 of 3 connections of {name} are taken"
    assert report.fleet
    assert (report.fleet.limit, report.fleet.limited_by) == (3, name)
    taken.append(connected(narrow))
    report = await look(narrow)
    assert (report.verdict, report.reached) == (Verdict.SATURATION, False)
    assert "too many connections" in report.evidence[0]
    for one in taken:
        one.close()
    execute(conninfo, "DROP ROLE narrow")


async def test_the_slots_are_those_that_the_server_gives_to_ordinary_roles(conninfo):
    slots = (await look(conninfo)).slots
    [(most, reserved)] = execute(
        conninfo,
        "SELECT current_setting('max_connections')::int, sum(setting::int) FROM pg_settings"
        " WHERE name IN ('superuser_reserved_connections', 'reserved_connections')",
    )
    assert slots
    assert (slots.max_connections, slots.usable) == (most, most - reserved)
    assert slots.used >= 1


async def test_full_pools_of_all_processes_must_fit(conninfo):
    few, many = await look(conninfo, processes=2, jobs=3), await look(conninfo, processes=500)
    assert few.fleet
    assert (few.fleet.connections, few.fleet.fits, few.ok) == (23, True, True)
    assert many.fleet
    assert (many.fleet.connections, many.fleet.fits, many.ok) == (5000, False, False)


async def test_littles_law_counts_the_connections_that_the_work_holds():
    before, after = Counters(100.0, 1000, 50.0), Counters(102.0, 1400, 58.0)
    load = estimate_load(before, after, processes=2)
    assert (load.transactions_per_second, load.mean_hold_seconds, load.held_on_average) == (200, 0.02, 4)
    # 2 on average in each process, and three standard deviations.
    assert load.suggested_per_process == 7
    assert estimate_load(before, Counters(102.0, 1010, 51.0), 1).held_on_average is None
    assert estimate_load(Counters(100.0, 1000, None), Counters(102.0, 1400, None), 1).held_on_average is None


async def test_the_connections_that_work_holds_are_estimated_from_the_servers_counters(conninfo, application):
    application("work", 6)
    deadline, held = time.monotonic() + PATIENCE_SECONDS, None
    while held is None and time.monotonic() < deadline:
        # A session adds to the server's counters once a second: from a short sample it is a rough estimate.
        report = await look(conninfo, sample=2.5)
        held = report.load and report.load.held_on_average
    assert held
    assert 1.5 <= held <= 12


async def test_a_ping_is_measured_against_a_round_trip(conninfo):
    ping = (await look(conninfo, pre_ping=False)).ping
    assert ping
    assert ping.enabled is False
    assert ping.round_trips == pytest.approx(ping.ping_seconds / ping.round_trip_seconds, rel=0.1)
