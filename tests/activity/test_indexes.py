"""``indexes``: each finding with statements that really mend it, as SQL and as Alembic operations."""

from __future__ import annotations

from contextlib import suppress

import psycopg2
import pytest
import sqlalchemy as sa
from alembic.migration import MigrationContext
from alembic.operations import Operations
from hypothesis import given
from hypothesis import strategies as st

from dbctl.activity.indexes.find import find_indexes
from dbctl.activity.indexes.mend import free_name
from dbctl.activity.indexes.model import Kind
from tests.activity.conftest import reading, sessions, until
from tests.fixtures.database import execute

TABLE = "CREATE TABLE orders (id int PRIMARY KEY, a int, b int)"


async def find(conninfo, *kinds, unused_for_seconds=0):
    async with reading(conninfo) as connection:
        return await find_indexes(connection, kinds or tuple(Kind), unused_for_seconds=unused_for_seconds)


def by_sql(conninfo, finding):
    execute(conninfo, *finding.sql.splitlines())


def by_alembic(conninfo, finding):
    engine = sa.create_engine(conninfo.psycopg2_url(), poolclass=sa.NullPool)
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"transaction_per_migration": True})
        with context.begin_transaction(_per_migration=True):
            exec(finding.alembic, {"op": Operations(context)})


FAULTS = {
    Kind.DUPLICATE: ("CREATE INDEX one ON orders (a)", "CREATE INDEX two ON orders (a)"),
    Kind.REDUNDANT: ("CREATE INDEX one ON orders (a)", "CREATE INDEX two ON orders (a, b)"),
    Kind.UNUSED: ("CREATE INDEX one ON orders (a)",),
    Kind.MISSING_FK: ('CREATE TABLE "Li nes" (id int, "O" int REFERENCES orders)',),
    Kind.INVALID: ("INSERT INTO orders VALUES (1, 1), (2, 1)", "CREATE UNIQUE INDEX CONCURRENTLY one ON orders (a)"),
}  # fmt: skip


@pytest.mark.parametrize("mend", [by_sql, by_alembic])
@pytest.mark.parametrize("kind", FAULTS)
async def test_what_is_found_is_gone_when_its_statements_have_run(quick, kind, mend):
    for statement in (TABLE, *FAULTS[kind]):
        with suppress(psycopg2.errors.UniqueViolation):
            execute(quick, statement)
    found = (await find(quick, kind)).findings
    assert [one.kind for one in found] == [kind]
    # What made an invalid index fail is for its owner to put right.
    execute(quick, "UPDATE orders SET a = id")
    mend(quick, found[0])
    assert (await find(quick, kind)).findings == ()


async def test_a_dropped_index_comes_back_by_what_undoes_it(quick):
    execute(quick, TABLE, "CREATE INDEX one ON orders (a) WHERE b > 5")
    before = execute(quick, "SELECT pg_get_indexdef('one'::regclass)")
    found = (await find(quick, Kind.UNUSED)).findings[0]
    by_sql(quick, found)
    assert " CONCURRENTLY " in found.undo
    execute(quick, found.undo)
    assert execute(quick, "SELECT pg_get_indexdef('one'::regclass)") == before


async def test_of_twin_constraints_the_one_that_nothing_refers_to_goes(quick):
    execute(quick, TABLE, "ALTER TABLE orders ADD CONSTRAINT twin UNIQUE (id)")
    found = (await find(quick, Kind.DUPLICATE)).findings
    assert [one.sql for one in found] == ["ALTER TABLE public.orders DROP CONSTRAINT twin;"]
    by_alembic(quick, found[0])
    assert (await find(quick, Kind.DUPLICATE)).findings == ()


async def test_half_of_a_reindex_is_dropped_not_built_again(quick):
    execute(quick, TABLE, "INSERT INTO orders VALUES (1, 1)", "CREATE INDEX one ON orders (a)")
    execute(quick, "ALTER INDEX one RENAME TO one_ccnew")
    execute(quick, "UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'one_ccnew'::regclass")
    found = (await find(quick, Kind.INVALID)).findings
    assert [one.sql for one in found] == ["DROP INDEX CONCURRENTLY public.one_ccnew;"]


@pytest.mark.parametrize("mend", [by_sql, by_alembic])
async def test_a_partitioned_tables_foreign_key_is_covered_piece_by_piece(quick, mend):
    execute(
        quick, TABLE, "CREATE TABLE p (o int REFERENCES orders, k int) PARTITION BY LIST (k)",
        "CREATE TABLE p1 PARTITION OF p FOR VALUES IN (1)",
        "CREATE TABLE p2 PARTITION OF p FOR VALUES IN (2) PARTITION BY LIST (o)",
        "CREATE TABLE p21 PARTITION OF p2 DEFAULT",
    )  # fmt: skip
    found = (await find(quick, Kind.MISSING_FK)).findings
    assert [one.table for one in found] == ["public.p"]
    assert "CREATE INDEX CONCURRENTLY ix_p21_o ON public.p21 (o);" in found[0].sql
    mend(quick, found[0])
    assert (await find(quick, Kind.MISSING_FK)).findings == ()
    assert execute(
        quick, "SELECT bool_and(indisvalid) FROM pg_index WHERE indrelid::regclass::text ~ '^p'"
    ) == [(True,)]


async def test_a_locked_table_delays_nothing_and_is_said(quick):
    execute(quick, TABLE, "CREATE TABLE other (a int)", "CREATE INDEX theirs ON other (a)")
    execute(quick, "CREATE INDEX one ON orders (a)", "CREATE INDEX two ON orders (a)")
    with sessions(quick) as made:
        made.holds("LOCK TABLE orders IN ACCESS EXCLUSIVE MODE")
        report = await find(quick, Kind.DUPLICATE, Kind.UNUSED)
    found = {one.index: one for one in report.findings}
    assert found["public.two"].sql == "DROP INDEX CONCURRENTLY public.two;"
    assert found["public.two"].undo == ""
    assert found["public.theirs"].undo
    assert report.notes[0].startswith("locked by somebody: public.orders;")


async def test_young_statistics_say_nothing_of_unused_indexes_and_that_is_said(quick):
    execute(quick, TABLE, "CREATE INDEX one ON orders (a)", "SELECT pg_stat_reset()")
    report = await find(quick, Kind.UNUSED, unused_for_seconds=30 * 86400)
    assert report.findings == ()
    assert "nothing is known" in report.notes[0]


async def test_an_index_is_reported_once_as_unused_or_as_superfluous(quick):
    execute(quick, TABLE, "CREATE INDEX one ON orders (a)", "CREATE INDEX two ON orders (a)")
    found = {one.index: one.kind for one in (await find(quick)).findings}
    assert found == {"public.two": Kind.DUPLICATE, "public.one": Kind.UNUSED}


async def test_one_that_is_to_do_anothers_work_is_not_unused(quick):
    execute(
        quick, TABLE, "INSERT INTO orders SELECT g, g, g FROM generate_series(1, 20000) AS g",
        "CREATE INDEX narrow ON orders (a)", "VACUUM ANALYZE orders", "SELECT * FROM orders WHERE a = 7",
        "CREATE INDEX wide ON orders (a, b)",
    )  # fmt: skip
    until(lambda: execute(quick, "SELECT pg_stat_get_numscans('narrow'::regclass)")[0][0])
    assert execute(quick, "SELECT pg_stat_get_numscans('wide'::regclass)") == [(0,)]
    found = {one.index: one.kind for one in (await find(quick, Kind.REDUNDANT, Kind.UNUSED)).findings}
    assert found == {"public.narrow": Kind.REDUNDANT}


async def test_a_large_table_that_is_read_in_full_again_and_again_is_a_hint(quick):
    execute(
        quick, TABLE, "INSERT INTO orders SELECT g, g, g FROM generate_series(1, 20000) AS g", "ANALYZE orders",
        "CREATE TABLE small AS SELECT * FROM orders LIMIT 10", "ANALYZE small", "SET enable_indexscan = off",
        "DO $$ BEGIN FOR i IN 1..120 LOOP PERFORM count(b) FROM orders; PERFORM count(*) FROM small; END LOOP; END $$",
    )  # fmt: skip
    scans = "SELECT seq_scan FROM pg_stat_user_tables WHERE relname = 'orders'"
    until(lambda: execute(quick, scans)[0][0] >= 120)
    found = (await find(quick, Kind.MISSING)).findings
    assert [(one.table, one.sql) for one in found] == [("public.orders", "")]
    assert " rows each, 100% of all accesses" in found[0].message


@given(
    st.text(min_size=1, max_size=63), st.lists(st.text(min_size=1, max_size=63), max_size=4), st.booleans()
)
def test_a_new_index_has_a_name_that_postgresql_keeps_and_nobody_has(table, columns, again):
    taken = {free_name(table, columns, set())} if again else set()
    name = free_name(table, columns, taken)
    assert len(name.encode()) <= 63
    assert name not in taken
