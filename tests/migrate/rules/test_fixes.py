"""Each hazard is found where it is, with the lock that is said of it; and what its fix says gives no finding."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

import pytest

from dbctl.migrate.rules.registry import load
from tests.migrate.rules.conftest import as_body
from tests.migrate.rules.more_cases import ACCOUNT, FK, INVOICE, NOOP, READING, SALE, TICKET

_REVISION = re.compile(r"^# revision \d+\n", re.MULTILINE)
KIND = INVOICE + "CREATE INDEX invoice_kind ON invoice (kind);"
BROKEN = KIND + "UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'invoice_kind'::regclass;"
DEFERRED = (
    ACCOUNT
    + "CREATE TABLE o (id bigint PRIMARY KEY, a bigint REFERENCES account DEFERRABLE INITIALLY DEFERRED);"
)


@dataclass(frozen=True)
class Bad:
    """SQL that brings a hazard, and what a person fills into the fix."""

    hazard: str
    setup: str
    sql: str
    filled: dict[str, str] = field(default_factory=dict)
    autocommit: bool = False
    lock: bool = True


CASES = [
    Bad("create-index", INVOICE, "CREATE INDEX invoice_kind ON invoice (kind)"),
    Bad("create-unique-index", INVOICE, "CREATE UNIQUE INDEX invoice_total ON invoice (total)"),
    Bad("index-concurrently-in-txn", INVOICE, "CREATE INDEX CONCURRENTLY invoice_kind ON invoice (kind)"),
    Bad(
        "cic-if-not-exists",
        BROKEN,
        "CREATE INDEX CONCURRENTLY IF NOT EXISTS invoice_kind ON invoice (kind)",
        autocommit=True,
    ),
    Bad(
        "index-on-partitioned",
        READING.replace("CREATE TABLE reading_2025", "--"),
        "CREATE INDEX CONCURRENTLY reading_v ON reading (v)",
        autocommit=True,
    ),
    Bad(
        "alter-type-narrowing",
        ACCOUNT + "UPDATE account SET note = '1';",
        "ALTER TABLE account ALTER COLUMN note TYPE int USING note::int",
    ),
    Bad(
        "dependent-view",
        ACCOUNT + "CREATE TABLE log (n text); CREATE RULE r AS ON UPDATE TO account DO ALSO"
        " INSERT INTO log VALUES (NEW.nick || ':x');",
        "ALTER TABLE account ALTER COLUMN nick TYPE text",
        lock=False,
    ),
    Bad(
        "detach-partition",
        READING,
        "ALTER TABLE reading DETACH PARTITION reading_2024 CONCURRENTLY",
        lock=False,
    ),
    Bad(
        "add-unique",
        ACCOUNT,
        "ALTER TABLE account ADD CONSTRAINT u UNIQUE NULLS NOT DISTINCT (email) DEFERRABLE",
    ),
    Bad("drop-index", KIND, "DROP INDEX invoice_kind"),
    Bad(
        "replace-index",
        KIND,
        "DROP INDEX invoice_kind; CREATE INDEX invoice_kind ON invoice (kind, total)",
    ),
    Bad(
        "wide-index",
        INVOICE,
        "CREATE INDEX i ON invoice (account_id, total, kind, issued)",
        {"column": "kind"},
    ),
    Bad("hash-index", INVOICE, "CREATE INDEX i ON invoice USING hash (kind)"),
    Bad("reindex", KIND, "REINDEX TABLE invoice"),
    Bad("reindex", KIND, "REINDEX INDEX invoice_kind"),
    Bad("drop-table", INVOICE, "DROP TABLE invoice"),
    Bad("drop-column", INVOICE, "ALTER TABLE invoice DROP COLUMN kind"),
    Bad(
        "drop-column-dependents",
        INVOICE + "CREATE INDEX both_of ON invoice (kind, total);",
        "ALTER TABLE invoice DROP COLUMN kind",
    ),
    Bad(
        "drop-schema",
        "CREATE SCHEMA crm; CREATE TABLE crm.lead (id bigint PRIMARY KEY);",
        "DROP SCHEMA crm CASCADE",
    ),
    Bad("truncate", INVOICE, "TRUNCATE invoice"),
    Bad("truncate-cascade", ACCOUNT + INVOICE + FK, "TRUNCATE account CASCADE"),
    Bad("drop-view", ACCOUNT + "CREATE VIEW v AS SELECT id FROM account;", "DROP VIEW v"),
    Bad("rename-column", ACCOUNT, "ALTER TABLE account RENAME COLUMN nick TO nickname"),
    Bad("rename-table", ACCOUNT, "ALTER TABLE account RENAME TO client"),
    Bad("rename-schema", "CREATE SCHEMA crm;", "ALTER SCHEMA crm RENAME TO sales"),
    Bad("rename-enum-value", TICKET, "ALTER TYPE ticket_state RENAME VALUE 'closed' TO 'done'"),
    Bad("set-schema", ACCOUNT + "CREATE SCHEMA crm;", "ALTER TABLE account SET SCHEMA crm"),
    Bad("set-unlogged", ACCOUNT, "ALTER TABLE account SET UNLOGGED"),
    Bad(
        "set-access-method",
        ACCOUNT + "CREATE ACCESS METHOD heap2 TYPE TABLE HANDLER heap_tableam_handler;",
        "ALTER TABLE account SET ACCESS METHOD heap2",
    ),
    Bad("cluster-vacuum-full", INVOICE, "CLUSTER invoice USING invoice_pkey"),
    Bad("refresh-matview", SALE, "REFRESH MATERIALIZED VIEW shop_total"),
    Bad(
        "create-partition-of",
        READING,
        "CREATE TABLE reading_2026 PARTITION OF reading FOR VALUES FROM ('2026-01-01') TO ('2027-01-01')",
        {"bounds": "FOR VALUES FROM ('2026-01-01') TO ('2027-01-01')"},
    ),
    Bad(
        "attach-partition",
        READING + "CREATE TABLE reading_2026 (LIKE reading INCLUDING ALL);",
        "ALTER TABLE reading ATTACH PARTITION reading_2026 FOR VALUES FROM ('2026-01-01') TO ('2027-01-01')",
        {
            "bounds": "FOR VALUES FROM ('2026-01-01') TO ('2027-01-01')",
            "check": "ts IS NOT NULL AND ts >= '2026-01-01' AND ts < '2027-01-01'",
        },
    ),
    Bad("detach-partition", READING, "ALTER TABLE reading DETACH PARTITION reading_2024"),
    Bad(
        "create-table-fk",
        ACCOUNT,
        "CREATE TABLE child (id bigint PRIMARY KEY, account_id bigint REFERENCES account)",
    ),
    Bad(
        "create-trigger",
        ACCOUNT + NOOP,
        "CREATE TRIGGER t BEFORE UPDATE ON account FOR EACH ROW EXECUTE FUNCTION noop()",
    ),
    Bad(
        "toggle-trigger",
        ACCOUNT + NOOP + "CREATE TRIGGER t BEFORE UPDATE ON account FOR EACH ROW EXECUTE FUNCTION noop();",
        "ALTER TABLE account DISABLE TRIGGER t",
    ),
    Bad(
        "drop-trigger",
        ACCOUNT + NOOP + "CREATE TRIGGER t BEFORE UPDATE ON account FOR EACH ROW EXECUTE FUNCTION noop();",
        "DROP TRIGGER t ON account",
    ),
    Bad("rls-enable", ACCOUNT, "ALTER TABLE account ENABLE ROW LEVEL SECURITY"),
    Bad(
        "enum-add-value-txn",
        TICKET,
        "ALTER TYPE ticket_state ADD VALUE 'waiting'; UPDATE ticket SET state = 'waiting' WHERE id = 1",
    ),
    Bad("dml-unbatched", ACCOUNT, "UPDATE account SET note = 'x'", {"…": "'x'"}),
    Bad("dml-unbatched", INVOICE, "DELETE FROM invoice"),
    Bad(
        "dml-unbatched",
        INVOICE + "CREATE TABLE archive (LIKE invoice INCLUDING ALL);",
        "INSERT INTO archive SELECT * FROM invoice",
        {"…": "id > (SELECT coalesce(max(id), 0) FROM archive)"},
        lock=False,
    ),
    Bad(
        "dml-under-ddl-lock",
        ACCOUNT,
        "ALTER TABLE account ADD COLUMN x int; UPDATE account SET note = 'x'",
        {"…": "'x'"},
    ),
    Bad("explicit-lock", INVOICE, "LOCK TABLE invoice"),
    Bad(
        "multi-table-locks",
        ACCOUNT + INVOICE,
        "ALTER TABLE account ADD COLUMN x int; ALTER TABLE invoice ADD COLUMN x int",
    ),
    Bad(
        "ddl-under-exclusive",
        ACCOUNT + INVOICE + "ALTER TABLE invoice ADD CONSTRAINT c CHECK (total > 0) NOT VALID;",
        "ALTER TABLE account ADD COLUMN x int; ALTER TABLE invoice VALIDATE CONSTRAINT c",
    ),
    Bad("pending-trigger-events", DEFERRED, "INSERT INTO o VALUES (1, 1); ALTER TABLE o ADD COLUMN z int"),
    Bad("no-lock-timeout", ACCOUNT, "SET lock_timeout = 0; ALTER TABLE account ADD COLUMN x int"),
    Bad("hidden-ddl", ACCOUNT, "DO $$ BEGIN CLUSTER account USING account_pkey; END $$"),
]


@pytest.mark.parametrize("bad", CASES, ids=lambda bad: bad.hazard)
async def test_it_is_found_with_the_lock_that_is_said_of_it(judged, bad):
    run = await judged(bad.setup, as_body(bad.sql, autocommit=bad.autocommit))
    found = run.finding(bad.hazard)
    if bad.lock and load()[bad.hazard].lock is not None and found.lock_mode is not None:
        assert found.lock_mode == load()[bad.hazard].lock


@pytest.mark.parametrize("bad", CASES, ids=lambda bad: bad.hazard)
async def test_its_fix_gives_no_finding(judged, bad):
    setup = bad.setup
    before = await judged(setup, as_body(bad.sql, autocommit=bad.autocommit))
    fix = before.finding(bad.hazard).fix
    for name, text in bad.filled.items():
        fix = fix.replace(name if name == "…" else f"<{name}>", text)
    assert not re.search(r"<\w+>|…", fix), fix
    bodies = [body + "\npass" for body in _REVISION.split(fix) if body.strip()]
    after = await judged(setup, *bodies)
    assert [(each.hazard, each.why) for each in after.open] == []
    # Made-up rows know nothing of a constraint that is made after them.
    assert [each.failure for each in after.traces if each.failure and not each.failure.on_rows] == []
    assert [judgement.unused_accepts for judgement in after.judgements] == [()] * len(bodies)
