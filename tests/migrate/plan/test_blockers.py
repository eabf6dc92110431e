"""Who would be in the way now: named, with what they hold; their data is not shown."""

from __future__ import annotations

import time
from contextlib import closing

import psycopg2
import pytest

from dbctl.database import ConnInfo, open_database
from dbctl.errors import Busy
from dbctl.migrate.plan.reading import reading
from dbctl.migrate.plan.sessions import read_sessions
from dbctl.migrate.plan.sizes import read_sizes
from dbctl.migrate.plan.traffic import read_counters, traffic
from dbctl.postgres.masking import mask_literals
from dbctl.postgres.scratch import scratch_server
from dbctl.settings import DatabaseSettings, PoolSettings
from tests.fixtures.database import execute, psycopg2_arguments
from tests.migrate.plan.conftest import transaction

WIDEN = 'op.alter_column("orders", "id", type_=sa.BigInteger())'
CONCURRENTLY = """
with op.get_context().autocommit_block():
    op.create_index("ix", "orders", ["customer"], postgresql_concurrently=True)
"""


async def test_an_idle_transaction_on_exactly_these_tables_is_named(make_plan, shop):
    with (
        transaction(shop, "SELECT * FROM orders WHERE email = 'ada@example.com'"),
        transaction(shop, "SELECT FROM tiny"),
    ):
        made = await make_plan(shop, WIDEN)
    (blocker,) = made.blockers
    assert (blocker.statements, blocker.tables) == (("r1:1",), ("orders",))
    assert blocker.session.kind == "idle in transaction"
    assert blocker.session.age_seconds >= 1
    assert "ada" not in blocker.session.query
    assert made.oldest_transaction is not None


async def test_a_reader_does_not_block_what_only_blocks_writers(make_plan, shop):
    with transaction(shop, "SELECT FROM orders"):
        made = await make_plan(shop, 'op.create_index("ix", "orders", ["total"])')
        assert made.blockers == ()


async def test_concurrently_waits_for_writers_and_for_old_snapshots(make_plan, shop):
    snapshot = "SELECT count(*) FROM tiny"
    with transaction(shop, "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ", snapshot) as reader:
        with transaction(shop, "UPDATE orders SET total = 1 WHERE id = 1") as writer:
            made = await make_plan(shop, CONCURRENTLY)
            tables = {one.session.pid: one.tables for one in made.blockers}
            assert tables == {reader.info.backend_pid: (), writer.info.backend_pid: ("orders",)}


async def test_pg_dump_and_prepared_transactions_are_told_apart():
    with scratch_server(options={"max_prepared_transactions": "2"}) as server:
        conninfo = ConnInfo(server.params)
        execute(conninfo, "CREATE TABLE a (id int)")
        with transaction(conninfo, "LOCK TABLE a IN ROW EXCLUSIVE MODE", "PREPARE TRANSACTION 'two-phase'"):
            named = ConnInfo({**conninfo.keywords, "application_name": "pg_dump"})
            with transaction(named, "LOCK TABLE a IN ACCESS SHARE MODE"):
                found = {one.kind: one for one in await sessions_on(conninfo, "a")}
    assert found["pg_dump"].holds[0].mode == "AccessShareLock"
    assert found["prepared transaction"].name == "two-phase"
    assert found["prepared transaction"].holds[0].mode == "RowExclusiveLock"


async def test_a_vacuum_against_wraparound_is_named():
    """A real one: so many transactions that the server insists, and a vacuum slow enough to be met."""
    # Even with autovacuum switched off.
    options = {"autovacuum": "off", "autovacuum_naptime": "1s", "autovacuum_freeze_max_age": "100000"}
    burn = """DO $$ BEGIN FOR i IN 1..33000 LOOP BEGIN INSERT INTO burnt VALUES (i); EXCEPTION WHEN division_by_zero
              THEN NULL; END; END LOOP; END $$"""
    slow = "ALTER TABLE a SET (autovacuum_vacuum_cost_delay = 100, autovacuum_vacuum_cost_limit = 1)"
    with scratch_server(options=options) as server:
        conninfo = ConnInfo(server.params)
        execute(
            conninfo,
            "CREATE TABLE a AS SELECT generate_series(1, 100000) AS id",
            slow,
            "CREATE TABLE burnt (i int)",
        )
        deadline = time.monotonic() + 60
        kinds = set()
        while "autovacuum to prevent wraparound" not in kinds and time.monotonic() < deadline:
            # The server looks at its age each time that 65536 transactions have gone by.
            execute(conninfo, burn)
            kinds = {one.kind for one in await sessions_on(conninfo, "a") if one.holds}
    assert "autovacuum to prevent wraparound" in kinds


async def sessions_on(conninfo, table):
    oid = execute(conninfo, f"SELECT oid::int FROM pg_class WHERE relname = '{table}'")[0][0]
    async with open_database(conninfo, DatabaseSettings(), PoolSettings()) as database:
        async with reading(database) as session:
            return await read_sessions(session, {oid: table})


async def test_sizes_of_a_locked_table_are_estimates_and_nobody_waits(shop):
    execute(shop, "VACUUM ANALYZE orders")
    oid = execute(shop, "SELECT oid::int FROM pg_class WHERE relname = 'orders'")[0][0]
    with transaction(shop, "LOCK TABLE orders IN ACCESS EXCLUSIVE MODE"):
        async with (
            open_database(shop, DatabaseSettings(), PoolSettings()) as database,
            reading(database) as session,
        ):
            started = time.monotonic()
            sizes = (await read_sizes(session, [oid]))[oid]
            assert time.monotonic() - started < 1
    exact = execute(shop, "SELECT pg_table_size('orders'), pg_indexes_size('orders')")[0]
    assert sizes.estimated
    assert sizes.rows == 20000
    assert sizes.table_bytes == pytest.approx(exact[0], rel=0.1)
    assert sizes.index_bytes == pytest.approx(exact[1], rel=0.1)


async def test_traffic_is_the_difference_of_two_readings(shop):
    oid = execute(shop, "SELECT oid::int FROM pg_class WHERE relname = 'orders'")[0][0]
    async with open_database(shop, DatabaseSettings(), PoolSettings()) as database:
        first = await counted(database)
        with (
            closing(psycopg2.connect(**psycopg2_arguments(shop))) as connection,
            connection.cursor() as cursor,
        ):
            cursor.execute("UPDATE orders SET total = 0 WHERE id <= 500")
            connection.commit()
        # The writer's statistics are there once its session has ended.
        time.sleep(1.1)
        second = await counted(database)
    found = traffic(first, second, [oid])
    assert found is not None
    seconds = (second.at - first.at).total_seconds()
    assert found.writes == pytest.approx(500 / seconds)
    assert found.over_seconds == pytest.approx(seconds)
    still = traffic(second, second.__class__(second.at.replace(year=9000), second.at, second.tables), [oid])
    assert still is not None
    assert still.since == second.at


async def counted(database):
    async with reading(database) as session:
        return await read_counters(session)


@pytest.mark.parametrize(
    ("sql", "shown"),
    [
        ("SELECT * FROM a WHERE x = 'Ada''s' AND n = 4.2e3", "SELECT * FROM a WHERE x = ? AND n = ?"),
        (
            "INSERT INTO t2 VALUES ($1, E'a\\'b', $$x'y$$, $tag$ $$ $tag$)",
            "INSERT INTO t2 VALUES ($1, ?, ?, ?)",
        ),
        ('SELECT "O\'Hara", col1 FROM a_2 -- by Ada', 'SELECT "O\'Hara", col1 FROM a_2'),
        ("UPDATE a SET s = 'cut off in the mid", "UPDATE a SET s = ?"),
        ("SELECT /* secret */ 1", "SELECT ?"),
        ("SELECT x'ff', U&'d\\0061', B'01'", "SELECT ?, ?, ?"),
    ],
)
def test_literals_are_masked(sql, shown):
    assert mask_literals(sql) == shown


def test_a_long_query_is_cut():
    assert mask_literals("SELECT " + "a, " * 100, 20) == "SELECT a, a, a, a, …"


async def test_who_holds_a_table_so_that_no_plan_can_be_made_is_named(make_plan, shop, monkeypatch):
    monkeypatch.setattr("dbctl.migrate.plan.copy._LOCK_WAIT_SECONDS", 1)
    with transaction(shop, "LOCK TABLE orders IN ACCESS EXCLUSIVE MODE") as holder:
        with pytest.raises(Busy) as busy:
            await make_plan(shop, WIDEN)
        assert f"pid {holder.info.backend_pid} (" in busy.value.why
        assert "idle in transaction for" in busy.value.why
        assert "holds AccessExclusiveLock on public.orders" in busy.value.why
    assert busy.value.exit_code == 5
