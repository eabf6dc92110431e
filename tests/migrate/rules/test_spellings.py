"""The same hazards in other words, and what looks like one and is none."""

from __future__ import annotations

import re

import pytest

from tests.migrate.rules.conftest import as_body
from tests.migrate.rules.more_cases import ACCOUNT, INVOICE, NOOP, READING, TICKET

RULE = ACCOUNT + "CREATE RULE r AS ON DELETE TO account DO INSTEAD NOTHING;"
POLICY = ACCOUNT + "CREATE POLICY p ON account USING (true);"
SECURED = POLICY + "ALTER TABLE account ENABLE ROW LEVEL SECURITY;"
PURE = ACCOUNT + "CREATE FUNCTION f(text) RETURNS text LANGUAGE sql IMMUTABLE AS 'SELECT $1';"
ORDER = 'CREATE SCHEMA crm; CREATE TABLE crm."Order" ("Id" bigint PRIMARY KEY, n text);'
COUNTED = (
    ORDER
    + """CREATE SEQUENCE crm."S";
    ALTER TABLE crm."Order" ALTER n SET DEFAULT nextval('crm."S"')::text;"""
)
COPY = ACCOUNT + "CREATE TABLE copy (id bigint PRIMARY KEY);"
BY_DEVICE = READING + "CREATE INDEX ri ON reading (device);"
VOLATILE = ACCOUNT + "CREATE DOMAIN tok AS uuid DEFAULT gen_random_uuid();"
NONE: set[str] = set()
CASES = [
    (ACCOUNT, "CREATE OR REPLACE RULE r AS ON UPDATE TO account DO ALSO NOTHING", {"create-trigger"}),
    (
        ACCOUNT,
        "DO $$ BEGIN CREATE RULE r AS ON UPDATE TO account DO ALSO NOTHING; END $$",
        {"create-trigger"},
    ),
    (
        "",
        "CREATE TABLE z (id bigint PRIMARY KEY); CREATE RULE r AS ON INSERT TO z DO INSTEAD NOTHING; DROP RULE r ON z",
        NONE,
    ),
    (RULE, "DROP RULE r ON account", {"drop-trigger"}),
    (RULE, "DROP RULE r ON account; CREATE RULE r AS ON DELETE TO account DO ALSO NOTHING", NONE),
    (ACCOUNT, "DROP RULE IF EXISTS r ON account", NONE),
    (SECURED, "DROP POLICY p ON account", {"rls-enable"}),
    (SECURED, "DROP POLICY IF EXISTS q ON account", NONE),
    (POLICY, "DROP POLICY p ON account", NONE),
    (PURE + "CREATE VIEW v AS SELECT f(nick) FROM account;", "DROP FUNCTION f CASCADE", {"drop-view"}),
    (
        PURE + "CREATE MATERIALIZED VIEW v AS SELECT f(nick) FROM account;",
        "DO $$ BEGIN DROP FUNCTION f CASCADE; END $$",
        {"drop-view"},
    ),
    (PURE + "CREATE INDEX i ON account (f(nick));", "DROP FUNCTION f(text) CASCADE", {"drop-index"}),
    (
        PURE + "ALTER TABLE account ALTER note SET DEFAULT f('x');",
        "DROP FUNCTION f CASCADE",
        {"drop-default"},
    ),
    (COUNTED, 'DROP SEQUENCE crm."S" CASCADE', {"drop-default"}),
    (
        ORDER + NOOP + 'CREATE TRIGGER t BEFORE UPDATE ON crm."Order" FOR EACH ROW EXECUTE FUNCTION noop();',
        "DROP FUNCTION noop CASCADE",
        {"drop-trigger"},
    ),
    (
        ORDER + 'CREATE TYPE crm."T" AS ENUM (\'a\'); ALTER TABLE crm."Order" ADD x crm."T";',
        'DROP TYPE crm."T" CASCADE',
        {"drop-column"},
    ),
    (
        "CREATE TABLE z (id bigserial PRIMARY KEY, n serial);",
        "ALTER TABLE z DROP COLUMN n",
        {"drop-column"},
    ),
    (COPY, "DO $$ BEGIN INSERT INTO copy SELECT id FROM account; END $$", {"dml-unbatched"}),
    (COPY, "DO $$ BEGIN INSERT INTO copy SELECT id FROM account WHERE id = 4; END $$", NONE),
    (COPY, "DO $$ BEGIN IF false THEN INSERT INTO copy SELECT id FROM account; END IF; END $$", NONE),
    (
        TICKET,
        "DO $$ BEGIN ALTER TYPE ticket_state RENAME VALUE 'closed' TO 'shut'; END $$",
        {"rename-enum-value"},
    ),
    (VOLATILE, "ALTER TABLE account ADD COLUMN t tok NOT NULL", {"add-col-volatile-default"}),
    (
        VOLATILE + 'CREATE SCHEMA "S"; CREATE DOMAIN "S"."Tok" AS tok;',
        'DO $$ BEGIN ALTER TABLE account ADD COLUMN t "S"."Tok"; END $$',
        {"add-col-volatile-default"},
    ),
    (
        VOLATILE + "ALTER DOMAIN tok ADD CHECK (VALUE IS NOT NULL);",
        "ALTER TABLE account ADD COLUMN t tok",
        {"add-col-constrained-domain"},
    ),
    (ACCOUNT + "CREATE DOMAIN tok AS text DEFAULT 'x';", "ALTER TABLE account ADD COLUMN t tok", NONE),
]
ALONE = [
    ("REINDEX INDEX ri", {"reindex"}, "ShareLock"),
    ("REINDEX TABLE reading", {"reindex"}, "ShareLock"),
]


@pytest.mark.parametrize(("setup", "sql", "expect"), CASES, ids=[case[1][:80] for case in CASES])
async def test_it_gives_exactly_these(judged, setup, sql, expect):
    run = await judged(setup, as_body(sql))
    assert run.hazards == expect, [(each.hazard, each.why) for each in run.findings]


@pytest.mark.parametrize(("sql", "expect", "lock"), ALONE)
async def test_what_goes_partition_by_partition_runs_outside_of_a_transaction(judged, sql, expect, lock):
    run = await judged(BY_DEVICE, as_body(sql, autocommit=True))
    assert run.hazards == expect, [(each.hazard, each.why) for each in run.findings]
    assert run.findings[0].lock_mode == lock


async def test_a_foreign_key_inside_a_block_reads_both_tables(judged):
    setup = ACCOUNT + INVOICE + "CREATE INDEX invoice_acc ON invoice (account_id);"
    add = "ALTER TABLE invoice ADD FOREIGN KEY (account_id) REFERENCES account{}"
    run = await judged(
        setup,
        as_body(f"DO $$ BEGIN {add.format('')}; END $$"),
        as_body(f"DO $$ BEGIN {add.format(' NOT VALID')}; END $$"),
    )
    assert [(each.hazard, each.scans) for each in run.findings] == [("add-fk", True)]


async def test_a_domain_s_default_goes_to_new_rows_first_and_to_the_old_in_batches(judged):
    run = await judged(VOLATILE, as_body("ALTER TABLE account ADD COLUMN t tok"))
    fix = run.finding("add-col-volatile-default").fix
    bodies = [body for body in re.split(r"# revision \d+\n", fix) if body.strip()]
    asked = """assert op.get_bind().scalar(sa.text(
        "SELECT count(*) = count(DISTINCT t) AND count(*) > 1 FROM account"))"""
    inserted = "op.execute(\"INSERT INTO account (email) VALUES ('new')\")"
    after = await judged(VOLATILE, f"{bodies[0]}\n{inserted}", bodies[1], asked)
    assert after.hazards == set(), [(each.hazard, each.why) for each in after.findings]
