"""What each statement of a revision did, as the server saw it."""

from __future__ import annotations

import pytest
from sqlalchemy.exc import ProgrammingError

from dbctl.postgres.lock_modes import LockMode
from dbctl.postgres.sql.operations import AddColumn, CreateIndex
from tests.fixtures.database import execute
from tests.migrate.trace.recording import FIRST_LINE, OUTER, Recording, locks, sql

SHOP = """
CREATE TABLE account (id bigint PRIMARY KEY, email text NOT NULL, nick varchar(40));
CREATE TABLE invoice (id bigint PRIMARY KEY, account_id bigint REFERENCES account, total int);
CREATE INDEX invoice_total ON invoice (total);
INSERT INTO account SELECT g, 'u' || g, 'n' || g FROM generate_series(1, 5) g;
INSERT INTO invoice SELECT g, g, g FROM generate_series(1, 5) g;
"""


@pytest.fixture
def record(empty_conninfo, tmp_path):
    execute(empty_conninfo, f'ALTER DATABASE "{empty_conninfo.database}" SET enable_seqscan = off')
    return Recording(empty_conninfo, tmp_path)


def names(relations):
    return [relation.shown for relation in relations]


def test_a_lock_is_told_with_the_line_and_the_facts_before(record):
    [(one, two)] = record(
        sql("ALTER TABLE account ADD COLUMN a int", "ALTER TABLE invoice ADD COLUMN b int"), setup=SHOP
    )
    assert locks(one) == {"account": LockMode.ACCESS_EXCLUSIVE}
    assert (one.line, two.line) == (FIRST_LINE, FIRST_LINE + 1)
    assert [table.relation.shown for table in one.before.values()] == ["account"]
    assert two.held == {one.names["account"]: LockMode.ACCESS_EXCLUSIVE}
    assert locks(two) == {"invoice": LockMode.ACCESS_EXCLUSIVE}
    assert (two.transaction, two.mode, two.number) == (one.transaction, "transaction", 2)


def test_the_facts_are_those_just_before_each_statement(record):
    [(_, second, third)] = record(
        sql(
            "ALTER TABLE account ADD COLUMN a int",
            "ALTER TABLE account ALTER COLUMN a SET NOT NULL",
            "CREATE INDEX ON account (a)",
        ).replace("SET NOT NULL", "SET DEFAULT 1"),
        setup=SHOP,
    )
    [before_second], [before_third] = second.before.values(), third.before.values()
    assert before_second.columns["a"].default is None
    assert before_third.columns["a"].default == "1"
    assert names(third.built) == ["account_a_idx"]


def test_a_loop_and_a_helper_in_another_module_point_to_the_revision(record, tmp_path, monkeypatch):
    (tmp_path / "recorder_helpers.py").write_text(
        "def add(op, table):\n    op.execute(f'ALTER TABLE {table} ADD COLUMN x int')\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    body = "from recorder_helpers import add\nfor table in ('account', 'invoice'):\n    add(op, table)"
    [statements] = record(body, setup=SHOP)
    assert [s.line for s in statements] == [FIRST_LINE + 2] * 2
    assert [list(locks(s)) for s in statements] == [["account"], ["invoice"]]


def test_batch_alter_table_is_seen(record):
    body = """
    with op.batch_alter_table("account") as batch:
        batch.add_column(sa.Column("a", sa.Integer()))
        batch.create_index("account_a", ["a"])
    """
    [(add, index)] = record(body, setup=SHOP)
    assert isinstance(add.operations[0], AddColumn)
    assert isinstance(index.operations[0], CreateIndex)


def test_what_the_revision_reads_stays_readable(record):
    body = """
    found = op.get_bind().execute(sa.text("SELECT id, nick FROM account WHERE id > :low"), {"low": 3}).all()
    assert found == [(4, "n4"), (5, "n5")], found
    inspected = sa.inspect(op.get_bind()).get_table_names()
    assert "account" in inspected
    streamed = sa.text("SELECT * FROM account").execution_options(stream_results=True)
    with op.get_bind().execute(streamed) as rows:
        assert len(rows.all()) == 5
    """
    [statements] = record(body, setup=SHOP)
    assert statements[0].parameters == ("int",)
    assert statements[0].sql == "SELECT id, nick FROM account WHERE id > $1"


def test_a_table_of_the_same_revision_concerns_nobody(record):
    [statements] = record(
        sql(
            "CREATE TABLE fresh (id serial PRIMARY KEY, account_id bigint)",
            "ALTER TABLE fresh ADD COLUMN a int DEFAULT random()",
            "CREATE INDEX ON fresh (a)",
            "ALTER TABLE fresh ADD FOREIGN KEY (account_id) REFERENCES account",
            "DROP TABLE fresh",
        ),
        setup=SHOP,
    )
    assert [set(locks(s)) for s in statements[:3]] == [set()] * 3
    assert locks(statements[3])["account"] is LockMode.SHARE_ROW_EXCLUSIVE
    assert not any(s.rewritten or s.rebuilt or s.built or s.scanned for s in statements)
    assert statements[1].names["fresh"] in statements[0].created
    assert statements[1].before == {}


def test_the_next_revision_finds_that_table_there(record):
    _, (second,) = record(sql("CREATE TABLE fresh (id int)"), sql("ALTER TABLE fresh ADD COLUMN b int"))
    assert locks(second) == {"fresh": LockMode.ACCESS_EXCLUSIVE}
    assert second.created == frozenset()


@pytest.mark.parametrize("env", [OUTER])
def test_one_transaction_around_all_is_no_hindrance(record, env):
    record.env = env
    _, (second,) = record(sql("CREATE TABLE fresh (id int)"), sql("ALTER TABLE fresh ADD COLUMN b int"))
    # Still held from before, and nobody's doing here.
    assert (second.held, locks(second)) == ({}, {})
    assert names(t.relation for t in second.before.values()) == ["fresh"]


def test_dropped_relations_keep_their_names(record):
    [(drop,)] = record(
        sql("DROP TABLE invoice, account CASCADE"),
        setup=SHOP + "CREATE VIEW spender AS SELECT email FROM account",
    )
    assert {"account", "invoice", "spender", "invoice_total"} <= set(locks(drop))
    assert drop.dropped == ("view public.spender",)


def test_what_goes_with_a_column_is_told(record):
    [(drop,)] = record(
        sql("ALTER TABLE pair DROP COLUMN a"),
        setup="CREATE TABLE pair (a int, b int, c int DEFAULT 1, UNIQUE (a, b), CHECK (a < b)); CREATE INDEX both_of ON pair (b, a)",
    )
    assert sorted(drop.dropped) == [
        "index public.both_of",
        "index public.pair_a_b_key",
        "table constraint pair_a_b_key on public.pair",
        "table constraint pair_check on public.pair",
    ]


def test_a_rename_is_followed(record):
    [(_, alter)] = record(
        sql("ALTER TABLE account RENAME TO client", "ALTER TABLE client ADD COLUMN a int"), setup=SHOP
    )
    [table] = alter.before.values()
    assert table.relation.shown == "client"
    assert alter.held == {table.relation.oid: LockMode.ACCESS_EXCLUSIVE}


def test_a_renamed_schema_is_followed(record):
    [(_, alter)] = record(
        sql("ALTER SCHEMA crm RENAME TO sales", "ALTER TABLE sales.lead ADD COLUMN a int"),
        setup="CREATE SCHEMA crm; CREATE TABLE crm.lead (id int)",
    )
    assert list(locks(alter)) == ["sales.lead"]


def test_names_go_by_the_search_path(record):
    [(_, alter, temporary, shadowed)] = record(
        sql(
            "SET search_path = crm, public",
            "ALTER TABLE account ADD COLUMN a int",
            "CREATE TEMP TABLE account (id int)",
            "ALTER TABLE account ADD COLUMN b int",
        ),
        setup=SHOP + "CREATE SCHEMA crm; CREATE TABLE crm.account (id int)",
    )
    assert list(locks(alter)) == ["crm.account"]
    assert names(t.relation for t in alter.before.values()) == ["crm.account"]
    assert (temporary.locks, shadowed.locks, shadowed.before) == ((), (), {})


def test_a_local_search_path_ends_with_its_transaction(record):
    body = """
    op.execute("SET LOCAL search_path = crm")
    op.execute("ALTER TABLE account ADD COLUMN a int")
    op.get_bind().commit()
    op.execute("ALTER TABLE account ADD COLUMN a int")
    """
    [(_, one, two)] = record(
        body, setup=SHOP + "CREATE SCHEMA crm; CREATE TABLE crm.account (id int)", catch=True
    )
    assert [names(t.relation for t in s.before.values()) for s in (one, two)] == [
        ["crm.account"],
        ["account"],
    ]


def test_an_index_leads_to_its_table(record):
    [(rename, drop)] = record(
        sql("ALTER INDEX invoice_total RENAME TO by_total", "DROP INDEX by_total"), setup=SHOP
    )
    assert [names(t.relation for t in s.before.values()) for s in (rename, drop)] == [["invoice"]] * 2
    assert locks(drop) == {"invoice": LockMode.ACCESS_EXCLUSIVE, "by_total": LockMode.ACCESS_EXCLUSIVE}


def test_a_partition_leads_to_its_parent_and_the_default(record):
    setup = """
    CREATE TABLE reading (at date) PARTITION BY RANGE (at);
    CREATE TABLE reading_rest PARTITION OF reading DEFAULT;
    CREATE TABLE reading_26 (at date)
    """
    bounds = "FOR VALUES FROM ('2026-01-01') TO ('2027-01-01')"
    later = "FOR VALUES FROM ('2027-01-01') TO ('2028-01-01')"
    [(attach, create)] = record(
        sql(
            f"ALTER TABLE reading ATTACH PARTITION reading_26 {bounds}",
            f"CREATE TABLE reading_27 PARTITION OF reading {later}",
        ),
        setup=setup,
    )
    assert set(names(t.relation for t in attach.before.values())) == {"reading", "reading_rest", "reading_26"}
    assert set(names(t.relation for t in create.before.values())) == {"reading", "reading_rest"}
    assert {"reading_26", "reading_rest"} <= set(names(scan.relation for scan in attach.scanned))


def test_a_domain_and_an_enum_lead_to_the_tables_that_use_them(record):
    setup = """
    CREATE DOMAIN zip AS text; CREATE TYPE mood AS ENUM ('ok');
    CREATE TABLE address (code zip); CREATE TABLE person (moods mood[])
    """
    [statements] = record(
        sql(
            "ALTER DOMAIN zip ADD CHECK (length(VALUE) = 5)",
            "ALTER TYPE mood RENAME VALUE 'ok' TO 'good'",
            "DROP DOMAIN zip CASCADE",
        ),
        setup=setup,
    )
    found = [names(t.relation for t in s.before.values()) for s in statements]
    assert found == [["address"], ["person"], ["address"]]


def test_the_parent_of_a_dropped_foreign_key_is_known(record):
    [(drop,)] = record(sql("ALTER TABLE invoice DROP CONSTRAINT invoice_account_id_fkey"), setup=SHOP)
    assert set(names(t.relation for t in drop.before.values())) == {"account", "invoice"}


def test_truncate_gives_a_new_file(record):
    [(truncate,)] = record(sql("TRUNCATE invoice"), setup=SHOP)
    assert names(truncate.rewritten) == ["invoice"]
    assert set(names(truncate.rebuilt)) == {"invoice_pkey", "invoice_total"}


def test_a_rewrite_says_why(record):
    [(alter,)] = record(
        sql("ALTER TABLE invoice ALTER COLUMN total TYPE bigint, ADD COLUMN r float DEFAULT random()"),
        setup=SHOP,
    )
    assert alter.rewrite_reasons == {alter.names["invoice"]: ("default", "type")}


def test_rows_written_are_counted(record):
    [(insert, update, delete)] = record(
        sql(
            "INSERT INTO account VALUES (7, 'x', 'y'), (8, 'x', 'y')",
            "UPDATE account SET nick = 'z' WHERE id > 3",
            "DELETE FROM account WHERE id = 8",
        ),
        setup=SHOP,
    )
    counts = [(w.inserted, w.updated, w.deleted) for s in (insert, update, delete) for w in s.written]
    assert counts == [(2, 0, 0), (0, 4, 0), (0, 0, 1)]


def test_counters_start_anew_in_each_transaction(record):
    body = """
    op.execute("UPDATE account SET nick = 'z'")
    op.get_bind().commit()
    op.execute("UPDATE account SET nick = 'z'")
    """
    [(one, two)] = record(body, setup=SHOP)
    assert [w.updated for s in (one, two) for w in s.written] == [5, 5]
    assert [names(scan.relation for scan in s.scanned) for s in (one, two)] == [["account"]] * 2
    assert two.transaction > one.transaction
    assert (two.held, locks(two)["account"]) == ({}, LockMode.ROW_EXCLUSIVE)


@pytest.mark.parametrize(
    ("query", "scanned"),
    [
        ("SELECT nick FROM account LIMIT 1", []),
        ("SELECT EXISTS (SELECT FROM account WHERE nick IS NOT NULL)", []),
        ("SELECT * FROM account WHERE id = 3", []),
        ("SELECT count(*) FROM account", ["account"]),
        ("SELECT * FROM account WHERE nick = 'n3'", ["account"]),
        ("DELETE FROM invoice WHERE account_id = 2", ["invoice"]),
        ("DELETE FROM invoice WHERE id = 2", []),
        ("INSERT INTO account SELECT id + 10, email FROM account", ["account"]),
        ("UPDATE invoice SET total = 1 WHERE total = 2", []),
        ("ALTER TABLE invoice ADD CHECK (total > 0)", ["invoice"]),
        ("ALTER TABLE invoice ADD CHECK (total > 0) NOT VALID", []),
    ],
)
def test_a_scan_is_one_that_reads_the_table_in_full(record, query, scanned):
    [(statement,)] = record(sql(query), setup=SHOP)
    assert names(scan.relation for scan in statement.scanned) == scanned


def test_a_foreign_key_that_is_checked_by_an_index_reads_the_table_all_the_same(record):
    setup = (
        SHOP
        + "ALTER TABLE invoice DROP CONSTRAINT invoice_account_id_fkey; CREATE INDEX ON invoice (account_id)"
    )
    [(add,)] = record(sql("ALTER TABLE invoice ADD FOREIGN KEY (account_id) REFERENCES account"), setup=setup)
    assert set(names(scan.relation for scan in add.scanned)) == {"account", "invoice"}


def test_several_statements_in_a_string_are_told_apart(record):
    text = "ALTER TABLE account ADD COLUMN a int; -- 100% ;\nUPDATE account SET a = 7 % 4; SELECT sum(a) FROM account"
    [(add, update, select)] = record(
        f"assert op.get_bind().execute(sa.text({text!r})).scalar() == 15", setup=SHOP
    )
    assert locks(add) == {"account": LockMode.ACCESS_EXCLUSIVE}
    assert [w.updated for w in update.written] == [5]
    assert select.sql == "SELECT sum(a) FROM account"
    assert [s.number for s in (add, update, select)] == [1, 2, 3]


def test_one_of_several_that_fails_is_the_one_that_is_told(record):
    text = "ALTER TABLE account ADD COLUMN a int; SELECT 1/0; SELECT 2"
    [(_, failed)] = record(sql(text), setup=SHOP, catch=True)
    assert failed.failure.sqlstate == "22012"
    assert failed.sql == "SELECT 1/0"


def test_a_failure_rolled_back_to_a_savepoint_frees_its_locks(record):
    body = """
    from sqlalchemy.exc import DBAPIError
    try:
        with op.get_bind().begin_nested():
            op.execute("ALTER TABLE account RENAME TO client")
            op.execute("ALTER TABLE client ADD CHECK (nick = '')")
    except DBAPIError:
        pass
    op.execute("ALTER TABLE account ADD COLUMN a int")
    """
    [statements] = record(body, setup=SHOP)
    [failed] = [s for s in statements if s.failure]
    assert failed.failure.sqlstate == "23514"
    assert failed.held
    assert (statements[-1].held, locks(statements[-1])) == ({}, {"account": LockMode.ACCESS_EXCLUSIVE})
    assert names(t.relation for t in statements[-1].before.values()) == ["account"]


def test_an_aborted_transaction_is_left_alone(record):
    body = """
    from sqlalchemy.exc import DBAPIError
    for statement in ("SELECT 1/0", "ALTER TABLE account ADD COLUMN a int"):
        try:
            op.execute(statement)
        except DBAPIError as error:
            pass
    op.get_bind().rollback()
    op.execute("ALTER TABLE account ADD COLUMN a int")
    """
    _, statements = record("pass", body, setup=SHOP)
    assert [s.failure and s.failure.sqlstate for s in statements] == ["22012", "25P02", None]
    assert locks(statements[2]) == {"account": LockMode.ACCESS_EXCLUSIVE}


def test_syntax_that_nobody_knows_is_recorded_as_it_stands(record):
    [(statement,)] = record(sql("ALTER TABEL account"), setup=SHOP, catch=True)
    assert (statement.operations, statement.failure.sqlstate) == ((), "42601")


def test_a_rolled_back_revision_leaves_no_trace_in_the_next(record):
    body = """
    op.execute("ALTER TABLE account RENAME TO client")
    op.execute("CREATE TABLE account (id int)")
    # As a trace does it that goes on after a failure: SQLAlchemy hears nothing.
    op.get_bind().connection.rollback()
    """
    _, _, (alter,) = record("pass", body, sql("ALTER TABLE account ADD COLUMN a int"), setup=SHOP)
    assert locks(alter) == {"account": LockMode.ACCESS_EXCLUSIVE}
    assert list(next(iter(alter.before.values())).columns) == ["id", "email", "nick"]


def test_percent_signs_reach_the_server_once(record):
    body = """
    op.execute("UPDATE account SET nick = '5%' WHERE nick LIKE 'n%'")
    op.get_bind().exec_driver_sql("UPDATE account SET nick = %s WHERE nick = '5%%'", ("6%",))
    assert op.get_bind().scalar(sa.text("SELECT nick FROM account WHERE id = 1")) == "6%"
    """
    [(first, second, _)] = record(body, setup=SHOP)
    assert first.sql == "UPDATE account SET nick = '5%' WHERE nick LIKE 'n%'"
    assert second.sql == "UPDATE account SET nick = $1 WHERE nick = '5%'"


def test_many_parameter_sets_are_one_statement(record):
    body = """
    table = sa.table("account", sa.column("id"), sa.column("email"))
    op.get_bind().execute(table.update().where(table.c.id == sa.bindparam("key")), [
        {"key": 1, "email": "a"}, {"key": 2, "email": "b"},
    ])
    op.bulk_insert(table, [{"id": 7, "email": "c"}, {"id": 8, "email": "d"}])
    """
    [(update, insert)] = record(body, setup=SHOP)
    assert (update.executions, update.parameters) == (2, ("str", "int"))
    assert [w.updated for w in update.written] == [2]
    assert [w.inserted for w in insert.written] == [2]


def test_what_goes_past_sqlalchemy_shows_up_with_the_next_statement(record):
    body = """
    import io
    with op.get_bind().connection.cursor() as cursor:
        cursor.copy_expert("COPY account FROM STDIN", io.StringIO("9\\tx\\ty\\n"))
    op.execute("ALTER TABLE invoice ADD COLUMN a int")
    """
    [(statement,)] = record(body, setup=SHOP)
    assert [w.inserted for w in statement.written] == [1]


@pytest.mark.parametrize("encoding", ["LATIN1", "SQL_ASCII", "WIN1251"])
def test_a_client_encoding_that_lacks_letters_is_no_hindrance(record, encoding):
    [statements] = record(
        sql(f"SET client_encoding = '{encoding}'", "ALTER TABLE account ALTER COLUMN id TYPE numeric"),
        setup=SHOP + 'CREATE TABLE "größe 漢字" (id bigint REFERENCES account)',
    )
    [account] = statements[1].before.values()
    assert "größe 漢字" in {key.references for key in account.references_to_it}
    assert "größe 漢字" in locks(statements[1])


def test_an_isolation_level_can_still_be_set_first(record):
    body = sql("SET TRANSACTION ISOLATION LEVEL SERIALIZABLE", "ALTER TABLE account ADD COLUMN a int")
    body += "\nassert op.get_bind().scalar(sa.text('SHOW transaction_isolation')) == 'serializable'"
    [(_, alter, _)] = record(f"op.get_bind().commit()\n{body}", setup=SHOP)
    assert locks(alter) == {"account": LockMode.ACCESS_EXCLUSIVE}


def test_a_comment_is_seen_and_needs_nothing_of_us(record):
    [(comment, grant)] = record(
        sql("COMMENT ON COLUMN account.nick IS 'x'", "GRANT SELECT ON account TO PUBLIC"), setup=SHOP
    )
    assert locks(comment) == {"account": LockMode.SHARE_UPDATE_EXCLUSIVE}
    assert grant.locks == ()


def test_a_dropped_schema_takes_nothing_of_ours(record):
    [(drop, _, create)] = record(
        sql("DROP SCHEMA public CASCADE", "CREATE SCHEMA public", "CREATE TABLE public.anew (id int)"),
        setup=SHOP,
        catch=True,
    )
    assert set(drop.dropped) >= {"table public.account", "table public.invoice"}
    assert locks(drop)["account"] is LockMode.ACCESS_EXCLUSIVE
    assert create.locks == ()


def test_another_role_may_be_set(record, server):
    role = "recorder_limited"
    setup = f"""
    DROP ROLE IF EXISTS {role}; CREATE ROLE {role}; {SHOP} ALTER TABLE account OWNER TO {role};
    ALTER DEFAULT PRIVILEGES REVOKE EXECUTE ON FUNCTIONS FROM PUBLIC
    """
    [statements] = record(
        sql(f"SET ROLE {role}", "ALTER TABLE account ADD COLUMN a int", "RESET ROLE"), setup=setup
    )
    execute(record.conninfo, f"DROP OWNED BY {role} CASCADE; DROP ROLE {role}")
    assert locks(statements[1]) == {"account": LockMode.ACCESS_EXCLUSIVE}


def test_a_connection_that_the_revision_opens_is_followed_too(record):
    body = """
    bind = op.get_bind()
    op.execute("ALTER TABLE account ADD COLUMN a int")
    engine = sa.create_engine(bind.engine.url)
    with engine.begin() as other:
        other.execute(sa.text("ALTER TABLE invoice ADD COLUMN b int"))
    elsewhere = sa.create_engine(bind.engine.url.set(database="postgres"))
    with elsewhere.begin() as other:
        other.execute(sa.text("SELECT 1"))
    """
    [(one, two)] = record(body, setup=SHOP)
    assert (two.held, locks(two)) == ({}, {"invoice": LockMode.ACCESS_EXCLUSIVE})
    assert one.transaction != two.transaction


def test_a_statement_of_alembic_itself_is_none_of_the_revision(record):
    [statements] = record("pass", setup=SHOP)
    assert statements == ()


def test_the_error_stays_the_one_that_the_project_expects(record):
    with pytest.raises(ProgrammingError, match="does not exist"):
        record(sql("SELECT 1; ALTER TABLE missing ADD COLUMN a int; SELECT 2"), setup=SHOP)
