"""A backfill changes each row once, whatever the key, whoever interrupts it."""

from __future__ import annotations

import threading
import time
from contextlib import closing, suppress
from typing import Any

import psycopg2
import pytest
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import create_async_engine

from dbctl.errors import Busy, Invalid, Refused
from dbctl.migrate import backfill
from dbctl.migrate.backfilling.model import Progress
from dbctl.migrate.environment import driver_url
from tests.fixtures.database import execute, psycopg2_arguments
from tests.migrate.backfilling.conftest import revision

COUNTED: dict[str, Any] = {"n": sa.column("n") + 1}
ONCE = "SELECT DISTINCT n FROM t"
THERE = "SELECT to_regclass('dbctl_backfills')"
KEYS = {
    "bigint": "CREATE TABLE t AS SELECT g AS id, 0 AS n FROM generate_series(-500, 2500) g; ALTER TABLE t ADD PRIMARY KEY (id)",
    "uuid": "CREATE TABLE t AS SELECT gen_random_uuid() AS id, 0 AS n FROM generate_series(1, 2500); ALTER TABLE t ADD PRIMARY KEY (id)",
    "text in another collation": """CREATE TABLE t (id text COLLATE "C" PRIMARY KEY, n int);
        INSERT INTO t SELECT chr(40 + g % 80) || '''"\\é%:x' || g, 0 FROM generate_series(1, 2500) g""",
    "timestamptz and numeric": """SET DateStyle = 'SQL, DMY';
        CREATE TABLE t ("At %" timestamptz, "Price" numeric, n int, PRIMARY KEY ("Price", "At %"));
        INSERT INTO t SELECT now() + g * interval '7 h', 1.10 + g % 3, 0 FROM generate_series(1, 2500) g;
        INSERT INTO t VALUES ('infinity', 'NaN', 0)""",
    "three columns, an enum and a flag": """CREATE TYPE kind AS ENUM ('b', 'a');
        CREATE TABLE t (kind kind, flag bool, id int, n int, PRIMARY KEY (kind, flag, id));
        INSERT INTO t SELECT 'a', g % 2 = 0, g, 0 FROM generate_series(1, 1500) g;
        INSERT INTO t SELECT 'b', g % 2 = 0, g, 0 FROM generate_series(1, 1500) g""",
    "an array, a record and a document": """CREATE TYPE pair AS (a int, b text);
        CREATE TABLE t (tags text[], pair pair, doc jsonb, n int, PRIMARY KEY (tags, pair, doc));
        INSERT INTO t SELECT ARRAY['x', NULL, g::text], ROW(g::int, '"')::pair, jsonb_build_object('g', g), 0
          FROM generate_series(1, 2500) g""",
    "partitions": """CREATE TABLE t (id int PRIMARY KEY, n int) PARTITION BY RANGE (id);
        CREATE TABLE t1 PARTITION OF t FOR VALUES FROM (0) TO (1000); CREATE TABLE t2 PARTITION OF t DEFAULT;
        INSERT INTO t SELECT g, 0 FROM generate_series(1, 2500) g""",
}


@pytest.mark.parametrize("make", KEYS.values(), ids=KEYS)
def test_each_row_is_changed_once_whatever_the_key(connection, empty_conninfo, make):
    execute(empty_conninfo, make)
    (count,) = execute(empty_conninfo, "SELECT count(*) FROM t")[0]
    seen: list[Progress] = []
    with revision(connection) as op:
        assert backfill(op, "t", set=COUNTED, batch_rows=700, progress=seen.append) == count
    assert execute(empty_conninfo, ONCE) == [(1,)]
    assert execute(empty_conninfo, THERE) == [(None,)]
    assert len(seen) > 2
    assert seen[-1].walked_rows == seen[-1].changed_rows == count


async def test_it_works_on_an_async_engine_with_a_table_object_and_a_where(empty_conninfo):
    execute(empty_conninfo, "CREATE SCHEMA s", KEYS["bigint"].replace(" t ", " s.t "))
    table = sa.Table(
        "t", sa.MetaData(), sa.Column("id", sa.BigInteger), sa.Column("n", sa.Integer), schema="s"
    )
    engine = create_async_engine(driver_url(empty_conninfo, "postgresql+asyncpg"), poolclass=sa.NullPool)

    def run(sync_connection):
        with revision(sync_connection) as op:
            return backfill(
                op, table, set={"n": table.c.n + table.c.id}, where=table.c.id > 0, batch_rows=400
            )

    async with engine.connect() as connection:
        assert await connection.run_sync(run) == 2500
    assert execute(empty_conninfo, "SELECT count(*) FILTER (WHERE n = id), sum(n) FROM s.t") == [
        (2501, 3126250)
    ]


def test_a_light_table_will_do_and_anything_else_is_told(connection, empty_conninfo):
    execute(
        empty_conninfo, 'CREATE SCHEMA "We Ird"', 'CREATE TABLE "We Ird"."T.b" (id int PRIMARY KEY, n int)'
    )
    execute(empty_conninfo, 'INSERT INTO "We Ird"."T.b" VALUES (1, 0), (2, 0)')
    with revision(connection) as op:
        table = sa.table("T.b", sa.column("id"), sa.column("n"), schema="We Ird")
        assert backfill(op, table, set=COUNTED) == 2
        with pytest.raises(Invalid, match="a Table or a name, not int"):
            backfill(op, 7, set=COUNTED)  # type: ignore[arg-type]
    assert execute(empty_conninfo, 'SELECT DISTINCT n FROM "We Ird"."T.b"') == [(1,)]


def test_a_condition_given_as_text_stays_within_the_batch(connection, empty_conninfo):
    execute(empty_conninfo, KEYS["bigint"])
    with revision(connection) as op:
        assert backfill(op, "t", set=COUNTED, where=sa.text("id < 0 OR id >= 0"), batch_rows=900) == 3001
    assert execute(empty_conninfo, ONCE) == [(1,)]


def test_what_fails_half_way_is_taken_up_behind_the_last_batch(connection, empty_conninfo):
    execute(empty_conninfo, KEYS["bigint"], "CREATE TABLE u (id int PRIMARY KEY, n int)")
    execute(empty_conninfo, "INSERT INTO u VALUES (1, 0), (2, 0)", "ALTER TABLE t ADD x int")
    execute(empty_conninfo, "ALTER TABLE t ADD CHECK (id < 1500 OR n = 0)")

    def upgrade(op):
        backfill(op, "u", set=COUNTED)
        backfill(op, "t", set=COUNTED, batch_rows=300)
        op.execute("CREATE TABLE done ()")

    with pytest.raises(sa.exc.IntegrityError), revision(connection) as op:
        upgrade(op)
    assert execute(empty_conninfo, "SELECT count(*) FROM dbctl_backfills") == [(2,)]
    execute(empty_conninfo, "ALTER TABLE t DROP CONSTRAINT t_check", "INSERT INTO t (id, n) VALUES (9999, 7)")
    with revision(connection) as op:
        upgrade(op)
    # The one that was finished before is not begun again, and what was inserted meanwhile is left alone.
    assert execute(empty_conninfo, "SELECT DISTINCT n FROM u") == [(1,)]
    assert execute(empty_conninfo, "SELECT DISTINCT n FROM t WHERE id < 9999") == [(1,)]
    assert execute(empty_conninfo, "SELECT n FROM t WHERE id = 9999") == [(7,)]
    assert execute(empty_conninfo, THERE, "SELECT to_regclass('done') IS NOT NULL") == [(True,)]
    assert execute(empty_conninfo, THERE) == [(None,)]


def test_where_the_revision_is_rolled_back_the_next_run_does_not_do_it_twice(connection, empty_conninfo):
    execute(empty_conninfo, KEYS["uuid"])
    with pytest.raises(ZeroDivisionError), revision(connection) as op:
        backfill(op, "t", set=COUNTED)
        raise ZeroDivisionError
    with revision(connection) as op:
        assert backfill(op, "t", set=COUNTED) == 0
    assert execute(empty_conninfo, ONCE, THERE) == [(None,)]
    assert execute(empty_conninfo, ONCE) == [(1,)]
    # The next revision may say the same, and means it.
    with revision(connection) as op:
        assert backfill(op, "t", set=COUNTED) == 2500


def test_two_at_once_share_the_work_and_one_may_die(connection, empty_conninfo):
    execute(empty_conninfo, KEYS["bigint"])
    engine = sa.create_engine(empty_conninfo.psycopg2_url(), poolclass=sa.NullPool)
    small: dict[str, Any] = {"set": COUNTED, "batch_rows": 30, "batch_seconds": 0.01}
    seconds, met = [0], threading.Event()

    def second():
        def die(progress):
            seconds.append(progress.changed_rows)
            met.set()
            if len(seconds) > 5:
                raise ZeroDivisionError

        with suppress(ZeroDivisionError), engine.connect() as other, revision(other) as op:
            backfill(op, "t", progress=die, **small)

    thread = threading.Thread(target=second)

    def begun(_progress):
        if not thread.ident:
            thread.start()
        met.wait(20)

    with revision(connection) as op:
        changed = backfill(op, "t", progress=begun, **small)
    thread.join(20)
    assert execute(empty_conninfo, ONCE) == [(1,)]
    assert changed + seconds[-1] == 3001
    assert seconds[-1] > 0


def test_it_ends_though_rows_are_added_all_the_time(connection, empty_conninfo):
    execute(empty_conninfo, KEYS["bigint"])
    added = []

    def add(_progress):
        added.extend(
            execute(
                empty_conninfo,
                "INSERT INTO t SELECT (SELECT max(id) FROM t) + g, 5 FROM generate_series(1, 500) g RETURNING id",
            )
        )

    with revision(connection) as op:
        assert backfill(op, "t", set=COUNTED, batch_rows=1000, batch_seconds=0.2, progress=add) == 3001
    assert len(added) >= 1500
    assert execute(empty_conninfo, "SELECT DISTINCT n FROM t WHERE id > 2500") == [(5,)]


def test_a_locked_row_is_waited_for_in_short_turns_and_nothing_is_lost(connection, empty_conninfo):
    execute(empty_conninfo, KEYS["bigint"])
    waits = []
    with closing(psycopg2.connect(**psycopg2_arguments(empty_conninfo))) as holder, holder.cursor() as cursor:
        cursor.execute("UPDATE t SET n = n WHERE id = 7")

        def heard(progress: Progress) -> None:
            waits.append(progress.waits_for)
            if waits.count("rows of the table are locked") == 2:
                holder.rollback()

        with revision(connection) as op:
            changed = backfill(op, "t", set=COUNTED, lock_timeout_seconds=0.1, progress=heard)
    assert changed == 3001
    assert execute(empty_conninfo, ONCE) == [(1,)]
    assert waits.count("rows of the table are locked") == 2
    assert connection.scalar(sa.text("SHOW lock_timeout")) == "0"


def test_patience_has_an_end_after_which_it_can_be_resumed(connection, empty_conninfo):
    execute(empty_conninfo, KEYS["bigint"])
    options: dict[str, Any] = {"batch_rows": 1000, "lock_timeout_seconds": 0.05, "patience_seconds": 0.3}
    with closing(psycopg2.connect(**psycopg2_arguments(empty_conninfo))) as holder, holder.cursor() as cursor:
        cursor.execute("SELECT FROM t WHERE id = 2000 FOR UPDATE")
        with pytest.raises(Busy, match="gave up waiting"), revision(connection) as op:
            backfill(op, "t", set=COUNTED, **options)
    done = execute(empty_conninfo, "SELECT count(*) FROM t WHERE n = 1")[0][0]
    assert 0 < done < 3001
    with revision(connection) as op:
        assert backfill(op, "t", set=COUNTED, **options) == 3001 - done
    assert execute(empty_conninfo, ONCE) == [(1,)]


def test_batches_grow_and_shrink_to_the_time_they_are_given(connection, empty_conninfo):
    execute(
        empty_conninfo,
        KEYS["bigint"],
        "CREATE FUNCTION slow() RETURNS int LANGUAGE sql AS 'SELECT 1 FROM pg_sleep(0.002)'",
    )
    sizes = []
    with revision(connection) as op:
        backfill(
            op, "t", set={"n": sa.func.slow()}, where=sa.text("id <= 0"), batch_rows=160, batch_seconds=0.1,
            progress=lambda p: sizes.append(p.batch_rows),
        )  # fmt: skip
    assert sizes[0] < 120
    assert sizes[-1] > 120


def test_what_it_can_not_do_is_refused_before_anything_is_committed(connection, empty_conninfo):
    execute(empty_conninfo, "CREATE TABLE keyless (n int)", "INSERT INTO keyless VALUES (1)")
    for table, given, error in (
        ("keyless", COUNTED, Refused),
        ("nowhere", COUNTED, Invalid),
        ("keyless", {}, Invalid),
    ):
        with pytest.raises(error), revision(connection) as op:
            backfill(op, table, set=given)
    assert execute(empty_conninfo, "SELECT n FROM keyless") == [(1,)]
    assert execute(empty_conninfo, THERE) == [(None,)]


def test_offline_it_says_that_it_can_not_be_written_as_sql():
    from alembic.migration import MigrationContext
    from alembic.operations import Operations

    context = MigrationContext.configure(dialect_name="postgresql", opts={"as_sql": True})
    with Operations.context(context) as op, pytest.raises(Refused, match="can't be written as SQL"):
        backfill(op, "t", set=COUNTED)


def test_an_empty_table_is_done_at_once(connection, empty_conninfo):
    execute(empty_conninfo, "CREATE TABLE t (id int PRIMARY KEY, n int)")
    started = time.monotonic()
    with revision(connection) as op:
        assert backfill(op, "t", set=COUNTED) == 0
    assert time.monotonic() - started < 5
    assert execute(empty_conninfo, THERE) == [(None,)]
