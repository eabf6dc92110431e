"""Faults of sessions, locks and settings: injected, found with the root named and the next command, gone when mended."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager, suppress

import psycopg2
import pytest

from dbctl.database import ConnInfo
from dbctl.health.model import CheckResult, Status
from dbctl.postgres.scratch import scratch_server
from tests.fixtures.database import execute, made_database, psycopg2_arguments
from tests.fixtures.health import health

OURS = ("transactions", "locks", "settings", "server", "connections", "connection_limits", "incident")
SANE = {
    "fsync": "on",
    "full_page_writes": "on",
    "synchronous_commit": "on",
    "autovacuum": "on",
    "max_prepared_transactions": "5",
    "max_connections": "30",
}
SOON = {
    "transactions": {"idle_warning": 0.2, "long_warning": 0.2, "prepared_warning": 0.2},
    "locks": {"wait_warning": 0.2},
}


@pytest.fixture(scope="module")
def sane() -> Iterator[ConnInfo]:
    """A server with the settings of one that holds people's data."""
    with scratch_server(options=SANE) as server:
        yield ConnInfo(server.params)


@pytest.fixture
def here(sane: ConnInfo) -> Iterator[ConnInfo]:
    with made_database(sane) as made:
        execute(made, "CREATE TABLE orders (id int PRIMARY KEY)", "INSERT INTO orders VALUES (1)")
        yield made


@contextmanager
def session(
    conninfo: ConnInfo, *statements: str, name: str = "shop"
) -> Iterator[psycopg2.extensions.connection]:
    """Somebody's open transaction."""
    with closing(psycopg2.connect(**psycopg2_arguments(conninfo), application_name=name)) as opened:
        with opened.cursor() as cursor:
            for statement in statements:
                cursor.execute(statement)
        yield opened


@contextmanager
def busy(conninfo: ConnInfo, statement: str, name: str = "worker") -> Iterator[None]:
    """A session that is at it, or waits for its turn, until the block ends."""
    arguments = psycopg2_arguments(conninfo)
    with (
        closing(psycopg2.connect(**arguments, application_name=name)) as opened,
        watching(conninfo) as ask,
    ):
        opened.autocommit = True

        def run() -> None:
            with suppress(psycopg2.Error), opened.cursor() as cursor:
                cursor.execute(statement)

        thread = threading.Thread(target=run)
        thread.start()
        try:
            active = "SELECT 1 FROM pg_stat_get_activity(%s) WHERE state = 'active'"
            until(lambda: ask(active, (opened.info.backend_pid,)))
            yield
        finally:
            opened.cancel()
            thread.join()


@contextmanager
def watching(conninfo: ConnInfo) -> Iterator[Callable[..., list[object]]]:
    """Asks over a connection that stands: with the catalog locked, no other comes about."""
    with closing(psycopg2.connect(**psycopg2_arguments(conninfo))) as opened, opened.cursor() as cursor:
        opened.autocommit = True

        def ask(statement: str, bound: tuple[object, ...] = ()) -> list[object]:
            cursor.execute(statement, bound)
            return list(cursor.fetchall())

        ask("SELECT 1 FROM pg_lock_status() WHERE NOT granted")
        ask("SELECT 1 FROM pg_stat_get_activity(%s) WHERE state = 'active'", (0,))
        yield ask


def until(seen) -> None:
    deadline = time.monotonic() + 60
    while not seen():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def alarms(answers: dict[str, CheckResult]) -> set[str]:
    return {name for name, one in answers.items() if one.status.severity > Status.NOT_ENOUGH_DATA.severity}


async def found_in(here: ConnInfo, check: str, **settings) -> CheckResult:
    """The check's finding, as soon as it is one."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        answers = await health(here, *OURS, health={"skip": (), **(settings or SOON)})
        if answers[check].status.severity > Status.OK.severity:
            return answers[check]
    raise AssertionError(answers)


async def test_a_database_with_sane_settings_gives_no_alarm(here):
    assert alarms(await health(here, *OURS, health={"skip": ("minor_version",)})) == set()


async def test_a_session_idle_in_transaction_is_named_with_its_application_and_last_statement(here):
    with session(here, "SELECT 'secret', id FROM orders") as opened:
        found = await found_in(here, "idle_in_transaction")
        assert found.objects == (f"pid {opened.info.backend_pid} shop (postgres)",)
        assert "last: SELECT ?, id FROM orders" in found.message
        assert found.fix.startswith(f"dbctl locks kill {opened.info.backend_pid}")
        assert found.since is not None
    assert alarms(await health(here, *OURS, health=SOON)) == set()


async def test_a_long_query_is_named(here):
    with busy(here, "SELECT pg_sleep(600)"):
        found = await found_in(here, "long_transactions")
        assert "SELECT pg_sleep(?)" in found.message
    assert alarms(await health(here, *OURS, health=SOON)) == set()


@pytest.mark.parametrize("leader", ["dbctl backup", "pg_dump"])
async def test_who_holds_the_snapshot_of_a_backup_is_blamed_only_when_nobody_dumps(here, leader):
    with session(here, "SELECT * FROM orders", name=leader):
        with busy(here, "SELECT pg_sleep(600)", name="pg_dump"):
            time.sleep(0.3)
            assert (
                alarms(await health(here, *OURS, health=SOON)) & {"idle_in_transaction", "long_transactions"}
                == set()
            )
        assert (await found_in(here, "idle_in_transaction")).status is not Status.OK
    assert alarms(await health(here, *OURS, health=SOON)) == set()


async def test_an_index_that_is_being_built_is_neither_invalid_nor_long_at_work(here):
    with (
        session(here, "UPDATE orders SET id = 7"),
        busy(here, "CREATE INDEX CONCURRENTLY later ON orders (id)"),
    ):
        until(lambda: execute(here, "SELECT 1 FROM pg_index WHERE indexrelid = to_regclass('later')"))
        time.sleep(0.3)
        answers = await health(here, "long_transactions", "invalid_indexes", health=SOON)
        assert alarms(answers) == set()
    # Once it was cut off it is.
    assert alarms(await health(here, "invalid_indexes")) == {"invalid_indexes"}


async def test_of_a_chain_of_three_the_root_is_named_and_what_is_waited_for(here):
    with (
        session(here, "LOCK orders") as root,
        busy(here, "BEGIN; LOCK orders IN SHARE MODE"),
        busy(here, "SELECT * FROM orders"),
    ):
        until(lambda: execute(here, "SELECT 1 WHERE (SELECT count(*) FROM pg_locks WHERE NOT granted) = 2"))
        found = await found_in(here, "lock_waits")
        assert found.objects == (f"pid {root.info.backend_pid} shop (postgres)",)
        assert "2 wait up to" in found.message
        assert "for public.orders" in found.message
        assert found.fix == f"dbctl locks kill {root.info.backend_pid}"


async def test_the_incident_is_one_line_from_who_waits_to_who_is_to_blame(here):
    execute(here, "CREATE TABLE t AS SELECT g FROM generate_series(1, 30000) g", "DELETE FROM t")
    with session(here, "UPDATE orders SET id = 2") as root, busy(here, "DELETE FROM orders"):
        until(lambda: execute(here, "SELECT 1 FROM pg_locks WHERE NOT granted"))
        until(
            lambda: execute(here, "SELECT 1 WHERE (SELECT sum(n_dead_tup) FROM pg_stat_user_tables) >= 30000")
        )
        found = await found_in(here, "root_cause")
        assert f"pid {root.info.backend_pid} shop (postgres), idle in transaction for" in found.message
        assert "1 waits for" in found.message
        assert "VACUUM may not remove what died since" in found.message
        assert found.fix == f"dbctl locks kill {root.info.backend_pid}"
    assert alarms(await health(here, *OURS, health=SOON)) == set()


async def test_an_orphaned_prepared_transaction_is_found_as_such_and_as_what_blocks(here):
    with session(here, "UPDATE orders SET id = 3", "PREPARE TRANSACTION 'it''s'"):
        pass
    with busy(here, "DELETE FROM orders"):
        until(lambda: execute(here, "SELECT 1 FROM pg_locks WHERE NOT granted"))
        found = await found_in(here, "prepared_transactions")
        assert found.fix == "ROLLBACK PREPARED 'it''s'"
        assert (await found_in(here, "lock_waits")).objects == ("a prepared transaction",)
        execute(here, found.fix)
    assert alarms(await health(here, *OURS, health=SOON)) == set()


async def test_who_holds_the_horizon_of_vacuum_is_named(here):
    with session(here, "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ", "SELECT * FROM orders") as holder:
        execute(here, *["INSERT INTO orders SELECT max(id) + 1 FROM orders"] * 20)
        found = await found_in(here, "xmin_horizon", transactions={"horizon_warning": 15})
        assert found.objects == (f"session {holder.info.backend_pid} of shop",)
        assert found.fix == f"SELECT pg_terminate_backend({holder.info.backend_pid})"


async def test_connections_that_run_out_are_found_before_they_have(here):
    with ExitStack() as stack:
        for _ in range(24):
            stack.enter_context(session(here))
        found = await found_in(here, "connections", budget=5)
        assert found.status is Status.CRITICAL
        assert "most by postgres as shop (24)" in found.message
    assert (await health(here, "connections"))["connections"].status is Status.OK


async def test_a_role_near_its_own_limit_is_named(here):
    execute(here, "CREATE ROLE narrow LOGIN CONNECTION LIMIT 1")
    narrow = ConnInfo({**here.keywords, "user": "narrow"})
    try:
        with session(narrow):
            found = await found_in(here, "connection_limits", budget=5)
            assert (found.status, found.objects) == (Status.CRITICAL, ("role narrow",))
            execute(here, found.fix.replace("2", "5"))
            assert (await health(here, "connection_limits"))["connection_limits"].status is Status.OK
    finally:
        execute(here, "DROP ROLE narrow")


@pytest.mark.parametrize(
    ("setting", "value", "check", "status"),
    [
        ("fsync", "off", "durability", Status.CRITICAL),
        ("full_page_writes", "off", "durability", Status.CRITICAL),
        ("synchronous_commit", "off", "durability", Status.WARNING),
        ("autovacuum", "off", "autovacuum", Status.CRITICAL),
        ("max_connections", "77", "pending_restart", Status.WARNING),
    ],
)
async def test_a_setting_that_risks_the_data_or_waits_for_a_restart_is_named(
    here, setting, value, check, status
):
    execute(here, f"ALTER SYSTEM SET {setting} = {value}", "SELECT pg_reload_conf()")
    try:
        found = await found_in(here, check, budget=5)
        assert (found.status, found.objects) == (status, (setting,))
    finally:
        execute(here, f"ALTER SYSTEM RESET {setting}", "SELECT pg_reload_conf()")
    until(lambda: execute(here, f"SELECT 1 WHERE current_setting('{setting}') = '{SANE[setting]}'"))


@pytest.mark.parametrize("table", ["orders", "pg_class"])
async def test_behind_a_queued_lock_it_ends_at_once_and_says_what_it_could_not_look_at(here, table):
    with watching(here) as ask, session(here, f"SELECT * FROM {table}"), busy(here, f"BEGIN; LOCK {table}"):
        until(lambda: ask("SELECT 1 FROM pg_lock_status() WHERE NOT granted"))
        started = time.monotonic()
        answers = await health(here, health=SOON)
        assert time.monotonic() - started < 10
        if table == "orders":
            assert (await found_in(here, "lock_waits")).objects
    if table == "pg_class":
        # Not even a new session comes about then.
        assert answers["reachable"].status is Status.CRITICAL
        assert "pg_class" in answers["reachable"].message
    else:
        assert {name for name, one in answers.items() if one.status is Status.UNKNOWN} == set()


async def test_a_process_of_the_server_that_died_is_told_for_a_day():
    with scratch_server(options=SANE) as server:
        here = ConnInfo(server.params)
        assert (await health(here, "crashes"))["crashes"].status is Status.OK
        until(lambda: execute(here, "SELECT 1 WHERE now() - pg_postmaster_start_time() > interval '6 s'"))
        with session(here) as victim:
            os.kill(victim.info.backend_pid, signal.SIGKILL)
        until(lambda: answers(here))
        found = (await health(here, "crashes"))["crashes"]
        assert found.status is Status.WARNING
        assert found.since is not None
        assert (await health(here, "crashes", health={"server": {"crash_seconds": 0}}))[
            "crashes"
        ].status is Status.OK


def answers(conninfo: ConnInfo) -> bool:
    with suppress(psycopg2.Error):
        return bool(execute(conninfo, "SELECT 1 FROM pg_stat_activity WHERE backend_type = 'checkpointer'"))
    return False
