"""The batches that stand for a change of many rows do what the statement did, and end."""

from __future__ import annotations

import pytest
import sqlalchemy as sa

from tests.migrate.rules.conftest import as_body
from tests.migrate.rules.more_cases import ACCOUNT, INVOICE

ARCHIVE = "CREATE TABLE archive (LIKE invoice INCLUDING ALL);"
KEYLESS = "CREATE TABLE log (at int, line text); INSERT INTO log SELECT g, 'l%' || g FROM generate_series(1, 2500) g;"
PAIRS = """CREATE TABLE pair (a int, b text, n int, word text, PRIMARY KEY (a, b));
INSERT INTO pair SELECT g % 7, 'b' || g, g, 'x' FROM generate_series(1, 2500) g;"""
CHANGES = [
    (INVOICE, "DELETE FROM invoice WHERE kind = 'k3'", "invoice"),
    (INVOICE, "DELETE FROM invoice i USING account a WHERE a.id = i.account_id AND a.id > 1500", "invoice"),
    (INVOICE, "UPDATE invoice SET total = total * 2 WHERE kind <> 'k1'", "invoice"),
    (INVOICE, "UPDATE invoice SET kind = upper(kind) WHERE kind LIKE 'k%'", "invoice"),
    (INVOICE, "UPDATE invoice SET kind = 'it''s {x} \\ %s :y' WHERE total > 5 OR kind IS NULL", "invoice"),
    (INVOICE, "UPDATE invoice i SET kind = a.nick FROM account a WHERE a.id = i.account_id", "invoice"),
    (INVOICE, "UPDATE invoice SET (kind, total) = ('x', 1) WHERE issued > '2024-03-01'", "invoice"),
    (INVOICE, "UPDATE invoice SET issued = current_date, kind = NULL WHERE issued < '2024-03-01'", "invoice"),
    (INVOICE + ARCHIVE, "INSERT INTO archive SELECT * FROM invoice WHERE kind LIKE '%2'", "archive"),
    ("", "UPDATE account SET balance = 1.005, note = lower(email) WHERE nick LIKE '%7'", "account"),
    ("", "UPDATE account SET note = 'x' WHERE note IS NULL", "account"),
    (KEYLESS, "DELETE FROM log WHERE line LIKE '%7'", "log"),
    (
        PAIRS,
        "UPDATE pair SET n = n + 1, word = 'it''s :y \\ %s {z}' || n::text WHERE b LIKE 'b%' OR n = 3",
        "pair",
    ),
    (PAIRS, "UPDATE pair SET n = n + 1", "pair"),
    (KEYLESS, "UPDATE log SET line = 'done' WHERE line <> 'x'", "log"),
]


@pytest.mark.parametrize(("setup", "sql", "table"), CHANGES, ids=[change[1] for change in CHANGES])
async def test_its_batches_do_what_the_statement_did(judged, scratch, setup, sql, table):
    setup = ACCOUNT + setup
    run = await judged(setup, as_body(sql))
    fix = run.finding("dml-unbatched").fix
    assert "…" not in fix
    wanted = _rows(scratch, setup, table, as_body(sql))
    assert _rows(scratch, setup, table, fix) == wanted
    after = await judged(setup, fix)
    assert [(each.hazard, each.why) for each in after.open] == []


async def test_what_has_no_key_to_go_by_keeps_the_general_form(judged):
    run = await judged(KEYLESS, as_body("UPDATE log SET at = at + 1"))
    assert "…" in run.finding("dml-unbatched").fix


async def test_values_that_were_bound_are_to_be_written_in(judged):
    body = 'op.get_bind().execute(sa.text("DELETE FROM invoice WHERE kind = :kind"), {"kind": "k1"})'
    fix = (await judged(INVOICE, body)).finding("dml-unbatched").fix
    assert fix.startswith("# $1")
    assert fix.count("kind = $1") == 2


def _rows(scratch, setup: str, table: str, body: str) -> list[tuple[object, ...]]:
    """The table after a body of ``upgrade()``, run over the setup by Alembic's own operations."""
    from alembic.migration import MigrationContext
    from alembic.operations import Operations

    scratch.reset(scratch.address.database)
    engine = sa.create_engine(scratch.address.psycopg2_url())
    raw = {"no_parameters": True}
    with engine.connect() as connection:
        connection.exec_driver_sql(setup, execution_options=raw)
        connection.commit()
        context = MigrationContext.configure(connection)
        with Operations.context(context) as op, context.begin_transaction():
            exec(body, {"op": op, "sa": sa})
        found = connection.exec_driver_sql(f"SELECT * FROM {table}").all()
    engine.dispose()
    return sorted((tuple(row) for row in found), key=repr)
