"""Indexes that would help: which are worth a try, and what the planner says of them."""

from __future__ import annotations

import pytest

from dbctl.activity.indexes.candidates import find_candidates
from dbctl.activity.indexes.find import find_indexes
from dbctl.activity.indexes.model import Kind
from dbctl.activity.indexes.workload import find_help
from dbctl.database import ConnInfo
from dbctl.postgres.binaries import find_servers
from dbctl.postgres.scratch import scratch_server
from tests.activity.conftest import OPTIONS, reading, until
from tests.fixtures.database import execute

HELD = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND objid = 4711"


def scan(filter_text, alias="o", **more):
    return {
        "Node Type": "Seq Scan", "Schema": "public", "Relation Name": "orders", "Alias": alias, "Total Cost": 500.0,
        "Filter": filter_text, **more,
    }  # fmt: skip


def columns(plan):
    return [one.columns for one in find_candidates(plan)]


def test_what_must_be_equal_comes_before_what_is_a_range():
    assert columns(scan("((o.a = $1) AND (o.b > $2))")) == [("a",), ("b",), ("a", "b")]


def test_a_cast_or_the_other_side_is_an_equality_too():
    assert columns(scan("(((o.a)::text = $1) AND ($2 = o.b))")) == [("a",), ("b",), ("a", "b")]


def test_names_that_are_quoted_are_read_as_they_are():
    assert columns(scan('("O 1"."a ""b""" = $1)', alias="O 1")) == [('a "b"',)]


def test_a_join_and_an_order_count_and_another_tables_columns_do_not():
    join = {"Node Type": "Hash Join", "Hash Cond": "(o.customer_id = oo.o)", "Total Cost": 900.0}
    plan = {**join, "Plans": [scan("(o.a IS NULL)"), {"Node Type": "Sort", "Sort Key": ["o.made DESC"]}]}
    assert columns(plan) == [
        ("customer_id",),
        ("a",),
        ("made",),
        ("customer_id", "a"),
        ("customer_id", "made"),
    ]


def test_a_table_that_an_index_already_finds_needs_none():
    assert find_candidates({**scan("(o.a = 1)"), "Node Type": "Index Scan"}) == []


@pytest.fixture(scope="module")
def hypothetical():
    """A server whose hypopg is installed."""
    for major in sorted(one.major for one in find_servers()):
        with scratch_server(major, options=OPTIONS) as server:
            conninfo = ConnInfo(server.params)
            there = "SELECT count(*) FROM pg_available_extensions WHERE name = 'hypopg'"
            if execute(conninfo, there)[0][0]:
                execute(conninfo, "CREATE EXTENSION hypopg", "CREATE EXTENSION pg_stat_statements")
                yield conninfo
                return
    pytest.skip("no PostgreSQL here has the extension hypopg")


async def test_an_index_that_the_planner_would_take_is_found_for_the_statements_that_cost_most(hypothetical):
    execute(
        hypothetical,
        "CREATE TABLE orders (id int PRIMARY KEY, customer_id int, state text)",
        "INSERT INTO orders SELECT g, g % 20000, 'paid' FROM generate_series(1, 100000) AS g", "ANALYZE orders",
        "SELECT pg_stat_statements_reset()",
        *["SELECT * FROM orders WHERE state = 'paid' AND customer_id = 7"] * 5,
        "UPDATE orders SET state = 'sent' WHERE customer_id = 7",
        "SELECT count(*) FROM orders WHERE state = 'paid'",
    )  # fmt: skip
    async with reading(hypothetical) as connection:
        report = await find_indexes(connection, [Kind.MISSING], unused_for_seconds=0)
        again = await find_indexes(connection, [Kind.MISSING], unused_for_seconds=0)
    [found] = report.findings
    assert [one.sql for one in again.findings] == [found.sql]
    assert found.columns == ("customer_id",)
    assert found.sql == "CREATE INDEX CONCURRENTLY ix_orders_customer_id ON public.orders (customer_id);"
    assert "2 statements" in found.message
    assert execute(hypothetical, "SELECT state FROM orders WHERE id = 7") == [("sent",)]
    assert execute(hypothetical, "SELECT count(*) FROM pg_index WHERE indrelid = 'orders'::regclass") == [
        (1,)
    ]


async def test_what_another_role_has_run_is_never_planned_with_our_rights(hypothetical):
    create = "GRANT CREATE ON SCHEMA public TO mallory"
    execute(hypothetical, "CREATE ROLE mallory LOGIN", create, "SELECT pg_stat_statements_reset()")
    theirs = ConnInfo({**hypothetical.keywords, "user": "mallory"})
    # The planner calls what says that it is immutable; a lock of the session is what stays of it.
    spy = "BEGIN PERFORM pg_advisory_lock(4711); RETURN 1; END"
    execute(
        theirs,
        f"CREATE FUNCTION spy() RETURNS int IMMUTABLE LANGUAGE plpgsql AS $$ {spy} $$",
        *["SELECT count(*) FROM pg_class WHERE relpages = spy()"] * 5,
    )
    until(lambda: execute(hypothetical, HELD)[0][0] == 0)
    async with reading(hypothetical) as connection:
        assert await find_help(connection) == ()
        assert execute(hypothetical, HELD) == [(0,)]
        execute(hypothetical, "SELECT count(*) FROM pg_class WHERE relpages = spy()")
        await find_help(connection)
        assert execute(hypothetical, HELD) == [(1,)]
