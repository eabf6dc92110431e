"""Statements and the hazards in them, beside the verified cases: exactly these, and none in what is safe."""

from __future__ import annotations

import pytest

from tests.migrate.rules.conftest import as_body
from tests.migrate.rules.more_cases import ACCOUNT, INVOICE, READING, SALE, TICKET

DEFERRED = (
    ACCOUNT
    + "CREATE TABLE o (id bigint PRIMARY KEY, a bigint REFERENCES account(id) DEFERRABLE INITIALLY DEFERRED, n text);"
    + "CREATE INDEX o_a ON o (a);"
)


NONE: set[str] = set()
CASES = [
    (
        "create_view_replace",
        ACCOUNT + "CREATE VIEW v AS SELECT id FROM account;",
        "CREATE OR REPLACE VIEW v AS SELECT id, email FROM account",
        NONE,
        False,
    ),
    (
        "drop_create_view",
        ACCOUNT + "CREATE VIEW v AS SELECT id FROM account;",
        "DROP VIEW v; CREATE VIEW v AS SELECT id, email FROM account",
        NONE,
        False,
    ),
    ("drop_matview", SALE, "DROP MATERIALIZED VIEW shop_total", {"drop-view"}, False),
    (
        "two_tables",
        ACCOUNT + INVOICE,
        "ALTER TABLE account ADD COLUMN x int; ALTER TABLE invoice ADD COLUMN y int",
        {"multi-table-locks"},
        False,
    ),
    (
        "one_table_twice",
        ACCOUNT,
        "ALTER TABLE account ADD COLUMN x int; ALTER TABLE account ADD COLUMN y int",
        NONE,
        False,
    ),
    (
        "index_after_add",
        INVOICE,
        "ALTER TABLE invoice ADD COLUMN y int; CREATE INDEX i ON invoice(y)",
        {"create-index", "ddl-under-exclusive"},
        False,
    ),
    (
        "validate_other",
        ACCOUNT + INVOICE + "ALTER TABLE invoice ADD CONSTRAINT c CHECK (total>0) NOT VALID;",
        "ALTER TABLE account ADD COLUMN x int; ALTER TABLE invoice VALIDATE CONSTRAINT c",
        {"ddl-under-exclusive"},
        False,
    ),
    (
        "validate_alone",
        ACCOUNT + INVOICE + "ALTER TABLE invoice ADD CONSTRAINT c CHECK (total>0) NOT VALID;",
        "ALTER TABLE invoice VALIDATE CONSTRAINT c; ALTER TABLE account ADD COLUMN x int",
        NONE,
        False,
    ),
    (
        "drop_schema_made_here",
        "CREATE TABLE t(id int);",
        "CREATE SCHEMA s; CREATE TABLE s.a(id bigint PRIMARY KEY); DROP SCHEMA s CASCADE",
        NONE,
        False,
    ),
    (
        "merge",
        ACCOUNT + INVOICE,
        "MERGE INTO account a USING invoice i ON a.id = i.account_id WHEN MATCHED THEN UPDATE SET note='x'",
        {"dml-unbatched"},
        False,
    ),
    (
        "values_join",
        ACCOUNT,
        "UPDATE account SET note=v.n FROM (VALUES (1,'a'),(2,'b')) v(id,n) WHERE account.id=v.id",
        NONE,
        False,
    ),
    (
        "update_from",
        ACCOUNT + INVOICE,
        "UPDATE account SET note=i.kind FROM invoice i WHERE account.id=i.account_id",
        {"dml-unbatched"},
        False,
    ),
    (
        "seed_not_exists",
        "CREATE TABLE country (code text PRIMARY KEY, name text);",
        "INSERT INTO country SELECT 'fr','France' WHERE NOT EXISTS (SELECT 1 FROM country WHERE code='fr')",
        NONE,
        False,
    ),
    (
        "insert_select_new",
        INVOICE,
        "CREATE TABLE k (kind text PRIMARY KEY); INSERT INTO k SELECT DISTINCT kind FROM invoice WHERE kind IS NOT NULL",
        {"dml-unbatched"},
        False,
    ),
    ("for_update_one", ACCOUNT, "SELECT id FROM account WHERE id = 5 FOR UPDATE", NONE, False),
    ("for_update_limit", ACCOUNT, "SELECT id FROM account LIMIT 5 FOR UPDATE SKIP LOCKED", NONE, False),
    ("do_lock", INVOICE, "DO $$ BEGIN LOCK TABLE invoice; END $$", {"explicit-lock"}, False),
    ("do_truncate", INVOICE, "DO $$ BEGIN TRUNCATE invoice; END $$", {"truncate"}, False),
    (
        "not_null_domain_over_rows",
        ACCOUNT + "CREATE DOMAIN pos AS int NOT NULL;",
        "ALTER TABLE account ADD COLUMN t pos",
        {"add-col-constrained-domain"},
        False,
    ),
    ("do_execute", INVOICE, "DO $$ BEGIN EXECUTE 'TRUNCATE invoice'; END $$", {"truncate"}, False),
    ("do_cluster", INVOICE, "DO $$ BEGIN CLUSTER invoice USING invoice_pkey; END $$", {"hidden-ddl"}, False),
    (
        "proof_dropped_first",
        ACCOUNT + "ALTER TABLE account ADD CONSTRAINT nn CHECK (note IS NOT NULL);",
        "ALTER TABLE account DROP CONSTRAINT nn, ALTER note SET NOT NULL",
        {"set-not-null"},
        False,
    ),
    (
        "do_add_column",
        INVOICE,
        "DO $$ BEGIN IF NOT EXISTS (SELECT 1 FROM pg_attribute WHERE attname='zz') THEN ALTER TABLE invoice ADD COLUMN zz int; END IF; END $$",
        NONE,
        False,
    ),
    ("do_index", INVOICE, "DO $$ BEGIN CREATE INDEX i ON invoice(kind); END $$", {"create-index"}, False),
    ("do_drop", INVOICE, "DO $$ BEGIN DROP TABLE invoice; END $$", {"drop-table"}, False),
    ("do_update_one", ACCOUNT, "DO $$ BEGIN UPDATE account SET note='x' WHERE id=5; END $$", NONE, False),
    (
        "do_loop",
        ACCOUNT,
        "DO $$ DECLARE r record; BEGIN FOR r IN SELECT id FROM account LOOP UPDATE account SET note='x' WHERE id=r.id; END LOOP; END $$",
        {"dml-unbatched"},
        False,
    ),
    (
        "func_update",
        ACCOUNT + "CREATE FUNCTION bf() RETURNS void LANGUAGE sql AS $$ UPDATE account SET note='x' $$;",
        "SELECT bf()",
        {"dml-unbatched"},
        False,
    ),
    (
        "call_update",
        ACCOUNT + "CREATE PROCEDURE bf() LANGUAGE sql AS $$ UPDATE account SET note='x' $$;",
        "CALL bf()",
        {"dml-unbatched"},
        False,
    ),
    (
        "detach_conc_in_txn",
        READING,
        "ALTER TABLE reading DETACH PARTITION reading_2024 CONCURRENTLY",
        {"detach-partition"},
        False,
    ),
    (
        "partition_default",
        READING + "CREATE TABLE rest PARTITION OF reading DEFAULT;",
        "CREATE TABLE r26 PARTITION OF reading FOR VALUES FROM ('2026-01-01') TO ('2027-01-01')",
        {"create-partition-of"},
        False,
    ),
    ("drop_partition", READING, "DROP TABLE reading_2024", {"drop-table"}, False),
    ("reindex_schema", INVOICE, "REINDEX TABLE invoice", {"reindex"}, False),
    ("reindex_index_conc", INVOICE, "REINDEX INDEX CONCURRENTLY invoice_pkey", NONE, True),
    (
        "unique_cic",
        INVOICE,
        "CREATE UNIQUE INDEX CONCURRENTLY u ON invoice(total)",
        {"create-unique-index"},
        True,
    ),
    ("unique_cic_implied", INVOICE, "CREATE UNIQUE INDEX CONCURRENTLY u ON invoice(id, total)", NONE, True),
    ("truncate_only", ACCOUNT, "TRUNCATE ONLY account RESTART IDENTITY", {"truncate"}, False),
    (
        "rename_view",
        ACCOUNT + "CREATE VIEW v AS SELECT id FROM account;",
        "ALTER VIEW v RENAME TO w",
        {"rename-table"},
        False,
    ),
    (
        "rename_table_view",
        ACCOUNT,
        "ALTER TABLE account RENAME TO client; CREATE VIEW account AS SELECT * FROM client",
        NONE,
        False,
    ),
    ("rename_seq", ACCOUNT + "CREATE SEQUENCE s;", "ALTER SEQUENCE s RENAME TO s2", NONE, False),
    (
        "set_schema_view",
        ACCOUNT + "CREATE SCHEMA crm; CREATE VIEW v AS SELECT id FROM account;",
        "ALTER VIEW v SET SCHEMA crm",
        {"set-schema"},
        False,
    ),
    (
        "set_schema_type",
        TICKET + "CREATE SCHEMA crm;",
        "ALTER TYPE ticket_state SET SCHEMA crm",
        {"set-schema"},
        False,
    ),
    (
        "logged",
        "CREATE UNLOGGED TABLE u (id bigint PRIMARY KEY); INSERT INTO u SELECT generate_series(1,100);",
        "ALTER TABLE u SET LOGGED",
        {"set-unlogged"},
        False,
    ),
    (
        "cluster_all",
        INVOICE + "CLUSTER invoice USING invoice_pkey;",
        "CLUSTER invoice",
        {"cluster-vacuum-full"},
        False,
    ),
    ("enable_trigger_all", ACCOUNT, "ALTER TABLE account DISABLE TRIGGER ALL", {"toggle-trigger"}, False),
    (
        "several_statements_in_one_text",
        INVOICE + "CREATE INDEX i ON invoice(kind);",
        "DROP INDEX CONCURRENTLY i; CREATE INDEX CONCURRENTLY i ON invoice(kind,total)",
        {"index-concurrently-in-txn"},
        True,
    ),
    (
        "pending2",
        DEFERRED,
        "UPDATE o SET a = 1 WHERE id = 1; ALTER TABLE o ADD COLUMN z int",
        {"pending-trigger-events"},
        False,
    ),
    (
        "pending_ok",
        DEFERRED,
        "UPDATE o SET n = 'x' WHERE id = 1; ALTER TABLE o ADD COLUMN z int",
        NONE,
        False,
    ),
    (
        "pending_immediate",
        DEFERRED,
        "INSERT INTO o VALUES (1,1); SET CONSTRAINTS ALL IMMEDIATE; ALTER TABLE o ADD COLUMN z int",
        NONE,
        False,
    ),
    ("create_table_as", INVOICE, "CREATE TABLE k AS SELECT kind FROM invoice", NONE, False),
    ("lock_share", INVOICE, "LOCK TABLE invoice IN SHARE MODE", {"explicit-lock"}, False),
    ("lock_rx", INVOICE, "LOCK TABLE invoice IN ROW EXCLUSIVE MODE", NONE, False),
    (
        "fk_two_parents",
        ACCOUNT + INVOICE,
        "CREATE TABLE c (id bigint PRIMARY KEY, a bigint REFERENCES account(id), i bigint REFERENCES invoice(id)); CREATE INDEX ON c(a); CREATE INDEX ON c(i)",
        {"create-table-fk"},
        False,
    ),
    ("drop_type_cascade", TICKET, "DROP TYPE ticket_state CASCADE", {"drop-column"}, False),
    (
        "drop_table_cascade_view",
        ACCOUNT + "CREATE VIEW v AS SELECT id FROM account;",
        "DROP TABLE account CASCADE",
        {"drop-table"},
        False,
    ),
    (
        "refresh_in_do",
        SALE,
        "DO $$ BEGIN REFRESH MATERIALIZED VIEW shop_total; END $$",
        {"refresh-matview"},
        False,
    ),
    ("delete_unique_in", INVOICE, "DELETE FROM invoice WHERE id IN (1,2,3)", NONE, False),
    ("delete_date", INVOICE, "DELETE FROM invoice WHERE issued < '2024-02-01'", {"dml-unbatched"}, False),
    ("delete_open_range", INVOICE, "DELETE FROM invoice WHERE id > 10", {"dml-unbatched"}, False),
    (
        "index_partitioned_drop",
        READING + "CREATE INDEX i ON reading(device);",
        "DROP INDEX CONCURRENTLY i",
        {"index-on-partitioned"},
        True,
    ),
    (
        "rename_partition_col",
        READING,
        "ALTER TABLE reading RENAME COLUMN v TO value",
        {"rename-column"},
        False,
    ),
    (
        "attach_index",
        READING + "CREATE INDEX i ON ONLY reading(device); CREATE INDEX i24 ON reading_2024(device);",
        "ALTER INDEX i ATTACH PARTITION i24",
        NONE,
        False,
    ),
    (
        "drop_multi_constraint",
        INVOICE + "ALTER TABLE invoice ADD CONSTRAINT u UNIQUE (kind, issued);",
        "ALTER TABLE invoice DROP COLUMN kind",
        {"drop-column", "drop-column-dependents"},
        False,
    ),
    (
        "drop_column_single_index",
        INVOICE + "CREATE INDEX i ON invoice(kind);",
        "ALTER TABLE invoice DROP COLUMN kind",
        {"drop-column"},
        False,
    ),
    (
        "add_drop_col",
        INVOICE,
        "ALTER TABLE invoice ADD COLUMN z int; ALTER TABLE invoice DROP COLUMN z",
        NONE,
        False,
    ),
    (
        "temp_dml",
        INVOICE,
        "CREATE TEMP TABLE p (id int); INSERT INTO p VALUES (1); UPDATE p SET id=2; DELETE FROM p; DROP TABLE p",
        NONE,
        False,
    ),
    (
        "new_all",
        "CREATE TABLE t0(id bigint primary key);",
        "CREATE TABLE f (id bigint PRIMARY KEY, a text); INSERT INTO f VALUES (1,'x'); UPDATE f SET a='y'; CREATE INDEX ON f(a); ALTER TABLE f RENAME COLUMN a TO b; ALTER TABLE f DROP COLUMN b; ALTER TABLE f RENAME TO g; TRUNCATE g; LOCK TABLE g; DROP TABLE g",
        NONE,
        False,
    ),
    (
        "hidden_weak_lock",
        ACCOUNT + INVOICE,
        "DO $$ BEGIN LOCK TABLE invoice IN SHARE MODE; END $$; DO $$ BEGIN LOCK TABLE account IN ROW EXCLUSIVE MODE; END $$",
        {"explicit-lock"},
        False,
    ),
    (
        "hidden_for_update",
        ACCOUNT,
        "DO $$ BEGIN PERFORM id FROM account FOR UPDATE; END $$",
        {"explicit-lock"},
        False,
    ),
    (
        "hidden_for_update_of_one",
        ACCOUNT,
        "DO $$ BEGIN PERFORM id FROM account WHERE id = 1 FOR UPDATE; END $$",
        NONE,
        False,
    ),
    (
        "hidden_copy",
        INVOICE + "CREATE TABLE old (LIKE invoice);",
        "DO $$ BEGIN INSERT INTO old SELECT * FROM invoice; END $$",
        {"dml-unbatched"},
        False,
    ),
    (
        "hidden_insert_unless_there",
        INVOICE,
        (
            "DO $$ BEGIN IF NOT EXISTS (SELECT 1 FROM invoice WHERE kind = 'new') THEN "
            "INSERT INTO invoice (id, total) VALUES (-7, 1); END IF; END $$"
        ),
        NONE,
        False,
    ),
    (
        "update_one_that_a_query_finds",
        ACCOUNT + INVOICE,
        "UPDATE account SET note = 'x' WHERE id = (SELECT max(i.account_id) FROM invoice i)",
        NONE,
        False,
    ),
    (
        "update_all_that_a_query_finds",
        ACCOUNT + INVOICE,
        "UPDATE account SET note = 'x' WHERE id = (SELECT max(i.account_id) FROM invoice i WHERE i.account_id = account.id)",
        {"dml-unbatched"},
        False,
    ),
    (
        "drop_identity",
        ACCOUNT,
        "ALTER TABLE account ALTER COLUMN id DROP IDENTITY",
        {"drop-default"},
        False,
    ),
    (
        "drop_expression",
        "CREATE TABLE g (id bigint PRIMARY KEY, a int, b int GENERATED ALWAYS AS (a * 2) STORED);",
        "ALTER TABLE g ALTER COLUMN b DROP EXPRESSION",
        {"drop-default"},
        False,
    ),
    (
        "another_identity",
        ACCOUNT,
        (
            "ALTER TABLE account ALTER COLUMN id DROP IDENTITY; "
            "ALTER TABLE account ALTER COLUMN id ADD GENERATED BY DEFAULT AS IDENTITY"
        ),
        NONE,
        False,
    ),
]


@pytest.mark.parametrize(
    ("setup", "sql", "expected", "autocommit"), [case[1:] for case in CASES], ids=[case[0] for case in CASES]
)
async def test_a_statement_has_exactly_these_hazards(judged, setup, sql, expected, autocommit):
    run = await judged(setup, as_body(sql, autocommit=autocommit))
    assert run.hazards == expected, [(found.hazard, found.why) for found in run.findings]


async def test_an_index_of_a_partitioned_table_is_measured_on_its_partitions(judged):
    run = await judged(READING, as_body("CREATE INDEX i ON reading(device)"))
    assert run.finding("create-index").scans


async def test_a_column_s_cascade_names_what_goes_along(judged):
    setup = ACCOUNT + "CREATE VIEW v AS SELECT id, nick FROM account;"
    run = await judged(setup, as_body("ALTER TABLE account DROP COLUMN nick CASCADE"))
    assert "view public.v along" in run.finding("drop-column").why
