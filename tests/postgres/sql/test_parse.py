"""Statements as operations: what the rules are told about SQL."""

from __future__ import annotations

import subprocess
import sys

import pytest

from dbctl.postgres.lock_modes import LockMode
from dbctl.postgres.sql import SqlNotParsed, parse
from dbctl.postgres.sql import operations as op
from dbctl.postgres.sql.operations import Name, Type

T = Name("t")


def one(sql: str) -> op.Operation:
    (parsed,) = parse(sql)
    (operation,) = parsed.operations
    return operation


def mentioned(sql: str) -> set[str]:
    return {str(name) for parsed in parse(sql) for name in parsed.names}


def test_a_text_is_split_into_exact_slices_of_itself():
    text = "/* ü */ SELECT 'é;' ;;\n-- ß\nUPDATE t SET a = '→'  ; DO $$ BEGIN NULL; END $$"
    assert [parsed.sql for parsed in parse(text)] == [
        "SELECT 'é;'",
        "UPDATE t SET a = '→'",
        "DO $$ BEGIN NULL; END $$",
    ]


@pytest.mark.parametrize("text", ["", "  ;; ", "-- nothing"])
def test_a_text_without_statements_has_none(text):
    assert parse(text) == ()


@pytest.mark.parametrize("text", ["SELEKT 1", "SELECT 'a", "SELECT '\0'", "SELECT '\ud800'"])
def test_what_is_no_sql_is_not_parsed(text):
    with pytest.raises(SqlNotParsed):
        parse(text)


def test_an_expression_that_is_nested_deep_is_parsed_or_refused():
    assert parse("SELECT " + " || ".join(["'a'"] * 200))
    with pytest.raises(SqlNotParsed, match="deep"):
        parse("SELECT " + " || ".join(["'a'"] * 5000))


def test_columns_are_added_with_all_that_is_said_of_them():
    added = one(
        "ALTER TABLE IF EXISTS ONLY s.t ADD COLUMN IF NOT EXISTS c varchar(9)[] COLLATE \"C\" NOT NULL DEFAULT 'a'::text "
        "CONSTRAINT k CHECK (c > d) NOT ENFORCED REFERENCES p (x) DEFERRABLE INITIALLY DEFERRED"
    )
    assert isinstance(added, op.AddColumn)
    assert added.table == Name("t", "s", only=True)
    assert added.if_not_exists
    column = added.column
    assert (column.type, column.collation, column.not_null) == (
        Type("varchar", (9,), is_array=True),
        "C",
        True,
    )
    assert column.default
    assert column.default.is_constant
    assert column.default.sql == "'a'::text"
    check, key = column.constraints
    assert (check.kind, check.name, check.enforced, check.valid) == ("check", "k", False, False)
    assert check.expression
    assert check.expression.columns == ("c", "d")
    assert (key.kind, str(key.references), key.referenced_columns) == ("foreign key", "p", ("x",))
    assert (key.deferrable, key.initially_deferred, key.columns) == (True, True, ("c",))


@pytest.mark.parametrize(
    ("type_", "wanted"),
    [
        ("int", Type("int4")),
        ("int8", Type("int8")),
        ("serial8", Type("bigserial")),
        ("serial", Type("serial")),
        ("double precision", Type("float8")),
        ("numeric(10, 2)", Type("numeric", (10, 2))),
        ("char(3)", Type("bpchar", (3,))),
        ("timestamp(3) with time zone", Type("timestamptz", (3,))),
        ("timestamp", Type("timestamp")),
        ("public.citext", Type("public.citext")),
        ('"Odd"[]', Type("Odd", is_array=True)),
    ],
)
def test_types_have_short_names(type_, wanted):
    added = one(f"ALTER TABLE t ADD c {type_}")
    assert isinstance(added, op.AddColumn)
    assert added.column.type == wanted


def test_a_table_is_created_with_its_columns_and_constraints():
    made = one("""
        CREATE UNLOGGED TABLE IF NOT EXISTS s.t (
            id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, b int GENERATED ALWAYS AS (a * 2) VIRTUAL,
            LIKE u INCLUDING ALL, FOREIGN KEY (b, c) REFERENCES p, EXCLUDE USING gist (r WITH &&)
        ) INHERITS (parent)
    """)
    assert isinstance(made, op.CreateTable)
    assert (made.unlogged, made.if_not_exists, made.like, made.inherits) == (
        True,
        True,
        (Name("u"),),
        (Name("parent"),),
    )
    identity, virtual = made.columns
    assert identity.identity
    assert identity.constraints[0].kind == "primary key"
    assert virtual.generated == "virtual"
    assert virtual.generation
    assert virtual.generation.columns == ("a",)
    key, exclude = made.constraints
    assert (key.columns, key.referenced_columns, exclude.kind, exclude.columns) == (
        ("b", "c"),
        (),
        "exclude",
        ("r",),
    )


def test_partitions_and_copies_are_told_apart():
    part = one("CREATE TABLE p PARTITION OF t DEFAULT")
    assert isinstance(part, op.CreateTable)
    assert (part.partition_of, part.is_default_partition, part.inherits) == (T, True, ())
    parent = one("CREATE TABLE t (a int) PARTITION BY RANGE (a)")
    assert isinstance(parent, op.CreateTable)
    assert parent.is_partitioned
    for sql in ("CREATE TABLE n AS SELECT * FROM t JOIN u USING (a)", "SELECT * INTO n FROM t, u"):
        copied = one(sql)
        assert isinstance(copied, op.CreateTable)
        assert (copied.as_query, copied.tables_read) == (True, (T, Name("u")))


@pytest.mark.parametrize(
    ("sql", "wanted"),
    [
        (
            "ALTER TABLE t DROP COLUMN IF EXISTS c CASCADE",
            op.DropColumn(T, "c", if_exists=True, cascade=True),
        ),
        ("ALTER TABLE t ALTER c SET NOT NULL", op.SetNotNull(T, "c")),
        ("ALTER TABLE t ALTER c DROP NOT NULL", op.DropNotNull(T, "c")),
        ("ALTER TABLE t ALTER c DROP DEFAULT", op.DropDefault(T, "c")),
        ("ALTER TABLE t ALTER c ADD GENERATED ALWAYS AS IDENTITY", op.AddIdentity(T, "c")),
        ("ALTER TABLE t VALIDATE CONSTRAINT k", op.ValidateConstraint(T, "k")),
        ("ALTER TABLE t DROP CONSTRAINT k", op.DropConstraint(T, "k")),
        ("ALTER TABLE t SET UNLOGGED", op.SetLogged(T, logged=False)),
        ("ALTER TABLE t SET TABLESPACE x", op.SetTablespace(T, "x")),
        ("ALTER TABLE t SET ACCESS METHOD x", op.SetAccessMethod(T, "x")),
        ("ALTER TABLE t REPLICA IDENTITY USING INDEX i", op.SetReplicaIdentity(T, "index", "i")),
        ("ALTER TABLE t NO FORCE ROW LEVEL SECURITY", op.SetRowSecurity(T, "no force")),
        ("ALTER TABLE t DISABLE TRIGGER ALL", op.ToggleTrigger(T, "", enabled=False)),
        ("ALTER TABLE t ATTACH PARTITION p DEFAULT", op.AttachPartition(T, Name("p"), is_default=True)),
        (
            "ALTER TABLE t DETACH PARTITION p CONCURRENTLY",
            op.DetachPartition(T, Name("p"), concurrently=True),
        ),
        ("ALTER INDEX i ATTACH PARTITION j", op.AttachIndex(Name("i"), Name("j"))),
        ("ALTER TABLE t SET (fillfactor = 70)", op.Other("AT_SetRelOptions", (T,))),
        ("ALTER TABLE t RENAME a TO b", op.Rename("column", T, "a", "b")),
        ("ALTER TABLE t RENAME TO u", op.Rename("table", T, "t", "u")),
        ("ALTER TABLE t RENAME CONSTRAINT a TO b", op.Rename("constraint", T, "a", "b")),
        ("ALTER SCHEMA a RENAME TO b", op.Rename("schema", Name("a"), "a", "b")),
        ("ALTER TYPE e RENAME VALUE 'a' TO 'b'", op.Rename("enum value", Name("e"), "a", "b")),
        ("ALTER MATERIALIZED VIEW t SET SCHEMA s", op.SetSchema("materialized view", T, "s")),
        ("DROP TRIGGER x ON s.t", op.Drop("trigger", (Name("x"),), (Name("t", "s"),))),
        ("DROP INDEX CONCURRENTLY a.i", op.Drop("index", (Name("i", "a"),), concurrently=True)),
        (
            "DROP FUNCTION IF EXISTS f(int) CASCADE",
            op.Drop("function", (Name("f"),), if_exists=True, cascade=True),
        ),
        ("DROP DATABASE d", op.Drop("database", (Name("d"),))),
        ("DROP TYPE s.e", op.Drop("type", (Name("e", "s"),))),
        ("REINDEX (CONCURRENTLY) TABLE t", op.Reindex("table", T, concurrently=True)),
        ("REINDEX (CONCURRENTLY off) SCHEMA s", op.Reindex("schema", Name("s"))),
        ("TRUNCATE t, u CASCADE", op.Truncate((T, Name("u")), cascade=True)),
        ("CLUSTER", op.Cluster(None)),
        ("VACUUM (FULL) t", op.Vacuum((T,), full=True)),
        ("VACUUM (FULL false) t", op.Vacuum((T,), full=False)),
        ("ANALYZE t", op.Other("VacuumStmt", (T,))),
        ("LOCK t IN SHARE MODE NOWAIT", op.LockTable((T,), LockMode.SHARE, nowait=True)),
        ("LOCK t", op.LockTable((T,), LockMode.ACCESS_EXCLUSIVE)),
        ("ALTER POLICY p ON t USING (true)", op.CreatePolicy(T, "p", is_alter=True)),
        ("CREATE POLICY p ON t AS RESTRICTIVE", op.CreatePolicy(T, "p", permissive=False)),
        ("REFRESH MATERIALIZED VIEW CONCURRENTLY t", op.RefreshMaterializedView(T, concurrently=True)),
        ("CREATE OR REPLACE VIEW t AS SELECT 1", op.CreateView(T, replace=True)),
        ("CREATE TYPE e AS ENUM ('a', 'b')", op.CreateEnum(Name("e"), ("a", "b"))),
        ("ALTER TYPE e ADD VALUE IF NOT EXISTS 'c'", op.AddEnumValue(Name("e"), "c", if_not_exists=True)),
        ("ALTER DOMAIN d SET NOT NULL", op.AddDomainConstraint(Name("d"), "not null")),
        ("ALTER DOMAIN d VALIDATE CONSTRAINT k", op.ValidateDomainConstraint(Name("d"), "k")),
        ("CREATE SEQUENCE s AS int", op.CreateSequence(Name("s"), "int4")),
        ("CREATE EXTENSION IF NOT EXISTS x", op.CreateExtension("x", if_not_exists=True)),
        ("CREATE PUBLICATION p FOR ALL TABLES", op.ChangePublication("p", all_tables=True)),
        (
            "CREATE PUBLICATION p FOR TABLES IN SCHEMA s",
            op.ChangePublication("p", all_tables=True, schemas=("s",)),
        ),
        ("ALTER PUBLICATION p ADD TABLE t", op.ChangePublication("p", (T,))),
        ("ALTER PUBLICATION p DROP TABLE t", op.Other("AlterPublicationStmt")),
        ("SET LOCAL Lock_Timeout = '5s'", op.SetVariable("lock_timeout", "5s", local=True)),
        ("SET search_path TO a, b", op.SetVariable("search_path", "a, b")),
        ("SET lock_timeout = 0", op.SetVariable("lock_timeout", "0")),
        ("RESET lock_timeout", op.SetVariable("lock_timeout", None)),
        ("SET lock_timeout TO DEFAULT", op.SetVariable("lock_timeout", None)),
        ("DISCARD ALL", op.SetVariable("all", None)),
        ("SET CONSTRAINTS ALL IMMEDIATE", op.SetConstraints((), deferred=False)),
        ("SET CONSTRAINTS a DEFERRED", op.SetConstraints(("a",), deferred=True)),
        ("ROLLBACK TO SAVEPOINT x", op.TransactionControl("rollback to")),
        ("DO $$ BEGIN END $$", op.DoBlock("plpgsql")),
        ("CALL s.f(1)", op.Call("s.f")),
        ("COPY t FROM STDIN", op.Insert(T, "values")),
        ("EXPLAIN UPDATE t SET a = 1", op.Other("ExplainStmt", (T,))),
    ],
)
def test_a_statement_is_one_operation(sql, wanted):
    assert one(sql) == wanted


def test_an_index_is_created_with_its_columns():
    made = one(
        "CREATE UNIQUE INDEX CONCURRENTLY i ON ONLY s.t USING gin (a, lower(b)) INCLUDE (c) WHERE a > 0"
    )
    assert made == op.CreateIndex(
        Name("t", "s", only=True),
        "i",
        ("a", ""),
        ("c",),
        "gin",
        unique=True,
        concurrently=True,
        is_partial=True,
    )


def test_set_config_is_a_set():
    (parsed,) = parse("SELECT set_config('lock_timeout', '0', true)")
    assert op.SetVariable("lock_timeout", "0", local=True) in parsed.operations


@pytest.mark.parametrize(
    ("sql", "names"),
    [
        ("WITH t AS (SELECT * FROM t) SELECT * FROM t, u", {"t", "u"}),
        ("WITH q AS (SELECT 1) SELECT * FROM q", set()),
        ("WITH q AS (SELECT 1) SELECT * FROM s.q", {"s.q"}),
        ("WITH RECURSIVE q AS (SELECT * FROM t UNION ALL SELECT * FROM q) SELECT * FROM q", {"t"}),
        ("WITH q AS (SELECT 1) UPDATE q SET a = 1", {"q"}),
        ("WITH a AS (SELECT 1), b AS (SELECT * FROM a) SELECT * FROM b UNION SELECT * FROM c", {"c"}),
        ("DROP TABLE a.b, c", {"a.b", "c"}),
        ("DROP TRIGGER x ON s.t", {"s.t"}),
        ("COMMENT ON COLUMN s.t.c IS 'x'", {"s.t"}),
        ("ALTER TYPE e ADD VALUE 'x'", {"e"}),
        ("ALTER TABLE t ADD PRIMARY KEY USING INDEX i", {"t", "i"}),
        ("ALTER TABLE t ATTACH PARTITION p DEFAULT", {"t", "p"}),
        ("ALTER TABLE t ADD FOREIGN KEY (a) REFERENCES u", {"t", "u"}),
        ("ALTER TABLE t ADD c s.mood", {"t", "s.mood"}),
        ("CREATE VIEW v AS SELECT * FROM t", {"v", "t"}),
        ("SET CONSTRAINTS a DEFERRED", set()),
        ("GRANT SELECT ON t TO PUBLIC", {"t"}),
        ("DELETE FROM t USING u WHERE EXISTS (SELECT FROM w)", {"t", "u", "w"}),
    ],
)
def test_the_names_that_a_statement_mentions(sql, names):
    assert mentioned(sql) == names


@pytest.mark.parametrize(
    "sql",
    [
        "CREATE INDEX CONCURRENTLY i ON t (a)",
        "DROP INDEX CONCURRENTLY i",
        "REINDEX TABLE CONCURRENTLY t",
        "REINDEX SCHEMA s",
        "REINDEX DATABASE d",
        "VACUUM t",
        "ALTER TABLE t DETACH PARTITION p CONCURRENTLY",
        "CREATE DATABASE d",
        "DROP DATABASE d",
        "CREATE TABLESPACE x LOCATION '/x'",
        "DROP TABLESPACE x",
        "ALTER SYSTEM SET work_mem = 1",
        "CLUSTER",
        "ALTER DATABASE d SET TABLESPACE x",
        "CREATE SUBSCRIPTION s CONNECTION '' PUBLICATION p",
        "DROP SUBSCRIPTION s",
        "DISCARD ALL",
        "COMMIT",
    ],
)
def test_what_may_not_run_in_a_transaction(sql):
    assert not parse(sql)[0].may_run_in_transaction


@pytest.mark.parametrize(
    "sql",
    [
        "CREATE INDEX i ON t (a)",
        "REINDEX TABLE t",
        "ANALYZE t",
        "CLUSTER t USING i",
        "ALTER TABLE t DETACH PARTITION p",
        "ALTER DATABASE d SET work_mem = 1",
        "CREATE SUBSCRIPTION s CONNECTION '' PUBLICATION p WITH (connect = false)",
        "REFRESH MATERIALIZED VIEW CONCURRENTLY v",
    ],
)
def test_what_may_run_in_a_transaction(sql):
    assert parse(sql)[0].may_run_in_transaction


def test_reading_a_statement_loads_no_protobuf_messages():
    code = "import sys; from dbctl.postgres.sql import parse; parse('SELECT 1'); print('google.protobuf' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
