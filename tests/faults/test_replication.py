"""Faults of standbys, as their primary sees them and they themselves: injected, found by name, gone when mended."""

from __future__ import annotations

import os
import signal
from contextlib import ExitStack

import pytest

from dbctl.database import ConnInfo
from dbctl.health.grants import monitoring_role
from dbctl.health.model import CheckResult, Status
from dbctl.postgres.binaries import find_servers
from tests.faults.replicas import (
    MB,
    OURS,
    PUSH,
    Watch,
    as_role,
    ask,
    configured,
    cut_off,
    eventually,
    eventually_found,
    paused,
    push,
    slot,
    well,
)
from tests.faults.test_sessions import alarms, busy, session, until
from tests.fixtures.cascade import cascade
from tests.fixtures.database import execute
from tests.fixtures.health import RISKY, health

NOW = {"inactive_warning": 0}
# Who waits for whom in COMMIT is settled a moment after the setting is in force.
COMMITS = """
DO $$ BEGIN LOOP
    INSERT INTO orders SELECT coalesce(max(id), 0) + 1 FROM orders;
    COMMIT;
    PERFORM pg_sleep(0.02);
END LOOP; END $$
"""


@pytest.mark.parametrize("role", ["postgres", "watcher"])
async def test_on_a_healthy_primary_standby_and_cascading_standby_there_is_no_alarm(three, role):
    for one in three.all:
        answers = await whole(as_role(one, role))
        problems = {name: said.message for name, said in answers.items() if name in alarms(answers)}
        # The role of a monitoring program sees no table's statistics: there are a few other checks for that.
        about_tables = {
            "bloated_tables",
            "bloated_indexes",
            "sequences",
            "md5_passwords",
            "configuration_files",
        }
        expected = {"role"} if one is three.primary else set()
        assert problems.keys() - expected - (about_tables if role == "watcher" else set()) == set(), problems


async def whole(conninfo: ConnInfo) -> dict[str, CheckResult]:
    """Every check but on the application's tables, of which there are none here."""
    settings = {"server": {"expect": "standby"}, "skip": (*RISKY, "schema")}
    return await health(conninfo, profile="nightly", health=settings)


async def test_a_paused_replay_is_found_on_both_sides_and_no_check_fails_on_the_standbys(three):
    lag = {"replication": {"bytes_warning": MB, "seconds_warning": 0.3}}
    with paused(three.standby):
        execute(three.primary, *PUSH * 3)
        behind = await eventually(three.primary, "standby_lag", Status.WARNING, **lag)
        assert behind.objects == ("s1",)
        assert "on s1: `dbctl health standby`" in behind.fix
        late = await eventually(three.standby, "replay_lag", Status.WARNING, **lag)
        assert late.since is not None
        answers = await whole(three.standby)
        assert alarms(answers) == {"replay_paused"}
        assert all(one.status is not Status.UNKNOWN for one in answers.values())
        assert alarms(await whole(three.cascaded)) == set()
        found = answers["replay_paused"]
        assert found.fix == "SELECT pg_wal_replay_resume()"
        execute(three.standby, found.fix)
        await well(three, **lag)


async def test_two_samples_tell_that_nothing_is_replayed(three):
    here = Watch(three.standby, "replay_lag")
    there = Watch(three.primary, "standby_lag")
    with paused(three.standby):
        execute(three.primary, *PUSH)
        until(
            lambda: execute(three.primary, "SELECT 1 FROM pg_stat_replication WHERE flush_lsn > replay_lsn")
        )
        await there.look()
        await here.look()
        assert "nothing was replayed between the samples" in (await here.look())["replay_lag"].message


async def test_behind_an_idle_primary_a_standby_is_not_late(three):
    limits = {"replication": {"seconds_warning": 0.5, "seconds_critical": 1}}
    idle = "SELECT 1 WHERE clock_timestamp() - pg_last_xact_replay_timestamp() > interval '1.2 s'"
    until(lambda: execute(three.standby, idle))
    # What the server writes by itself now and then may be on its way just now.
    await eventually(three.standby, "replay_lag", Status.OK, **limits)
    await eventually(three.primary, "standby_lag", Status.OK, **limits)


async def test_a_delay_that_was_asked_for_is_no_lag(three):
    limits = {"replication": {"seconds_warning": 0.3, "bytes_warning": 1}}
    with configured(three.cascaded, recovery_min_apply_delay="1h"):
        execute(three.primary, *PUSH)
        until(
            lambda: execute(
                three.cascaded, "SELECT 1 WHERE pg_last_wal_receive_lsn() > pg_last_wal_replay_lsn()"
            )
        )
        until(
            lambda: execute(
                three.cascaded, "SELECT 1 WHERE now() - pg_last_xact_replay_timestamp() > '0.4 s'"
            )
        )
        found = (await ask(three.cascaded, "replay_lag", **limits))["replay_lag"]
        assert found.status is Status.OK
        assert "beside the 60 min that recovery_min_apply_delay asks for" in found.message
    await well(three)


async def test_a_query_that_the_replay_waits_for_is_said_and_one_that_it_cancelled_is_counted(three):
    lag = {"replication": {"bytes_warning": 1}}
    watch = Watch(three.standby, "standby_conflicts")
    await watch.look()
    alter = ("ALTER TABLE orders ADD c int", "ALTER TABLE orders DROP c")
    with session(three.standby, "SELECT * FROM orders"):
        execute(three.primary, *alter)
        await eventually_found(three.standby, "replay_lag", "the replay waits for a query (relation)", **lag)
    with configured(three.standby, max_standby_streaming_delay="1ms"):
        with session(three.standby, "SELECT * FROM orders"):
            execute(three.primary, *alter)
            conflict = "SELECT 1 FROM pg_stat_database_conflicts WHERE confl_lock > 0"
            until(lambda: execute(three.standby, conflict))
    found = (await watch.look())["standby_conflicts"]
    assert (found.status, found.objects) == (Status.WARNING, ("postgres",))
    assert "by locks taken on the primary" in found.message
    await watch.calm()
    await well(three, **lag)


async def test_a_standby_that_is_gone_is_missed_on_the_primary_and_says_why_on_itself(three):
    expected = {"replication": {"standbys": 1}, "slots": NOW}
    watch = Watch(three.primary, "replication", **expected)
    await watch.calm()
    with cut_off(three):
        await watch.look()
        found = (await watch.look())["missing_standbys"]
        assert (found.status, set(found.objects)) == (Status.CRITICAL, {"s1", "standbys"})
        assert "0 of 1 expected" in found.message
        slot = (await ask(three.primary, "inactive_slots", **expected))["inactive_slots"]
        assert (slot.status, slot.objects) == (Status.WARNING, ("s1",))
        assert slot.fix.endswith("SELECT pg_drop_replication_slot('s1')")
        alone = await eventually(three.standby, "wal_receiver", Status.CRITICAL)
        assert "nothing comes from /nowhere" in alone.message
        assert "hidden" not in f"{alone.message} {alone.fix}"
        # Who follows the one that is cut off still hears from it.
        assert alarms(await whole(three.cascaded)) == set()
    await well(three)
    await eventually(three.primary, "missing_standbys", Status.OK, **expected)
    await watch.calm()


async def test_a_standby_that_hangs_is_silent_to_its_primary_and_hears_nothing_itself(three):
    soon = {"replication": {"silent_warning": 0.5}}
    pid = execute(three.standby, "SELECT pid FROM pg_stat_wal_receiver")[0][0]
    with (
        configured(three.primary, wal_sender_timeout="0"),
        configured(three.standby, wal_receiver_timeout="1s"),
    ):
        os.kill(pid, signal.SIGSTOP)
        try:
            hung = await eventually(three.primary, "standby_lag", Status.WARNING, **soon)
            assert (hung.objects, "no word from it for" in hung.message) == (("s1",), True)
            deaf = await eventually(three.standby, "wal_receiver", Status.WARNING, **soon)
            assert f"nothing was heard from {three.primary.host}" in deaf.message
        finally:
            os.kill(pid, signal.SIGCONT)
    await well(three)


async def test_commits_that_hang_for_a_synchronous_standby_are_found_and_let_go_by_what_is_printed(three):
    with cut_off(three), configured(three.primary, synchronous_standby_names="FIRST 1 (s1, s9)"):
        with busy(three.primary, COMMITS):
            until(
                lambda: execute(three.primary, "SELECT 1 FROM pg_stat_activity WHERE wait_event = 'SyncRep'")
            )
            found = (await ask(three.primary, "synchronous_standbys"))["synchronous_standbys"]
            assert found.status is Status.CRITICAL
            assert "0 there, 1 session hangs in COMMIT" in found.message
            assert found.since is not None
            execute(three.primary, *found.fix.partition("without: ")[2].split("; "))
            until(
                lambda: (
                    not execute(three.primary, "SELECT 1 FROM pg_stat_activity WHERE wait_event = 'SyncRep'")
                )
            )
    with configured(three.primary, synchronous_standby_names="ANY 1 (s1, s9)"):
        await eventually(three.primary, "synchronous_standbys", Status.OK)


async def test_that_no_other_standby_would_find_a_slot_is_said(three):
    with ExitStack() as stack:
        for number in range(8 - execute(three.primary, "SELECT count(*) FROM pg_replication_slots")[0][0]):
            stack.enter_context(slot(three.primary, f"slot_{number}"))
        found = (await ask(three.primary, "replication_room"))["replication_room"]
        assert (found.status, found.objects) == (Status.WARNING, ("max_replication_slots = 8",))
    assert (await ask(three.primary, "replication_room"))["replication_room"].status is Status.OK


async def test_old_rows_that_a_query_on_a_standby_keeps_are_laid_at_its_slot(three):
    limits = {"transactions": {"horizon_warning": 15}}
    with configured(three.standby, hot_standby_feedback="on"):
        with session(three.standby, "BEGIN ISOLATION LEVEL REPEATABLE READ", "SELECT * FROM orders"):
            until(lambda: execute(three.primary, "SELECT 1 FROM pg_replication_slots WHERE xmin IS NOT NULL"))
            execute(three.primary, *["SELECT pg_current_xact_id()"] * 20)
            found = await eventually(three.primary, "xmin_horizon", Status.WARNING, **limits)
            assert found.objects == ("slot s1 (hot_standby_feedback)",)
            assert found.fix == "on the standby at slot s1: `dbctl health transactions`"
    await eventually(three.primary, "xmin_horizon", Status.OK, **limits)


async def test_who_may_not_see_is_told_the_grant_that_lets_him(three):
    nobody = as_role(three.primary, "nobody")
    blind = {
        name: said.fix for name, said in (await ask(nobody, *OURS)).items() if said.status is Status.UNKNOWN
    }
    assert set(blind.values()) == {'GRANT pg_read_all_stats TO "nobody"', 'GRANT pg_monitor TO "nobody"'}
    assert {
        "standby_lag",
        "missing_standbys",
        "synchronous_standbys",
        "archive_backlog",
        "wal_size",
    } <= blind.keys()
    execute(three.primary, *set(blind.values()))
    try:
        assert alarms(await ask(nobody, *OURS)) == set()
        # What the other command prints holds the same.
        needed = {one.removesuffix(" TO nobody") for one in monitoring_role("nobody").statements}
        assert {"GRANT pg_monitor", "GRANT pg_read_all_stats"} <= {
            one.removesuffix(' TO "nobody"') for one in needed
        }
    finally:
        execute(three.primary, "REVOKE pg_monitor, pg_read_all_stats FROM nobody")


@pytest.mark.parametrize("major", sorted({one.major for one in find_servers()})[:-1])
async def test_on_older_versions_the_same_is_seen(major, tmp_path):
    with cascade(tmp_path, major) as three:
        for one in three.all:
            until(lambda one=one: not execute(one, "SELECT 1 WHERE pg_is_in_recovery()") or receives(one))
        await well(three)
        with paused(three.standby):
            execute(three.primary, *PUSH * 3)
            await eventually(three.primary, "standby_lag", Status.WARNING, replication={"bytes_warning": MB})
            assert alarms(await ask(three.standby, *OURS)) == {"replay_paused"}
        limit = configured(three.primary, max_slot_wal_keep_size="3MB")
        with slot(three.primary, "behind"), limit:
            inactive = await ask(three.primary, "inactive_slots", slots=NOW)
            assert inactive["inactive_slots"].objects == ("behind",)
            push(three.primary, 5)
            execute(three.primary, "CHECKPOINT")
            lost = (await ask(three.primary, "slots"))["lost_slots"]
            assert lost.objects == ("behind",)
            execute(three.primary, lost.fix.partition(";")[0])
        watch = Watch(three.primary, *OURS)
        await watch.look()
        answers = await watch.calm()
        assert {one.status for one in answers.values()} <= {Status.OK, Status.SKIPPED}


def receives(conninfo: ConnInfo) -> bool:
    return bool(execute(conninfo, "SELECT 1 FROM pg_stat_wal_receiver WHERE status = 'streaming'"))
