"""What is said to be measured: the statement's own lock, and work that was really done."""

from __future__ import annotations

from dbctl.postgres.lock_modes import LockMode
from tests.migrate.rules.conftest import as_body
from tests.migrate.rules.more_cases import ACCOUNT, INVOICE

EMAIL = """
CREATE TABLE member (id int, email varchar(80), tenant int);
INSERT INTO member SELECT g, 'e' || g, g FROM generate_series(1, 3000) g;
CREATE UNIQUE INDEX member_email ON member (lower(email));
"""


async def test_a_lock_that_was_held_before_is_still_the_statements_own(judged):
    sql = "ALTER TABLE account ADD COLUMN x int; ALTER TABLE account ADD CONSTRAINT u UNIQUE (email)"
    found = (await judged(ACCOUNT, as_body(sql))).finding("add-unique")
    assert found.lock_mode is LockMode.ACCESS_EXCLUSIVE
    assert "runs under AccessExclusiveLock (reads and writes wait)" in found.why
    assert "(writes wait)" not in found.why


async def test_truncate_reads_and_rewrites_nothing_and_vacuum_full_does_both(judged):
    found = (await judged(INVOICE, as_body("TRUNCATE invoice"))).finding("truncate")
    assert (found.rewrites, found.scans) == (False, False)
    assert "in full" not in found.why
    run = await judged(INVOICE, as_body("VACUUM FULL invoice", autocommit=True))
    found = run.finding("cluster-vacuum-full")
    assert (found.rewrites, found.scans) == (True, True)


async def test_a_failure_on_rows_in_a_loop_names_the_statement_and_its_table(judged):
    body = (
        'for (key,) in op.get_bind().exec_driver_sql("SELECT id FROM invoice").all():\n'
        '    op.get_bind().execute(sa.text("UPDATE invoice SET total = total / 0 WHERE id = :i"), {"i": key})'
    )
    found = (await judged(INVOICE.partition("INSERT")[0], body)).finding("fails-on-rows")
    assert found.statement.startswith("UPDATE invoice SET total = total / 0")
    assert found.tables == ("invoice",)


async def test_a_unique_expression_bounds_a_change(judged):
    assert (
        "dml-unbatched"
        not in (
            await judged(EMAIL, as_body("UPDATE member SET tenant = 1 WHERE lower(member.email) = 'e5'"))
        ).hazards
    )
    assert (
        "dml-unbatched"
        in (await judged(EMAIL, as_body("UPDATE member SET tenant = 1 WHERE upper(email) = 'E5'"))).hazards
    )
