"""Statements inside statements: DO blocks, functions, procedures; on every driver."""

from __future__ import annotations

import pytest

from dbctl.postgres.lock_modes import LockMode
from dbctl.postgres.sql.operations import AddColumn, AlterType, CreateTable, DoBlock
from tests.fixtures.database import execute
from tests.migrate.trace.recording import ASYNC, FIRST_LINE, SYNC, Recording, locks, sql
from tests.migrate.trace.test_recorder import SHOP, names

ALTERING = """
DO $$ BEGIN
    EXECUTE format('ALTER TABLE %I
        ALTER COLUMN total TYPE bigint', 'invoice');
    UPDATE account SET nick = 'z';
END $$
"""


@pytest.fixture(params=["psycopg2", "asyncpg", "psycopg"])
def record(request, empty_conninfo, tmp_path):
    execute(empty_conninfo, f'ALTER DATABASE "{empty_conninfo.database}" SET enable_seqscan = off')
    return Recording(empty_conninfo, tmp_path, ASYNC if request.param == "asyncpg" else SYNC, request.param)


def test_a_do_block_is_seen_through(record):
    [(do,)] = record(sql(ALTERING), setup=SHOP)
    assert isinstance(do.operations[0], DoBlock)
    [hidden] = do.hidden
    assert hidden.sql.split() == ["ALTER", "TABLE", "invoice", "ALTER", "COLUMN", "total", "TYPE", "bigint"]
    assert isinstance(hidden.operations[0], AlterType)
    assert locks(do)["invoice"] is LockMode.ACCESS_EXCLUSIVE
    assert names(do.rewritten) == ["invoice"]
    assert [w.updated for w in do.written] == [5]
    # As it was before, though nobody knew what the block would do.
    assert do.before[do.names["invoice"]].columns["total"].type == "integer"


@pytest.mark.parametrize("language", ["plpgsql", "sql"])
def test_a_function_is_seen_through(record, language):
    body = "ALTER TABLE invoice ADD COLUMN one int; ALTER TABLE account ADD COLUMN two int;"
    body = f"BEGIN {body} END" if language == "plpgsql" else body
    setup = f"{SHOP} CREATE FUNCTION widen() RETURNS void LANGUAGE {language} AS $$ {body} $$"
    [(select,)] = record(sql("SELECT widen()"), setup=setup)
    assert [operation.table.name for each in select.hidden for operation in each.operations] == [
        "invoice",
        "account",
    ]
    assert set(names(t.relation for t in select.before.values())) == {"invoice", "account"}


def test_a_function_made_by_the_revision_is_seen_through(record):
    [(*_, select)] = record(
        sql(
            "SELECT widen FROM (SELECT 1 AS widen) x",
            "CREATE FUNCTION widen(t text) RETURNS void LANGUAGE plpgsql AS "
            "$$ BEGIN EXECUTE 'ALTER TABLE ' || t || ' ADD COLUMN one int'; END $$",
        )
        + "\nop.get_bind().execute(sa.text('SELECT widen(:t)'), {'t': 'invoice'})",
        setup=SHOP,
    )
    assert [each.sql for each in select.hidden] == ["ALTER TABLE invoice ADD COLUMN one int"]
    assert names(t.relation for t in select.before.values()) == ["invoice"]


def test_calls_in_calls_give_the_innermost(record):
    setup = f"""{SHOP}
    CREATE PROCEDURE inner_one() LANGUAGE plpgsql AS $$ BEGIN CREATE TABLE "made ""here" (id int); END $$;
    CREATE PROCEDURE outer_one() LANGUAGE plpgsql AS $$ BEGIN CALL inner_one(); END $$
    """
    [(call,)] = record(sql("CALL outer_one()"), setup=setup)
    assert [each.sql for each in call.hidden] == ['CREATE TABLE "made ""here" (id int)']
    assert isinstance(call.hidden[0].operations[0], CreateTable)


def test_a_long_statement_is_whole(record):
    columns = ", ".join(f"ADD COLUMN c{number} int /* {'x' * 60} */" for number in range(200))
    [(do,)] = record(sql(f"DO $$ BEGIN ALTER TABLE invoice {columns}; END $$"), setup=SHOP)
    assert sum(isinstance(op, AddColumn) for op in do.hidden[0].operations) == 200


def test_what_fails_inside_is_told(record):
    failing = "DO $$ BEGIN ALTER TABLE invoice ADD CHECK (total > 3); END $$"
    [(do,)] = record(sql(failing), setup=SHOP, catch=True)
    assert do.failure.sqlstate == "23514"
    assert [each.sql for each in do.hidden] == ["ALTER TABLE invoice ADD CHECK (total > 3)"]
    assert names(t.relation for t in do.before.values()) == ["invoice"]


def test_event_triggers_work_on_a_replica_and_beside_the_projects_own(record):
    [(*_, do)] = record(
        sql(
            "CREATE FUNCTION watch() RETURNS event_trigger LANGUAGE plpgsql AS $$ BEGIN END $$",
            "CREATE EVENT TRIGGER watching ON ddl_command_start EXECUTE FUNCTION watch()",
            "DROP EVENT TRIGGER watching",
            "SET session_replication_role = replica",
            ALTERING,
        ),
        setup=SHOP,
    )
    assert len(do.hidden) == 1


def test_what_an_extension_does_is_its_own_business(record):
    available = execute(record.conninfo, "SELECT name FROM pg_available_extensions WHERE name = 'citext'")
    if not available:
        pytest.skip("this server has no extension to try")
    [(create,)] = record(sql("CREATE EXTENSION citext"))
    assert create.hidden == ()


def test_a_driver_is_followed_like_another(record):
    body = """
    bind = op.get_bind()
    assert bind.execute(sa.text("SELECT nick FROM account WHERE id = :id"), {"id": 2}).scalar() == "n2"
    with bind.begin_nested():
        bind.execute(sa.text("UPDATE account SET nick = :nick WHERE id = :id"), {"nick": "5%", "id": 2})
    bind.execute(sa.text("UPDATE account SET email = :email"), [{"email": "a"}, {"email": "b"}])
    op.create_index("by_nick", "account", ["nick"])
    """
    [statements] = record(body, setup=SHOP)
    update = statements[2]
    assert (update.sql.count("$1"), update.parameters) == (1, ("str", "int"))
    assert [w.updated for w in update.written] == [1]
    assert [(s.executions, [w.updated for w in s.written]) for s in statements if s.executions > 1] == [
        (2, [10])
    ]
    assert locks(statements[-1])["account"] is LockMode.SHARE
    assert statements[-1].line == FIRST_LINE + 5


def test_a_string_of_several_statements_does_what_it_does_there(record):
    [statements] = record(
        sql("ALTER TABLE account ADD COLUMN a int; UPDATE account SET a = 1"), setup=SHOP, catch=True
    )
    if record.driver == "asyncpg":
        assert [s.failure.sqlstate for s in statements] == ["42601"]
    else:
        assert [locks(s)["account"] for s in statements] == [
            LockMode.ACCESS_EXCLUSIVE,
            LockMode.ROW_EXCLUSIVE,
        ]


def test_an_async_function_of_the_revision_is_on_the_stack(record):
    if record.driver != "asyncpg":
        pytest.skip("op.run_async() wants an async engine")
    body = """
    async def change(connection):
        await connection.execute(sa.text("ALTER TABLE account ADD COLUMN a int"))
    op.run_async(change)
    """
    [(add,)] = record(body, setup=SHOP)
    assert (add.line, locks(add)) == (FIRST_LINE + 1, {"account": LockMode.ACCESS_EXCLUSIVE})
