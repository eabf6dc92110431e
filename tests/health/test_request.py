"""What a run is asked for: profiles, rates, files of what is known, all databases, and a budget that is kept."""

from __future__ import annotations

import asyncio
import json
import time
from datetime import UTC, datetime, timedelta

import psycopg2
import pytest

from dbctl.database import ConnInfo
from dbctl.errors import UsageError
from dbctl.health.look import Outside
from dbctl.health.model import Report, Status
from dbctl.health.registry import chosen
from dbctl.health.run import Request, check_health
from dbctl.postgres.scratch import scratch_server
from tests.fixtures.database import execute, made_database, psycopg2_arguments
from tests.fixtures.health import target

TOMORROW = datetime.now(UTC).date() + timedelta(days=1)
YESTERDAY = datetime.now(UTC).date() - timedelta(days=1)


async def ask(conninfo, *names: str, health=(), **request) -> Report:
    return await check_health(target(conninfo, health=dict(health)), Outside(), Request(names, **request))


def by_name(report: Report):
    return {one.check: one for one in report.checks}


async def test_a_probe_asks_little_and_nightly_asks_all(conninfo):
    probe, oncall, nightly, deploy = [
        set(by_name(await ask(conninfo, profile=one))) for one in ("probe", "oncall", "nightly", "deploy")
    ]
    assert probe == {"reachable", "role"}
    assert probe < deploy < oncall < nightly


async def test_rates_come_from_two_samples_of_one_run(conninfo):
    with psycopg2.connect(**psycopg2_arguments(conninfo)):
        assert by_name(await ask(conninfo, "rollbacks"))["rollbacks"].status is Status.NOT_ENOUGH_DATA
        found = by_name(await ask(conninfo, "rollbacks", "connections", sample_seconds=0.6))
    assert found["rollbacks"].status is Status.OK
    assert found["connections"].status is Status.OK


async def test_who_watches_a_quiet_database_closely_is_no_finding_himself(conninfo, tmp_path):
    for _ in range(3):
        found = by_name(await ask(conninfo, "rollbacks", state=tmp_path / "state"))["rollbacks"]
        assert found.status in {Status.OK, Status.NOT_ENOUGH_DATA}
        await asyncio.sleep(0.6)


async def test_rates_come_from_the_state_that_the_run_before_has_left(conninfo, tmp_path):
    state = tmp_path / "state"
    assert (
        by_name(await ask(conninfo, "deadlocks", state=state))["deadlocks"].status is Status.NOT_ENOUGH_DATA
    )
    await asyncio.sleep(0.6)
    assert by_name(await ask(conninfo, "deadlocks", state=state))["deadlocks"].status is Status.OK


async def test_a_deadlock_between_two_samples_is_found(conninfo, tmp_path):
    state = tmp_path / "state"
    execute(conninfo, "CREATE TABLE t (id int)", "INSERT INTO t VALUES (1), (2)")
    await ask(conninfo, "deadlocks", state=state)
    await asyncio.gather(*(asyncio.to_thread(cross, conninfo, *pair) for pair in ((1, 2), (2, 1))))
    deadline = time.monotonic() + 60
    while (
        found := by_name(await ask(conninfo, "deadlocks", state=state))["deadlocks"]
    ).status is not Status.WARNING:
        assert time.monotonic() < deadline, found
        await asyncio.sleep(0.6)
    assert conninfo.database in found.objects[0]


def cross(conninfo: ConnInfo, first: int, second: int) -> None:
    with psycopg2.connect(**psycopg2_arguments(conninfo)) as connection, connection.cursor() as cursor:
        cursor.execute("SET deadlock_timeout = '10ms'")
        cursor.execute("UPDATE t SET id = id WHERE id = %s", (first,))
        time.sleep(1)
        try:
            cursor.execute("UPDATE t SET id = id WHERE id = %s", (second,))
        except psycopg2.errors.DeadlockDetected:
            connection.rollback()


@pytest.mark.parametrize("text", ["", "[]", '{"format": "something else"}', "\0"])
async def test_a_state_file_that_is_something_else_is_not_overwritten(conninfo, tmp_path, text):
    state = tmp_path / "state"
    state.write_text(text)
    with pytest.raises(UsageError, match="can't use --state"):
        await ask(conninfo, "deadlocks", state=state)
    assert state.read_text() == text


async def test_what_is_ignored_with_a_reason_until_a_day_is_silent_and_said_to_be(conninfo):
    execute(
        conninfo, "CREATE TABLE old_a (id int)", "CREATE TABLE old_b (id int)", "CREATE TABLE new (id int)"
    )
    old = {"check": "primary_keys", "object": "public.old_*", "because": "they go in May", "until": TOMORROW}
    found = by_name(await ask(conninfo, "primary_keys", health={"ignore": [old]}))["primary_keys"]
    assert found.objects == ("public.new",)
    assert "2 known and not said" in found.message
    execute(conninfo, "DROP TABLE new")
    report = await ask(conninfo, "primary_keys", health={"ignore": [old]})
    assert by_name(report)["primary_keys"].status is Status.SKIPPED
    assert "they go in May" in by_name(report)["primary_keys"].message
    assert report.notes == ()


async def test_an_ignore_that_is_over_or_matches_nothing_is_said(conninfo):
    execute(conninfo, "CREATE TABLE t (id int)")
    over = {"check": "primary_keys", "object": "public.t", "because": "soon gone", "until": YESTERDAY}
    idle = {"check": "primary_keys", "object": "public.nosuch", "because": "typo"}
    report = await ask(conninfo, "primary_keys", health={"ignore": [over, idle]})
    assert by_name(report)["primary_keys"].status is Status.WARNING
    assert [note.split(") ")[1] for note in report.notes] == [
        f"ended on {YESTERDAY} and counts no more",
        "matches nothing: remove it",
    ]


async def test_a_baseline_leaves_only_what_is_new(conninfo, tmp_path):
    execute(conninfo, "CREATE TABLE a (id int)")
    baseline = tmp_path / "baseline.json"
    checks = [one.record() for one in (await ask(conninfo, "primary_keys")).checks]
    baseline.write_text(json.dumps({"checks": checks}))
    assert (await ask(conninfo, "primary_keys", baseline=baseline)).status is Status.SKIPPED
    execute(conninfo, "CREATE TABLE b (id int)")
    assert by_name(await ask(conninfo, "primary_keys", baseline=baseline))["primary_keys"].objects == (
        "public.b",
    )
    with pytest.raises(UsageError, match="can't read --baseline"):
        await ask(conninfo, "primary_keys", baseline=tmp_path / "none")


async def test_every_database_of_the_server_is_looked_at_and_one_that_refuses_is_said(conninfo):
    with scratch_server() as server:
        here = ConnInfo(server.params)
        with made_database(here) as there, made_database(here) as closed:
            execute(there, "CREATE TABLE t (id int)")
            execute(
                here,
                f'REVOKE CONNECT ON DATABASE "{closed.database}" FROM PUBLIC',
                "CREATE ROLE visitor LOGIN",
            )
            visitor = ConnInfo({**here.keywords, "user": "visitor"})
            report = await ask(visitor, "primary_keys", "version", all_databases=True)
    found = {(one.database, one.check): one for one in report.checks}
    assert found[there.database, "primary_keys"].objects == ("public.t",)
    assert found[closed.database, "reachable"].status is Status.UNKNOWN
    assert (there.database, "version") not in found


def test_the_most_urgent_is_looked_at_first_so_that_a_large_catalog_takes_time_from_itself_alone():
    names = [one.name for one in chosen((), (), "nightly")]
    assert names[:2] == ["reachable", "role"]
    urgent = {"lock_waits", "idle_in_transaction", "wraparound", "connections", "durability"}
    large = {"sequences", "superfluous_indexes", "bloated_tables", "primary_keys"}
    assert max(map(names.index, urgent)) < min(map(names.index, large))


async def test_what_there_was_no_time_for_is_unknown_and_says_so(conninfo):
    report = await ask(conninfo, budget_seconds=0.001)
    late = [one for one in report.checks if one.message == "no time left"]
    assert late
    assert {one.status for one in late} == {Status.UNKNOWN}
    assert "--budget" in late[0].fix
