"""Facts about indexes: each fault is found, and what only looks like one is left alone."""

from __future__ import annotations

import threading
from contextlib import asynccontextmanager, closing, suppress
from datetime import timedelta

import psycopg2
import pytest

from dbctl.database import ConnInfo, open_database
from dbctl.postgres.binaries import find_servers
from dbctl.postgres.catalog.index_faults import (
    invalid_indexes,
    superfluous_indexes,
    uncovered_foreign_keys,
    unused_indexes,
)
from dbctl.postgres.catalog.indexes import read_foreign_keys, read_indexes, read_window
from dbctl.postgres.scratch import scratch_server
from dbctl.settings import DatabaseSettings, PoolSettings
from tests.activity.conftest import pid_of, sessions, until
from tests.fixtures.database import execute, psycopg2_arguments

TABLE = "CREATE TABLE t (id int PRIMARY KEY, a int, b int, c text, d int NOT NULL DEFAULT 0)"


@asynccontextmanager
async def asking(conninfo):
    async with open_database(conninfo, DatabaseSettings(lock_timeout=0.1), PoolSettings()) as database:
        async with database.connect() as connection:
            yield connection


async def indexes_of(conninfo, *statements):
    execute(conninfo, *statements)
    async with asking(conninfo) as connection:
        return await read_indexes(connection)


def gone(found):
    """Which would go, for which other, and whether they are duplicates."""
    return {one.index.name: (one.by.name, one.is_duplicate) for one in superfluous_indexes(found)}


DUPLICATES = [
    (("CREATE INDEX one ON t (a)", "CREATE INDEX two ON t (a)"), {"two": "one"}),
    (("CREATE INDEX one ON t (lower(c))", "CREATE  INDEX two ON t ( lower( c ) )"), {"two": "one"}),
    (("CREATE INDEX one ON t (a) WHERE b > 1", "CREATE INDEX  two ON t (a) WHERE  b>1"), {"two": "one"}),
    (("CREATE INDEX one ON t (a)", "CREATE UNIQUE INDEX two ON t (a)"), {"one": "two"}),
    (("CREATE INDEX one ON t (id)",), {"one": "t_pkey"}),
    (("CREATE UNIQUE INDEX one ON t (id)",), {"one": "t_pkey"}),
    (("ALTER TABLE t ADD CONSTRAINT one UNIQUE (id)",), {"one": "t_pkey"}),
    (("CREATE INDEX one ON t (a)", "CREATE INDEX two ON t (a) INCLUDE (b)"), {"one": "two"}),
    (("CREATE INDEX one ON t (a)", "CREATE INDEX two ON t (a)", "CREATE INDEX three ON t (a)"),
     {"two": "one", "three": "one"}),
]  # fmt: skip


@pytest.mark.parametrize(("statements", "expected"), DUPLICATES)
async def test_of_duplicates_the_constraints_one_stays(empty_conninfo, statements, expected):
    found = gone(await indexes_of(empty_conninfo, TABLE, *statements))
    assert found == {name: (by, True) for name, by in expected.items()}


async def test_a_prefix_is_redundant_and_the_widest_that_stays_is_named(empty_conninfo):
    statements = (
        "CREATE INDEX one ON t (a)",
        "CREATE INDEX two ON t (a, b)",
        "CREATE INDEX three ON t (a, b, c)",
    )
    found = gone(await indexes_of(empty_conninfo, TABLE, *statements))
    assert found == {"one": ("three", False), "two": ("three", False)}


DIFFERENT = [
    ("CREATE INDEX one ON t (a)", "CREATE INDEX two ON t (b, a)"),
    ("CREATE INDEX one ON t (a)", "CREATE INDEX two ON t (a DESC)"),
    ("CREATE INDEX one ON t (a)", "CREATE INDEX two ON t (a) WHERE b = 1"),
    ("CREATE INDEX one ON t (a) WHERE b = 2", "CREATE INDEX two ON t (a) WHERE b = 1"),
    ("CREATE INDEX one ON t (a)", "CREATE INDEX two ON t USING hash (a)"),
    ("CREATE INDEX one ON t USING hash (a)", "CREATE INDEX two ON t (a, b)"),
    ("CREATE INDEX one ON t (c)", "CREATE INDEX two ON t (c text_pattern_ops)"),
    ("CREATE INDEX one ON t (c)", 'CREATE INDEX two ON t (c COLLATE "C")'),
    ("CREATE INDEX one ON t (lower(c))", "CREATE INDEX two ON t (upper(c))"),
    ("CREATE INDEX one ON t (a) INCLUDE (c)", "CREATE INDEX two ON t (a, b)"),
    # A shorter key that is unique says more than a longer one.
    ("CREATE UNIQUE INDEX one ON t (a)", "CREATE INDEX two ON t (a, b)"),
    ("CREATE UNIQUE INDEX one ON t (a)", "CREATE UNIQUE INDEX two ON t (a) NULLS NOT DISTINCT"),
    ("ALTER TABLE t ADD CONSTRAINT one UNIQUE (a) DEFERRABLE", "CREATE UNIQUE INDEX two ON t (a)"),
    # The primary key is needed, whatever else there is.
    ("CREATE INDEX two ON t (id, a)",),
    # A foreign key leans on it.
    ("CREATE UNIQUE INDEX one ON t (a, b)", "CREATE TABLE u (a int, b int, FOREIGN KEY (a, b) REFERENCES t (a, b))",
     "CREATE INDEX two ON t (a, b, c)"),
    ("CREATE UNIQUE INDEX one ON t (d)", "ALTER TABLE t REPLICA IDENTITY USING INDEX one",
     "CREATE UNIQUE INDEX two ON t (d, a)"),
    # A constraint without overlaps is no index like the others.
    ("ALTER TABLE t ADD CONSTRAINT one EXCLUDE (a WITH =)", "CREATE INDEX two ON t (a, b)"),
]  # fmt: skip


@pytest.mark.parametrize("statements", DIFFERENT)
async def test_what_only_looks_alike_is_not_superfluous(empty_conninfo, statements):
    assert gone(await indexes_of(empty_conninfo, TABLE, *statements)) == {}


async def test_partitions_lose_nothing_that_their_parent_has(empty_conninfo):
    found = await indexes_of(
        empty_conninfo,
        "CREATE TABLE p (a int, b int) PARTITION BY LIST (a)",
        "CREATE TABLE p1 PARTITION OF p FOR VALUES IN (1)",
        "CREATE INDEX one ON p (b)",
        "CREATE INDEX two ON p (b)",
        "CREATE INDEX own ON p1 (b)",
    )
    assert gone(found) == {"two": ("one", True), "own": ("p1_b_idx", True)}


async def test_an_invalid_leftover_is_found_and_covers_nothing(empty_conninfo):
    execute(empty_conninfo, TABLE, "INSERT INTO t VALUES (1, 1), (2, 1)")
    with pytest.raises(psycopg2.errors.UniqueViolation):
        execute(empty_conninfo, "CREATE UNIQUE INDEX CONCURRENTLY broken ON t (a)")
    found = await indexes_of(empty_conninfo, "CREATE INDEX one ON t (a)")
    assert [one.name for one in invalid_indexes(found)] == ["broken"]
    assert gone(found) == {}


async def test_a_partitioned_tables_index_that_waits_for_its_partitions_is_not_invalid(empty_conninfo):
    found = await indexes_of(
        empty_conninfo,
        "CREATE TABLE p (a int) PARTITION BY LIST (a)",
        "CREATE TABLE p1 PARTITION OF p FOR VALUES IN (1)",
        "CREATE INDEX one ON ONLY p (a)",
    )
    assert [one.is_valid for one in found] == [False]
    assert invalid_indexes(found) == ()


@pytest.mark.parametrize("role", ["", "plain"])
@pytest.mark.parametrize(
    "statement",
    [
        "CREATE INDEX CONCURRENTLY being ON t (a)",
        "REINDEX INDEX CONCURRENTLY one",
        "DROP INDEX CONCURRENTLY one",
    ],
)
async def test_what_is_built_or_dropped_at_the_moment_is_not_invalid(empty_conninfo, statement, role):
    execute(empty_conninfo, TABLE, "CREATE INDEX one ON t (b)")
    asker = empty_conninfo
    if role:
        execute(empty_conninfo, f"DROP ROLE IF EXISTS {role}", f"CREATE ROLE {role} LOGIN")
        asker = ConnInfo({**empty_conninfo.keywords, "user": role})
    try:
        with sessions(empty_conninfo) as made:
            # It waits for all who may still use the table.
            made.holds("UPDATE t SET a = 1")
            with closing(psycopg2.connect(**psycopg2_arguments(empty_conninfo))) as builder:
                builder.autocommit = True
                thread = threading.Thread(target=run, args=(builder, statement), daemon=True)
                thread.start()
                until(
                    lambda: made.ask("SELECT count(*) FROM pg_index WHERE NOT indisvalid OR NOT indisready")
                )
                async with asking(asker) as connection:
                    found = await read_indexes(connection)
                made.end_all()
                thread.join(60)
    finally:
        if role:
            execute(empty_conninfo, f"DROP ROLE {role}")
    assert [one.is_in_progress for one in found if not one.is_valid] == [True]
    assert invalid_indexes(found) == ()


def run(connection, statement):
    with suppress(psycopg2.Error):
        connection.cursor().execute(statement)


async def test_a_table_that_somebody_has_locked_keeps_nobody_waiting(empty_conninfo):
    execute(empty_conninfo, TABLE, "CREATE INDEX one ON t (lower(c)) WHERE a > 1")
    with sessions(empty_conninfo) as made:
        holder = made.holds("LOCK TABLE t IN ACCESS EXCLUSIVE MODE")
        async with asking(empty_conninfo) as connection:
            found = await read_indexes(connection)
            await read_foreign_keys(connection)
        assert pid_of(holder)
    assert [one.name for one in found] == ["one", "t_pkey"]


KEYS = "CREATE TABLE u (x int, y int, z int, FOREIGN KEY (x, y) REFERENCES t (a, b))"


@pytest.mark.parametrize(
    ("statement", "covered"),
    [
        ("CREATE INDEX ON u (x, y)", True),
        ("CREATE INDEX ON u (y, x, z)", True),
        ("CREATE INDEX ON u (x)", False),
        ("CREATE INDEX ON u (z, x, y)", False),
        ("CREATE INDEX ON u (x) INCLUDE (y)", False),
        ("CREATE INDEX ON u (x, y) WHERE z IS NULL", False),
        ("CREATE INDEX ON u (x, (y + 1))", False),
        ("CREATE INDEX ON u USING brin (x, y)", False),
    ],
)
async def test_a_foreign_key_is_covered_in_any_order_by_leading_columns_of_a_whole_index(
    empty_conninfo, statement, covered
):
    execute(empty_conninfo, TABLE, "CREATE UNIQUE INDEX ON t (a, b)", KEYS, statement)
    async with asking(empty_conninfo) as connection:
        lacking = uncovered_foreign_keys(await read_foreign_keys(connection), await read_indexes(connection))
    assert [one.columns for one in lacking] == ([] if covered else [("x", "y")])


async def test_unused_is_said_only_when_the_statistics_reach_back_and_nothing_needs_the_index(empty_conninfo):
    execute(
        empty_conninfo, TABLE, "CREATE INDEX idle ON t (a)", "CREATE INDEX used ON t (b)", "SELECT pg_stat_reset()",
        "ALTER TABLE t ADD CONSTRAINT one UNIQUE (c)",
        "CREATE UNIQUE INDEX two ON t (d)", "ALTER TABLE t REPLICA IDENTITY USING INDEX two",
        "SET enable_seqscan = off", "SELECT * FROM t WHERE b = 1",
    )  # fmt: skip
    until(lambda: execute(empty_conninfo, "SELECT pg_stat_get_numscans('used'::regclass)")[0][0])
    async with asking(empty_conninfo) as connection:
        found, window = await read_indexes(connection), await read_window(connection)
    assert [one.name for one in unused_indexes(found, window, for_seconds=0)] == ["idle"]
    assert unused_indexes(found, window, for_seconds=window.seconds + 1) == ()
    later = type(window)(window.since, window.now + timedelta(days=90), is_standby=False, standbys=0)
    names = {one.name for one in unused_indexes(found, later, for_seconds=30 * 86400)}
    # From 16 on it is known when one was used last.
    assert names == ({"idle", "used"} if any(one.last_scan for one in found) else {"idle"})


@pytest.mark.parametrize("major", [one.major for one in find_servers()])
async def test_each_version_answers_and_tells_what_is_new_in_it(major):
    with scratch_server(major) as server:
        conninfo = ConnInfo(server.params)
        enforced = " NOT ENFORCED" if major >= 18 else ""
        execute(
            conninfo, TABLE, "CREATE INDEX one ON t (a)", "CREATE UNIQUE INDEX two ON t (a) NULLS NOT DISTINCT",
            f"CREATE TABLE u (x int REFERENCES t{enforced})", "CREATE EXTENSION pg_trgm",
        )  # fmt: skip
        async with asking(conninfo) as connection:
            found = {one.name: one for one in await read_indexes(connection)}
            keys, window = await read_foreign_keys(connection), await read_window(connection)
    assert [name for name, one in found.items() if one.nulls_not_distinct] == ["two"]
    assert len(keys) == (0 if enforced else 1)
    assert window.since is not None
    assert 0 <= window.seconds < 86400 * 3650
