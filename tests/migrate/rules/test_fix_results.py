"""A fix runs, brings nothing of its own, and leaves the very catalog that the statement leaves which it is for."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

import pytest
import sqlalchemy as sa

from dbctl.postgres.catalog.objects import Snapshot, differences, read_snapshot
from tests.migrate.rules.conftest import as_body
from tests.migrate.rules.more_cases import ACCOUNT, NOOP

_REVISION = re.compile(r"^# revision \d+\n", re.MULTILINE)
WATCHED = (
    ACCOUNT
    + NOOP
    + """
CREATE TRIGGER t BEFORE UPDATE ON account FOR EACH ROW EXECUTE FUNCTION noop();
CREATE TRIGGER u AFTER DELETE ON account FOR EACH STATEMENT EXECUTE FUNCTION noop();
ALTER TABLE account DISABLE TRIGGER u;
"""
)


@dataclass(frozen=True)
class Case:
    """A statement, the hazard whose fix is applied, and what a person fills into it."""

    hazard: str
    setup: str
    sql: str
    filled: dict[str, str] = field(default_factory=dict)
    autocommit: bool = False


PARTED = """
CREATE SCHEMA crm;
CREATE TABLE sale (id bigint, at date NOT NULL, "Kind" text) PARTITION BY RANGE (at);
CREATE TABLE sale_2024 PARTITION OF sale FOR VALUES FROM ('2024-01-01') TO ('2025-01-01');
CREATE TABLE crm.sale_2025 PARTITION OF sale FOR VALUES FROM ('2025-01-01') TO ('2026-01-01');
INSERT INTO sale SELECT g, '2024-06-01', 'k' FROM generate_series(1, 60) g;
"""
NESTED = """
CREATE TABLE sale (id bigint NOT NULL, at date NOT NULL) PARTITION BY RANGE (at);
CREATE TABLE sale_2024 PARTITION OF sale FOR VALUES FROM ('2024-01-01') TO ('2025-01-01') PARTITION BY LIST (id);
CREATE TABLE sale_2024_rest PARTITION OF sale_2024 DEFAULT;
"""
CASES = [
    Case("create-index", PARTED, 'CREATE INDEX ON sale (lower("Kind") DESC, id) INCLUDE (at) WHERE id > 3'),
    Case("create-index", NESTED, "CREATE INDEX i ON sale (id)"),
    Case("create-index", PARTED, "CREATE UNIQUE INDEX i ON sale (id, at)"),
    Case("create-unique-index", PARTED, "CREATE UNIQUE INDEX i ON sale (id, at)"),
    Case("add-unique", PARTED, "ALTER TABLE sale ADD CONSTRAINT u UNIQUE (id, at) DEFERRABLE"),
    Case("add-unique", ACCOUNT, "ALTER TABLE account ADD UNIQUE (email)"),
    Case("add-pk", PARTED, "ALTER TABLE sale ADD PRIMARY KEY (id, at)"),
    Case(
        "add-pk", "CREATE TABLE pair (a int, b int);", "ALTER TABLE pair ADD CONSTRAINT p PRIMARY KEY (a, b)"
    ),
    Case(
        "create-trigger",
        ACCOUNT + NOOP,
        "CREATE TRIGGER t AFTER INSERT OR UPDATE OF nick ON account FOR EACH STATEMENT EXECUTE FUNCTION noop()",
    ),
    Case(
        "create-trigger",
        ACCOUNT + NOOP,
        'DO $$ BEGIN EXECUTE \'CREATE CONSTRAINT TRIGGER "T" AFTER UPDATE ON account DEFERRABLE FOR EACH ROW'
        " WHEN (NEW.nick = '':x'') EXECUTE FUNCTION noop()'; END $$",
    ),
    Case("toggle-trigger", WATCHED, "ALTER TABLE account DISABLE TRIGGER USER"),
    Case("toggle-trigger", WATCHED, "ALTER TABLE account DISABLE TRIGGER ALL"),
    Case("toggle-trigger", WATCHED, "ALTER TABLE account ENABLE REPLICA TRIGGER u"),
]


def bodies_of(case: Case, fix: str) -> list[str]:
    """The fix as bodies of ``upgrade()``, filled as a person would."""
    for name, text in case.filled.items():
        fix = fix.replace(name if name == "…" else f"<{name}>", text)
    assert not re.search(r"<\w+>|…", fix), fix
    return [body for body in _REVISION.split(fix) if body.strip()]


def catalog_of(scratch) -> Snapshot:
    """All that is in the database now."""
    engine = sa.create_engine(scratch.address.psycopg2_url())
    with engine.connect() as connection:
        snapshot = read_snapshot(connection)
    engine.dispose()
    return snapshot


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.hazard)
async def test_it_leaves_what_the_statement_leaves(judged, scratch, case):
    before = await judged(case.setup, as_body(case.sql, autocommit=case.autocommit), rows=False)
    wanted = catalog_of(scratch)
    after = await judged(case.setup, *bodies_of(case, before.finding(case.hazard).fix), rows=False)
    assert [each.failure for each in after.traces if each.failure] == []
    assert [(each.hazard, each.statement, each.why) for each in after.open] == []
    assert differences(wanted, catalog_of(scratch)).found == ()
