"""Statements outside of a transaction: their locks are seen before, or while, they commit."""

from __future__ import annotations

import time

import pytest

from dbctl.postgres.lock_modes import LockMode
from tests.fixtures.database import execute
from tests.migrate.trace.recording import ASYNC, Recording, locks, sql
from tests.migrate.trace.test_recorder import SHOP, names

SUE = LockMode.SHARE_UPDATE_EXCLUSIVE


@pytest.fixture(params=["psycopg2", "asyncpg", "psycopg"])
def record(request, empty_conninfo, tmp_path):
    execute(empty_conninfo, f'ALTER DATABASE "{empty_conninfo.database}" SET enable_seqscan = off')
    return Recording(
        empty_conninfo, tmp_path, ASYNC if request.param == "asyncpg" else Recording.ENV, request.param
    )


def alone(*statements):
    body = "\n".join(f"    {line}" for line in sql(*statements).splitlines())
    return f"with op.get_context().autocommit_block():\n{body}"


def test_what_may_run_in_a_transaction_is_seen_before_it_commits(record):
    body = f"{sql('ALTER TABLE account ADD COLUMN a int')}\n{alone('CREATE INDEX ON invoice (account_id)')}"
    [(add, index, after)] = record(f"{body}\n{sql('ALTER TABLE invoice ADD COLUMN a int')}", setup=SHOP)
    assert (add.mode, index.mode, after.mode) == ("transaction", "autocommit", "transaction")
    assert locks(index) == {"invoice": LockMode.SHARE}
    assert names(index.built) == ["invoice_account_id_idx"]
    assert names(scan.relation for scan in index.scanned) == ["invoice"]
    assert (index.held, after.held) == ({}, {})
    assert add.transaction < index.transaction < after.transaction
    assert [table.index("invoice_account_id_idx") is None for table in after.before.values()] == [False]


def test_each_statement_there_is_a_transaction_of_its_own(record):
    [(one, two, value)] = record(
        alone(
            "ALTER TABLE account ADD COLUMN a int",
            "UPDATE account SET a = 1",
            "ALTER TYPE mood ADD VALUE 'fine'",
        ),
        setup=SHOP + "CREATE TYPE mood AS ENUM ('ok')",
    )
    assert (two.held, locks(two)["account"]) == ({}, LockMode.ROW_EXCLUSIVE)
    assert [w.updated for w in two.written] == [5]
    assert one.transaction < two.transaction < value.transaction


def test_an_index_is_built_concurrently_and_dropped_so(record):
    [(create, drop)] = record(
        alone(
            "CREATE INDEX CONCURRENTLY quick ON invoice (account_id)", "DROP INDEX CONCURRENTLY invoice_total"
        ),
        setup=SHOP,
    )
    assert (locks(create), names(create.built)) == ({"invoice": SUE}, ["quick"])
    assert locks(drop) == {"invoice": SUE, "invoice_total": SUE}
    assert names(t.relation for t in drop.before.values()) == ["invoice"]


def test_reindex_concurrently_makes_the_same_index_anew(record):
    [(reindex, alter)] = record(
        f"{alone('REINDEX INDEX CONCURRENTLY invoice_total')}\n{sql('DROP INDEX invoice_total')}", setup=SHOP
    )
    assert locks(reindex) == {"invoice": SUE, "invoice_total": SUE}
    assert (names(reindex.rebuilt), reindex.built) == (["invoice_total"], ())
    assert locks(alter)["invoice_total"] is LockMode.ACCESS_EXCLUSIVE


def test_a_concurrent_build_that_fails_leaves_an_invalid_index_and_its_locks_are_known(record):
    statements = "CREATE UNIQUE INDEX CONCURRENTLY once ON invoice (total)", "SELECT 1"
    setup = SHOP + "UPDATE invoice SET total = 1"
    [(failed,)] = record(alone(*statements), setup=setup, catch=True)
    assert (failed.failure.sqlstate, locks(failed)) == ("23505", {"invoice": SUE})
    assert names(failed.built) == ["once"]


def test_vacuum_and_vacuum_full_are_seen_while_they_wait(record):
    [(vacuum, full)] = record(alone("VACUUM account", "VACUUM FULL account"), setup=SHOP)
    assert locks(vacuum)["account"] is SUE
    assert locks(full)["account"] is LockMode.ACCESS_EXCLUSIVE
    assert (vacuum.rewritten, names(full.rewritten)) == ((), ["account"])
    assert names(full.rebuilt) == ["account_pkey"]


@pytest.mark.parametrize(
    "statement", ["VACUUM", "REINDEX SCHEMA public", "VACUUM (SKIP_LOCKED) account", "CLUSTER", "CHECKPOINT"]
)
def test_what_nobody_waits_for_ends_soon(record, statement):
    started = time.monotonic()
    record(alone(statement), setup=SHOP)
    assert time.monotonic() - started < 5


def test_a_lock_alone_fails_as_it_would(record):
    [(lock,)] = record(alone("LOCK TABLE account"), setup=SHOP, catch=True)
    assert lock.failure.sqlstate == "25P01"


def test_a_block_that_commits_inside_is_left_alone(record):
    block = (
        "DO $$ BEGIN FOR i IN 1..3 LOOP UPDATE account SET nick = 'z' WHERE id = i; COMMIT; END LOOP; END $$"
    )
    [(do,)] = record(alone(block), setup=SHOP)
    assert do.failure is None
    assert execute(record.conninfo, "SELECT count(*) FROM account WHERE nick = 'z'") == [(3,)]


def test_a_procedure_that_commits_is_seen_through(record):
    setup = (
        SHOP
        + """
    CREATE PROCEDURE widen() LANGUAGE plpgsql AS
    $$ BEGIN ALTER TABLE account ADD COLUMN a int; COMMIT; ALTER TABLE invoice ADD COLUMN b int; END $$
    """
    )
    [(call,)] = record(alone("CALL widen()"), setup=setup)
    assert (call.failure, len(call.hidden)) == (None, 2)
    assert set(names(t.relation for t in call.before.values())) == {"account", "invoice"}


def test_a_failure_is_rolled_back_and_the_next_statement_runs(record):
    body = """
    from sqlalchemy.exc import DBAPIError
    with op.get_context().autocommit_block():
        try:
            op.execute("ALTER TABLE account ADD CHECK (nick = '')")
        except DBAPIError:
            pass
        op.execute("ALTER TABLE account ADD COLUMN a int")
    """
    [(failed, add)] = record(body, setup=SHOP)
    assert failed.failure.sqlstate == "23514"
    assert (add.held, locks(add)) == ({}, {"account": LockMode.ACCESS_EXCLUSIVE})


def test_a_deferred_constraint_that_fails_at_commit_is_told(record):
    setup = (
        SHOP + "ALTER TABLE invoice ADD FOREIGN KEY (total) REFERENCES account DEFERRABLE INITIALLY DEFERRED"
    )
    [(insert,)] = record(alone("INSERT INTO invoice VALUES (9, 1, 99)"), setup=setup, catch=True)
    assert insert.failure.sqlstate == "23503"
    assert execute(record.conninfo, "SELECT count(*) FROM invoice") == [(5,)]


def test_begin_and_commit_as_sql_are_heeded(record):
    [(_, one, two, _, three)] = record(
        alone(
            "BEGIN",
            "ALTER TABLE account ADD COLUMN a int",
            "ALTER TABLE account ADD COLUMN b int",
            "COMMIT",
            "ALTER TABLE account ADD COLUMN c int",
        ),
        setup=SHOP,
    )
    assert [s.mode for s in (one, two, three)] == ["transaction", "transaction", "autocommit"]
    assert (set(two.held.values()), three.held) == ({LockMode.ACCESS_EXCLUSIVE}, {})
    assert one.transaction == two.transaction < three.transaction


def test_a_commit_as_sql_ends_the_transaction(record):
    index = "CREATE INDEX CONCURRENTLY quick ON invoice (account_id)"
    [statements] = record(
        sql("ALTER TABLE account ADD COLUMN a int", "COMMIT", index), setup=SHOP, catch=True
    )
    add, _, create = statements
    assert (create.held, create.transaction > add.transaction) == ({}, True)
    if record.driver == "psycopg":
        # It begins a transaction of its own accord, so that this cannot work.
        assert create.failure.sqlstate == "25001"
    else:
        assert (create.mode, locks(create), names(create.built)) == (
            "autocommit",
            {"invoice": SUE},
            ["quick"],
        )
