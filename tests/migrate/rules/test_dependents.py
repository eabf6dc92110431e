"""What goes along with what is dropped, what a new table lacks, and several tables in one statement."""

from __future__ import annotations

import pytest

from tests.migrate.rules.conftest import as_body
from tests.migrate.rules.more_cases import ACCOUNT, FK, INVOICE, NOOP

VIEW = ACCOUNT + "CREATE VIEW v AS SELECT id, nick FROM account;"
TRIGGER = ACCOUNT + NOOP + "CREATE TRIGGER t BEFORE UPDATE ON account FOR EACH ROW EXECUTE FUNCTION noop();"
CHILD = "CREATE TABLE child (id bigint PRIMARY KEY, account_id {type} REFERENCES account)"
RULE = (
    ACCOUNT
    + "CREATE TABLE log (n text); CREATE RULE r AS ON UPDATE TO account DO ALSO INSERT INTO log VALUES (NEW.nick);"
)
WAITING = (
    ACCOUNT
    + "CREATE TABLE o (id bigint PRIMARY KEY, a bigint REFERENCES account DEFERRABLE INITIALLY DEFERRED, n text);"
)
MOVED = "CREATE SCHEMA s; CREATE FUNCTION f(a int) RETURNS int LANGUAGE sql AS 'SELECT 1';"
INDEXES = "CREATE INDEX ik ON invoice (kind); CREATE INDEX an ON account (nick);"
CASES = [
    (TRIGGER, "DROP FUNCTION noop() CASCADE", {"drop-trigger"}),
    (VIEW, "DROP VIEW v; CREATE VIEW v AS SELECT id FROM account", {"drop-view"}),
    (VIEW, "DROP VIEW v; CREATE VIEW v (id, nick) AS SELECT id, lower(nick) FROM account", set()),
    (VIEW, "DROP VIEW v; CREATE VIEW v AS SELECT * FROM account", set()),
    (VIEW, "DROP TABLE account", {"drop-table", "dependent-view"}),
    ("", "DROP SCHEMA IF EXISTS nope CASCADE", set()),
    ("CREATE SCHEMA crm;", "DROP SCHEMA crm", set()),
    (ACCOUNT + INVOICE, "TRUNCATE account, invoice", {"truncate", "multi-table-locks"}),
    (ACCOUNT + INVOICE, "LOCK TABLE account, invoice IN SHARE MODE", {"explicit-lock", "multi-table-locks"}),
    (ACCOUNT + INVOICE + INDEXES, "DROP INDEX ik, an", {"drop-index", "multi-table-locks"}),
    (ACCOUNT + INVOICE, "DROP TABLE account, invoice", {"drop-table"}),
    (
        ACCOUNT + INVOICE + FK,
        "ALTER TABLE account DROP CONSTRAINT account_pkey CASCADE",
        {"drop-pk", "drop-constraint"},
    ),
    (ACCOUNT, CHILD.format(type="bigint"), {"create-table-fk", "fk-no-index"}),
    (ACCOUNT, CHILD.format(type="int"), {"create-table-fk", "fk-no-index", "fk-type-mismatch"}),
    (ACCOUNT, CHILD.format(type="bigint UNIQUE"), {"create-table-fk"}),
    (ACCOUNT, CHILD.format(type="bigint") + "; CREATE INDEX ON child (account_id, id)", {"create-table-fk"}),
    (ACCOUNT, "UPDATE account SET note = 'x' WHERE nick LIKE 'n1%'", {"dml-unbatched"}),
    (RULE, "ALTER TABLE account ALTER COLUMN nick TYPE text", {"dependent-view"}),
    (RULE, "ALTER TABLE account DROP COLUMN nick", {"drop-column", "dependent-view"}),
    (WAITING, "INSERT INTO o VALUES (5, 1); ALTER TABLE o DROP COLUMN n", {"pending-trigger-events"}),
    (WAITING, "INSERT INTO o VALUES (5, 1); CREATE INDEX i ON o (n)", {"pending-trigger-events"}),
    (
        INVOICE,
        "ALTER TABLE invoice ADD COLUMN y int; CREATE TABLE k AS SELECT kind FROM invoice",
        {"ddl-under-exclusive"},
    ),
    (MOVED, "ALTER FUNCTION f(int) SET SCHEMA s", {"set-schema"}),
    (
        ACCOUNT,
        "ALTER TABLE account ALTER COLUMN note TYPE int USING length(note)",
        {"alter-type-rewrite", "alter-type-narrowing"},
    ),
    (ACCOUNT, "CREATE COLLATION c (locale = 'xx_YY.utf8')", {"scratch-lacks"}),
    (ACCOUNT, "SELECT pg_create_logical_replication_slot('s', 'pgoutput')", {"scratch-lacks"}),
    (
        ACCOUNT + "CREATE INDEX an ON account (nick);",
        "DELETE FROM account WHERE nick LIKE 'n1%'",
        {"dml-unbatched"},
    ),
    (
        ACCOUNT + "CREATE INDEX an ON account (nick);",
        "DELETE FROM account WHERE nick <> 'n1'",
        {"dml-unbatched"},
    ),
]


@pytest.mark.parametrize(("setup", "sql", "expect"), CASES, ids=[case[1] for case in CASES])
async def test_it_gives_exactly_these(judged, setup, sql, expect):
    run = await judged(setup, as_body(sql))
    assert run.hazards == expect, [(each.hazard, each.why) for each in run.findings]


async def test_no_scan_on_scratch_makes_a_pattern_no_less_bad(judged):
    setup = ACCOUNT + "CREATE INDEX an ON account (nick);"
    run = await judged(setup, as_body("DELETE FROM account WHERE nick LIKE 'n1%'"))
    assert run.finding("dml-unbatched").level == "danger"


async def test_nothing_is_run_to_say_that_there_is_no_way_back(judged):
    run = await judged(ACCOUNT, "op.drop_column('account', 'note')")
    (found,) = [each for each in run.judgements[0].findings if each.hazard == "irreversible"]
    assert all(line.startswith("#") for line in found.fix.splitlines())
