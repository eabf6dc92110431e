"""What the catalog says of a table, read in one query."""

from __future__ import annotations

import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.pool import NullPool

from dbctl.postgres.catalog.model import Column, Constraint, Index
from dbctl.postgres.catalog.read import read_relations, read_tables
from tests.fixtures.database import execute

SCHEMA = """
CREATE SCHEMA crm;
CREATE DOMAIN plain AS int; CREATE DOMAIN positive AS int CHECK (VALUE > 0); CREATE DOMAIN more AS positive;
CREATE TABLE account (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, "E mail" text NOT NULL, nick varchar(40) DEFAULT 'n',
    a plain, b positive, c more, shout text GENERATED ALWAYS AS (upper(nick)) STORED, gone int, UNIQUE (nick, a)
);
ALTER TABLE account DROP COLUMN gone;
CREATE TABLE crm.lead (
    id int, account_id bigint REFERENCES account DEFERRABLE INITIALLY DEFERRED,
    CONSTRAINT named CHECK (id > 0)
);
ALTER TABLE crm.lead ADD CONSTRAINT later CHECK (id < 9) NOT VALID;
CREATE UNIQUE INDEX partly ON crm.lead (id, lower(id::text) DESC) INCLUDE (account_id) WHERE id > 3;
CREATE VIEW loud AS SELECT shout, nick FROM account;
CREATE FUNCTION react() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';
CREATE TRIGGER reacts BEFORE INSERT ON account FOR EACH ROW EXECUTE FUNCTION react();
CREATE POLICY mine ON account USING (true);
ALTER TABLE account ENABLE ROW LEVEL SECURITY, REPLICA IDENTITY FULL;
CREATE PUBLICATION feed FOR TABLE account;
CREATE TABLE reading (at date) PARTITION BY RANGE (at);
CREATE TABLE reading_rest PARTITION OF reading DEFAULT;
CREATE TABLE crm.reading_26 PARTITION OF reading FOR VALUES FROM ('2026-01-01') TO ('2027-01-01');
INSERT INTO reading VALUES ('2026-02-02');
CREATE MATERIALIZED VIEW counted AS SELECT count(*) FROM account;
"""


@pytest.fixture
def connection(empty_conninfo):
    execute(empty_conninfo, SCHEMA)
    with create_engine(empty_conninfo.psycopg2_url(), poolclass=NullPool).connect() as opened:
        yield opened


@pytest.fixture
def table(connection):
    oids = {relation.shown: oid for oid, relation in read_relations(connection).items()}
    tables = read_tables(connection, oids.values())
    return lambda name: tables[oids[name]]


def test_columns_say_type_default_and_what_makes_them_special(table):
    columns = table("account").columns
    assert list(columns) == ["id", "E mail", "nick", "a", "b", "c", "shout"]
    assert columns["id"] == Column("id", "bigint", True, None, "", True, False)
    assert columns["nick"] == Column(
        "nick", "character varying(40)", False, "'n'::character varying", "", False, False
    )
    assert columns["shout"].generated == "stored"
    assert columns["shout"].default is None
    assert [columns[name].domain_is_constrained for name in "abc"] == [False, True, True]


def test_constraints_of_a_table_and_those_that_lead_to_it(table):
    account, lead = table("account"), table("crm.lead")
    assert lead.constraint("lead_account_id_fkey") == Constraint(
        name="lead_account_id_fkey",
        kind="foreign key",
        columns=("account_id",),
        definition="FOREIGN KEY (account_id) REFERENCES account(id) DEFERRABLE INITIALLY DEFERRED",
        validated=True,
        deferrable=True,
        initially_deferred=True,
        references="account",
        referenced_columns=("id",),
    )
    [to_it] = account.references_to_it
    assert (to_it.references, to_it.columns, to_it.referenced_columns) == (
        "crm.lead",
        ("account_id",),
        ("id",),
    )
    assert {c.name: c.validated for c in lead.constraints if c.kind == "check"} == {
        "named": True,
        "later": False,
    }
    primary = account.constraint("account_pkey")
    assert (primary.kind, primary.columns, primary.index) == ("primary key", ("id",), "account_pkey")


def test_an_index_has_keys_and_payload_apart(table):
    assert table("crm.lead").index("partly") == Index(
        name="partly",
        columns=("id", ""),
        included=("account_id",),
        unique=True,
        primary=False,
        valid=True,
        partial=True,
        replica_identity=False,
        method="btree",
        definition="CREATE UNIQUE INDEX partly ON crm.lead USING btree (id, lower((id)::text) DESC) "
        "INCLUDE (account_id) WHERE (id > 3)",
    )


def test_what_hangs_on_a_table(table):
    account = table("account")
    assert account.dependent_views == {"nick": ("loud",), "shout": ("loud",)}
    assert (account.triggers, account.policies, account.publications) == (("reacts",), ("mine",), ("feed",))
    assert (account.replica_identity, account.row_security) == ("full", True)


def test_partitions_know_one_another(table):
    reading, part = table("reading"), table("crm.reading_26")
    assert (reading.relation.kind, reading.default_partition) == ("partitioned table", "reading_rest")
    assert reading.partitions == ("crm.reading_26", "reading_rest")
    assert part.partition_of == "reading"


def test_rows_are_known_to_be_there_without_reading_them(table):
    there = {
        name: table(name).has_rows
        for name in ("account", "reading", "crm.reading_26", "reading_rest", "loud")
    }
    assert there == {
        "account": False,
        "reading": True,
        "crm.reading_26": True,
        "reading_rest": False,
        "loud": False,
    }


def test_relations_are_all_that_users_made(connection):
    connection.execute(text("CREATE TEMP TABLE passing (id int)"))
    kinds = {relation.shown: relation.kind for relation in read_relations(connection).values()}
    assert kinds["counted"] == "materialized view"
    assert kinds["account_id_seq"] == "sequence"
    assert kinds["crm.partly"] == "index"
    assert "passing" not in kinds
    assert not any(name.startswith("pg_") for name in kinds)


def test_reading_keeps_no_lock(connection):
    read_tables(connection, read_relations(connection))
    held = text("SELECT count(*) FROM pg_locks WHERE pid = pg_backend_pid() AND relation >= 16384")
    assert connection.scalar(held) == 0
