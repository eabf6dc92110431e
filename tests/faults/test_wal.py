"""Faults of slots, the write-ahead log and subscriptions: injected, found by name with the next step, gone when mended."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from dbctl.database import ConnInfo
from dbctl.health.model import Status
from tests.faults.replicas import (
    OURS,
    PUSH,
    Watch,
    as_role,
    ask,
    configure,
    configured,
    cut_off,
    eventually,
    push,
    slot,
    well,
)
from tests.faults.test_sessions import alarms, busy, session, until
from tests.fixtures.database import execute, made_database

NOW = {"inactive_warning": 0}


async def test_a_slot_that_nobody_uses_is_followed_from_its_first_megabytes_until_it_is_lost(three):
    await well(three)
    primary = three.primary
    with configured(primary, max_slot_wal_keep_size="8MB"), slot(primary, "left_behind"):
        watch = Watch(primary, "slots", "incident", slots={"lost_warning": 3600 * 24 * 30})
        assert alarms(await watch.look()) - {"inactive_slots"} == set()
        push(primary, 3)
        soon = (await watch.look())["slot_wal"]
        assert soon.status in (Status.WARNING, Status.CRITICAL)
        assert "of 8 MB, lost or full in" in soon.message
        push(primary, 3)
        half = await ask(primary, *OURS)
        assert half["slot_wal"].objects == ("left_behind",)
        assert half["root_cause"].objects == ("slot left_behind",)
        assert "MB of WAL" in half["root_cause"].message
        push(primary, 6)
        near = (await ask(primary, "slot_wal"))["slot_wal"]
        assert near.status is Status.CRITICAL
        assert "lost at the next checkpoint" in near.message
        execute(primary, "CHECKPOINT")
        lost = (await ask(primary, "slots"))["lost_slots"]
        assert (lost.status, lost.objects) == (Status.CRITICAL, ("left_behind",))
        execute(primary, lost.fix.partition(";")[0])
    await well(three)


async def test_slots_that_keep_nothing_or_go_by_themselves_are_left_in_peace(three):
    primary = three.primary
    there = "SELECT 1 FROM pg_replication_slots WHERE slot_name = 'in_the_making'"
    with (
        slot(primary, "later", reserve="false"),
        session(primary, "SELECT pg_create_physical_replication_slot('mine', true, true)"),
        session(primary, "SELECT pg_current_xact_id()"),
        busy(primary, "SELECT pg_create_logical_replication_slot('in_the_making', 'pgoutput')"),
    ):
        until(lambda: execute(primary, there))
        answers = await ask(primary, "slots", slots={**NOW, "bytes_warning": 1})
        assert answers["inactive_slots"].status is Status.OK
        # The standby's own slot may keep a few bytes.
        assert {*answers["slot_wal"].objects} <= {"s1"}
        assert answers["lost_slots"].status is Status.OK
    until(lambda: not execute(primary, there))


async def test_an_archive_that_fails_and_what_waits_for_it_are_found_and_gone_when_it_works_again(three):
    primary, few = three.primary, {"wal": {"ready_warning": 2}}
    until(lambda: ready(primary) == 0)
    watch = Watch(primary, "archiver")
    await watch.look()
    with configured(primary, archive_command="false"):
        execute(primary, *PUSH * 3)
        found = await eventually(primary, "archiver", Status.CRITICAL)
        assert found.objects == (execute(primary, "SELECT last_failed_wal FROM pg_stat_archiver")[0][0],)
        waiting = (await ask(as_role(primary, "watcher"), "archive_backlog", **few))["archive_backlog"]
        assert waiting.status is Status.WARNING
        assert waiting.since is not None
        # A standby archives nothing, and has nothing to say.
        assert (await ask(three.standby, "archiver"))["archiver"].status is Status.SKIPPED
    execute(primary, *PUSH)
    await eventually(primary, "archiver", Status.OK)
    until(lambda: ready(primary) == 0)
    mended = (await watch.look())["archiver"]
    assert (mended.status, "archiving works again after" in mended.message) == (Status.WARNING, True)
    await watch.calm()
    assert alarms(await ask(primary, "wal", **few)) == set()


def ready(conninfo: ConnInfo) -> int:
    return int(
        execute(conninfo, "SELECT count(*) FROM pg_ls_archive_statusdir() WHERE name LIKE '%.ready'")[0][0]
    )


async def test_an_archive_without_a_command_is_found(three):
    execute(three.primary, "ALTER SYSTEM SET archive_command = ''", "SELECT pg_reload_conf()")
    try:
        found = await eventually(three.primary, "archiver", Status.WARNING)
        assert "no archive_command is set" in found.message
    finally:
        configure(three.primary, archive_command="")
    await eventually(three.primary, "archiver", Status.OK)


async def test_a_log_that_outgrows_its_disk_is_found_with_the_slot_that_keeps_it(three):
    primary = three.primary
    with slot(primary, "keeper"):
        push(primary, 4)
        size = execute(primary, "SELECT sum(size) FROM pg_ls_waldir()")[0][0]
        settings = {"wal": {"disk": int(size)}}
        found = (await ask(as_role(primary, "watcher"), "wal_size", **settings))["wal_size"]
        assert (found.status, found.objects) == (Status.CRITICAL, ("slot keeper",))
        assert "100% of its disk" in found.message
        execute(primary, found.fix.partition("else: ")[2])
        assert (await ask(primary, "wal_size"))["wal_size"].status is Status.OK


async def test_checkpoints_that_come_before_their_time_and_sessions_that_write_pages_are_counted(three):
    watch = Watch(three.primary, "wal", wal={"writes_blocks": 1, "writes_warning": 0.01})
    first = await watch.look()
    assert first["requested_checkpoints"].status is Status.NOT_ENOUGH_DATA
    fill = (
        "CREATE TABLE filled AS SELECT 1 AS x; INSERT INTO filled SELECT g FROM generate_series(1, 200000) g"
    )
    execute(
        three.primary, *fill.split("; "), "UPDATE filled SET x = x + 1", "CHECKPOINT", *PUSH, "CHECKPOINT"
    )
    found = await watch.look()
    storm = found["requested_checkpoints"]
    assert (storm.status, storm.value) == (Status.WARNING, 100)
    assert storm.fix.startswith("ALTER SYSTEM SET max_wal_size = '16GB'")
    assert found["backend_writes"].status is Status.WARNING
    assert "themselves" in found["backend_writes"].message
    execute(three.primary, "DROP TABLE filled")
    await watch.calm()


async def test_standbys_that_are_expected_want_a_wal_level(server):
    settings = {"replication": {"standbys": 2}}
    level = execute(server, "SHOW wal_level")[0][0]
    found = (await ask(server, "wal_level", **settings))["wal_level"]
    assert (found.status is Status.CRITICAL) is (level == "minimal")
    assert (await ask(server, "wal_level"))["wal_level"].status is Status.OK


@contextmanager
def subscribed(primary: ConnInfo) -> Iterator[tuple[ConnInfo, ConnInfo]]:
    """Two databases of one server, the second of which subscribes to the first, not yet enabled."""
    with made_database(primary) as publisher, made_database(primary) as subscriber:
        for one in (publisher, subscriber):
            execute(one, "CREATE TABLE parts (id int PRIMARY KEY)")
        execute(publisher, "INSERT INTO parts VALUES (1)", "CREATE PUBLICATION p FOR TABLE parts")
        execute(publisher, "SELECT pg_create_logical_replication_slot('parts', 'pgoutput')")
        reach = (
            f"host={publisher.host} port={publisher.port} user={publisher.role} dbname={publisher.database}"
        )
        options = "(create_slot = false, enabled = false, slot_name = parts)"
        execute(subscriber, f"CREATE SUBSCRIPTION parts CONNECTION '{reach}' PUBLICATION p WITH {options}")
        try:
            yield publisher, subscriber
        finally:
            gone = ("DISABLE", "SET (slot_name = NONE)")
            execute(
                subscriber, *(f"ALTER SUBSCRIPTION parts {one}" for one in gone), "DROP SUBSCRIPTION parts"
            )
            until(
                lambda: (
                    not execute(
                        publisher, "SELECT 1 FROM pg_replication_slots WHERE slot_name = 'parts' AND active"
                    )
                )
            )
            execute(publisher, "SELECT pg_drop_replication_slot('parts')")


async def test_a_subscription_that_is_off_fails_or_waits_is_found_and_its_table_that_is_not_copied(three):
    with subscribed(three.primary) as (publisher, here):
        off = await ask(here, "subscriptions")
        name = f"parts in {here.database}"
        assert off["subscription_workers"].objects == (name,)
        assert off["subscription_workers"].fix.endswith("ALTER SUBSCRIPTION parts ENABLE")
        assert (off["subscribed_tables"].status, off["subscribed_tables"].objects) == (
            Status.WARNING,
            ("public.parts",),
        )
        execute(here, off["subscription_workers"].fix.partition(": ")[2])
        until(lambda: execute(here, "SELECT 1 FROM pg_subscription_rel WHERE srsubstate = 'r'"))
        watch = Watch(here, "subscriptions")
        await eventually(here, "subscription_workers", Status.OK)
        await watch.look()
        # A row that is there already.
        execute(here, "INSERT INTO parts VALUES (2)")
        execute(publisher, "INSERT INTO parts VALUES (2)")
        until(lambda: execute(here, "SELECT 1 FROM pg_stat_subscription_stats WHERE apply_error_count > 0"))
        failing = (await watch.look())["subscription_errors"]
        assert (failing.status, failing.objects) == (Status.CRITICAL, (name,))
        assert "ALTER SUBSCRIPTION parts SKIP" in failing.fix
        execute(here, "DELETE FROM parts WHERE id = 2")
        until(lambda: execute(here, "SELECT 1 FROM parts WHERE id = 2"))
        # A lock in the worker's way.
        with session(here, "LOCK parts"):
            execute(publisher, "INSERT INTO parts VALUES (3)")
            until(lambda: execute(here, "SELECT 1 FROM pg_locks WHERE NOT granted"))
            blocked = await eventually(
                here, "subscription_workers", Status.WARNING, replication={"silent_warning": 0.5}
            )
            assert "as it waits for a lock" in blocked.message
            assert "dbctl locks" in blocked.fix
        until(lambda: execute(here, "SELECT 1 FROM parts WHERE id = 3"))
        await watch.look()
        await watch.calm()


async def test_a_standby_that_the_failover_slots_wait_for_is_named(three):
    if execute(three.primary, "SHOW server_version_num")[0][0] < "170000":
        pytest.skip("new in 17")
    primary = three.primary
    execute(primary, "SELECT pg_create_logical_replication_slot('kept', 'pgoutput', failover => true)")
    try:
        assert (await ask(primary, "failover_slots"))["failover_slots"].status is Status.OK
        with cut_off(three), configured(primary, synchronized_standby_slots="s1"):
            found = (await ask(primary, "failover_slots"))["failover_slots"]
            assert (found.status, found.objects) == (Status.CRITICAL, ("s1",))
            execute(primary, *found.fix.partition("without: ")[2].split("; "))
            await eventually(primary, "failover_slots", Status.OK)
        with configured(three.standby, sync_replication_slots="on"):
            lacking = (await ask(three.standby, "failover_slots"))["failover_slots"]
            assert lacking.objects == ("slotsync worker",)
            assert "hot_standby_feedback = on and a dbname in primary_conninfo" in lacking.fix
            reached = {"primary_conninfo": f"{three.follows} dbname=postgres"}
            with configured(three.standby, hot_standby_feedback="on", **reached):
                # A slot is taken over once the standby has what its subscriber wants next.
                moving = "SELECT pg_replication_slot_advance('kept', pg_current_wal_lsn())"
                until(lambda: execute(primary, *PUSH, moving) and synchronized(three.standby))
                await eventually(three.standby, "failover_slots", Status.OK)
                left = await ask(three.standby, "inactive_slots", slots=NOW)
                assert left["inactive_slots"].status is Status.OK
    finally:
        execute(primary, "SELECT pg_drop_replication_slot('kept')")


def synchronized(conninfo: ConnInfo) -> bool:
    return bool(execute(conninfo, "SELECT 1 FROM pg_replication_slots WHERE synced AND NOT temporary"))
