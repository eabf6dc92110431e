"""Statements: which cost most within a sample, and which run too long."""

from __future__ import annotations

import asyncio
import os
import threading
from contextlib import asynccontextmanager, closing, suppress

import psycopg2
import pytest
from sqlalchemy import text

from dbctl.activity.queries.counters import Counters
from dbctl.activity.queries.model import By
from dbctl.activity.queries.slow import find_running
from dbctl.activity.queries.top import find_top
from dbctl.database import ConnInfo, open_database, request_id
from dbctl.errors import NotFound
from dbctl.settings import DatabaseSettings, PoolSettings
from tests.activity.conftest import pid_of, reading, sessions, until
from tests.fixtures.database import execute, psycopg2_arguments

EXTENSION = "CREATE EXTENSION pg_stat_statements"
TABLE = "CREATE TABLE orders AS SELECT g AS id, 'x' AS note FROM generate_series(1, 5000) AS g"


async def top(conninfo, *, by=By.TOTAL, limit=10, sample_seconds=None):
    async with reading(conninfo) as connection:
        return await find_top(connection, by=by, limit=limit, sample_seconds=sample_seconds)


@asynccontextmanager
async def at_work(conninfo, *statements):
    """Run them again and again until the block ends; begins when each has run once."""
    stop, begun = threading.Event(), threading.Event()

    def work():
        with (
            closing(psycopg2.connect(**psycopg2_arguments(conninfo))) as connection,
            suppress(psycopg2.Error),
        ):
            connection.autocommit = True
            cursor = connection.cursor()
            while not stop.is_set():
                for statement in statements:
                    cursor.execute(statement)
                begun.set()

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    await asyncio.to_thread(begun.wait, 60)
    try:
        yield
    finally:
        stop.set()
        await asyncio.to_thread(thread.join, 60)


async def test_a_sample_counts_what_happened_in_it_and_nothing_before(busy):
    execute(busy, EXTENSION, TABLE, *["SELECT max(note) FROM orders WHERE id > 7"] * 50)
    async with at_work(busy, "SELECT count(*) FROM orders WHERE id > 4711"):
        report = await top(busy, sample_seconds=1)
    first = report.queries[0]
    assert first.query == "SELECT count(*) FROM orders WHERE id > $1"
    assert first.share > 0.5
    assert first.calls >= 1
    assert first.rows == first.calls
    assert first.mean_seconds == pytest.approx(first.total_seconds / first.calls, rel=0.01)
    assert first.calls_per_second == pytest.approx(first.calls / report.seconds, rel=0.01)
    assert report.seconds >= 1
    assert not [one for one in report.queries if "max(note)" in one.query]
    # Nobody wants to know what the asking cost.
    assert not [one for one in report.queries if "pg_stat_statements" in one.query]


async def test_since_reset_needs_no_sample(busy):
    execute(busy, EXTENSION, TABLE, *["SELECT max(note) FROM orders WHERE id > 7"] * 50)
    report = await top(busy, by=By.CALLS)
    assert report.queries[0].calls == 50
    assert report.queries[0].role == "postgres"
    assert report.seconds > 0


@pytest.mark.parametrize(
    ("by", "first"),
    [
        (By.TEMP, "SELECT note FROM orders AS a ORDER BY md5(note || id)"),
        (By.MEAN, "SELECT pg_sleep($1)"),
        (By.CALLS, "SELECT $1 + $2"),
    ],
)
async def test_each_order_has_its_own_first(quick, by, first):
    execute(
        quick, EXTENSION, TABLE, "INSERT INTO orders SELECT * FROM orders", "SET work_mem = '64kB'",
        "SELECT note FROM orders AS a ORDER BY md5(note || id)", "SELECT pg_sleep(0.3)", *["SELECT 1 + 1"] * 30,
    )  # fmt: skip
    assert (await top(quick, by=by)).queries[0].query == first


async def test_what_a_function_runs_is_nested_and_counted_once(quick):
    execute(
        quick, EXTENSION, TABLE,
        "CREATE FUNCTION f() RETURNS bigint LANGUAGE plpgsql AS 'BEGIN RETURN (SELECT count(*) FROM orders); END'",
        f"ALTER DATABASE {quick.database} SET pg_stat_statements.track = 'all'",
    )  # fmt: skip
    execute(quick, *["SELECT f()"] * 20)
    found = (await top(quick, limit=50)).queries
    assert [one.query for one in found if one.is_nested] == ["(SELECT count(*) FROM orders)"]
    assert sum(one.share for one in found if not one.is_nested) <= 1.001


async def test_the_extension_may_be_in_any_schema(quick):
    execute(quick, 'CREATE SCHEMA "o:d d"', f'{EXTENSION} SCHEMA "o:d d"', *["SELECT 1 + 1"] * 30)
    assert (await top(quick, by=By.CALLS)).queries[0].query == "SELECT $1 + $2"


async def test_values_are_not_shown_where_the_extension_keeps_them(quick):
    execute(quick, EXTENSION, "SET application_name = 'secret'")
    assert "secret" not in " ".join(one.query for one in (await top(quick, limit=100)).queries)


async def test_without_the_extension_it_says_how_to_have_it(quick, server):
    with pytest.raises(NotFound) as created:
        await top(quick)
    assert created.value.hint == "CREATE EXTENSION pg_stat_statements;"
    with pytest.raises(NotFound) as loaded:
        await top(server)
    assert "shared_preload_libraries = pg_stat_statements, and restart" in loaded.value.hint


async def test_where_its_library_is_not_loaded_that_is_said(empty_conninfo):
    execute(empty_conninfo, EXTENSION)
    with pytest.raises(NotFound, match="its library is not loaded"):
        await top(empty_conninfo)


async def test_a_plain_role_is_told_that_others_statements_are_hidden(quick):
    role = f"plain_{os.getpid()}"
    execute(quick, EXTENSION, *["SELECT 1 + 1"] * 30, f"CREATE ROLE {role} LOGIN")
    try:
        report = await top(ConnInfo({**quick.keywords, "user": role}))
    finally:
        execute(quick, f"DROP ROLE {role}")
    assert "are hidden" in report.notes[0]
    assert "SELECT $1 + $2" not in {one.query for one in report.queries}
    assert report.calls >= 30


def test_counters_of_a_statement_that_was_forgotten_and_came_back_start_anew():
    now = Counters(3, 30.0, 3, 0, 0, 0.0)
    assert now.since(Counters(5, 50.0, 5, 0, 0, 0.0)) == now
    assert now.since(Counters(1, 10.0, 1, 0, 0, 0.0)) == Counters(2, 20.0, 2, 0, 0, 0.0)


async def test_a_long_statement_is_shown_with_its_request_and_who_holds_it(busy):
    execute(busy, "CREATE TABLE orders (id int)")
    with sessions(busy) as made:
        root = made.holds("LOCK TABLE orders")
        async with open_database(busy, DatabaseSettings(), PoolSettings()) as database:
            task = asyncio.create_task(serve(database))
            waiting = "SELECT count(*) FROM pg_lock_status() WHERE NOT granted"
            await asyncio.to_thread(until, lambda: made.ask(waiting))
            async with reading(busy) as connection:
                report = await find_running(connection, over_seconds=0)
                none = await find_running(connection, over_seconds=3600)
            root.rollback()
            await task
    [found] = report.queries
    assert found.query == "SELECT ?, id FROM orders"
    assert (found.request_id, found.blocked_by) == ("7f3a", (pid_of(root),))
    assert found.waits_for == "Lock: relation"
    assert found.database == busy.database
    assert none.queries == ()


async def serve(database):
    request_id.set("7f3a")
    async with database.session() as session:
        await session.execute(text("SELECT 'secret', id FROM orders"))


async def test_who_may_not_see_what_runs_is_told_so(quick):
    role = f"plain_{os.getpid()}"
    execute(quick, f"CREATE ROLE {role} LOGIN")
    try:
        with sessions(quick):
            async with reading(ConnInfo({**quick.keywords, "user": role})) as connection:
                report = await find_running(connection, over_seconds=0)
    finally:
        execute(quick, f"DROP ROLE {role}")
    assert report.queries == ()
    assert f"GRANT pg_monitor TO {role}" in report.notes[0]
