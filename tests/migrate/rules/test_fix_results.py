"""A fix runs, brings nothing of its own, and leaves the very catalog that the statement leaves which it is for."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

import pytest
import sqlalchemy as sa

from dbctl.postgres.catalog.objects import Snapshot, differences, read_snapshot
from tests.migrate.rules.conftest import as_body
from tests.migrate.rules.more_cases import ACCOUNT, NOOP

_TABLES = "SELECT CAST(oid AS regclass)::text FROM pg_class WHERE relkind = 'r' AND relname <> 'alembic_version' AND oid >= 16384"
_ROWS = "SELECT array_agg(CAST(r AS text) ORDER BY CAST(r AS text)) FROM ONLY {} AS r"
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
    # What leaves what was wanted, where the statement fails.
    meant: str = ""
    # What is true of the fix too.
    stays: frozenset[str] = frozenset()
    changed: frozenset[str] = frozenset()


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
TREE = """
CREATE SCHEMA crm;
CREATE TABLE node (id serial PRIMARY KEY, up int REFERENCES node);
CREATE TABLE crm."Leaf" (id int PRIMARY KEY, node_id int REFERENCES node);
CREATE TABLE worm (leaf_id int REFERENCES crm."Leaf");
INSERT INTO node (up) SELECT nullif(g - 1, 0) FROM generate_series(1, 5) g;
INSERT INTO crm."Leaf" SELECT g, g FROM generate_series(1, 5) g;
INSERT INTO worm SELECT g FROM generate_series(1, 5) g;
"""
SEEN = """
CREATE SCHEMA crm;
CREATE TABLE crm."Client" (id int PRIMARY KEY, kind text, "Of" int, UNIQUE (kind, "Of"));
CREATE TABLE deal (id int PRIMARY KEY, client_id int CONSTRAINT "Fk" REFERENCES crm."Client");
CREATE INDEX "Kinds" ON crm."Client" (kind, id);
CREATE VIEW crm."V" AS SELECT kind AS k FROM crm."Client";
CREATE VIEW w AS SELECT * FROM crm."V";
CREATE MATERIALIZED VIEW m AS SELECT k FROM w;
"""
KEYED = """
CREATE TABLE parent (a int, b bigint, PRIMARY KEY (a, b));
CREATE TABLE child (id int PRIMARY KEY, a int, b int);
CREATE INDEX child_a_b_idx ON child (a, b); CREATE INDEX "child_a_b_new_idx" ON child (b);
"""
MOMENT = """
CREATE TABLE happened (id int PRIMARY KEY, seen timestamptz);
INSERT INTO happened SELECT g, '2024-01-01 12:00+00' FROM generate_series(1, 60) g;
"""
LINKED = """CREATE TABLE crm."Child" (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, n text NOT NULL DEFAULT ':x',
    up bigint REFERENCES crm."Child", parent_a int, parent_b bigint UNIQUE, account_id bigint CONSTRAINT "Acc"
    REFERENCES account ON DELETE CASCADE DEFERRABLE INITIALLY DEFERRED, CHECK (n <> ''),
    FOREIGN KEY (parent_b) REFERENCES account (id))"""
MERGED = """
CREATE TABLE old (id int PRIMARY KEY, n text); INSERT INTO old SELECT g, 'o' FROM generate_series(1, 60) g;
CREATE TABLE "New" (id int PRIMARY KEY, n text); INSERT INTO "New" SELECT g, 'n' FROM generate_series(31, 90) g;
"""
CASES = [
    Case(
        "alter-type-rewrite",
        "CREATE DOMAIN positive AS int CHECK (VALUE >= 0); CREATE TABLE n (id int PRIMARY KEY, v int);"
        "INSERT INTO n SELECT g, g FROM generate_series(1, 60) g;",
        "ALTER TABLE n ALTER COLUMN v TYPE positive",
        meant="""ALTER TABLE n ADD COLUMN v_new int, ADD CONSTRAINT v_domain
            CHECK (v_new IS NULL OR CAST(v_new AS positive) IS NOT NULL); UPDATE n SET v_new = v""",
    ),
    Case(
        "dml-unbatched",
        MERGED,
        """MERGE INTO old o USING "New" ON o.id = "New".id WHEN MATCHED AND o.id < 40 THEN DELETE
        WHEN MATCHED THEN UPDATE SET n = 'x:y' WHEN NOT MATCHED THEN INSERT VALUES ("New".id, "New".n)""",
        {"part": "id BETWEEN 1 AND 1000"},
    ),
    Case(
        "ddl-under-exclusive",
        ACCOUNT,
        "ALTER TABLE account ADD COLUMN t text; CREATE UNIQUE INDEX i ON account (email)",
    ),
    Case(
        "create-table-fk",
        ACCOUNT + "CREATE SCHEMA crm;",
        LINKED,
        meant=f'{LINKED}; CREATE INDEX "Child_account_id_idx" ON crm."Child" (account_id)',
    ),
    Case(
        "int-pk",
        "CREATE SCHEMA crm;",
        "CREATE TABLE crm.t (id serial PRIMARY KEY, n text DEFAULT 'x')",
        meant="CREATE TABLE crm.t (id bigserial PRIMARY KEY, n text DEFAULT 'x')",
    ),
    Case(
        "table-without-pk",
        "CREATE SCHEMA crm; CREATE PUBLICATION p FOR ALL TABLES;",
        "CREATE TABLE crm.t (n text DEFAULT 'x')",
        meant="CREATE TABLE crm.t (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, n text DEFAULT 'x')",
    ),
    Case(
        "fk-type-mismatch",
        KEYED,
        "ALTER TABLE child ADD CONSTRAINT f FOREIGN KEY (a, b) REFERENCES parent ON DELETE CASCADE NOT VALID",
        meant="""ALTER TABLE child ADD COLUMN b_new bigint; CREATE INDEX child_a_b_new_idx1 ON child (a, b_new);
            ALTER TABLE child ADD CONSTRAINT f FOREIGN KEY (a, b_new) REFERENCES parent ON DELETE CASCADE""",
    ),
    Case(
        "refresh-matview",
        SEEN,
        "REFRESH MATERIALIZED VIEW m",
        {"columns": "k"},
        meant="CREATE UNIQUE INDEX m_key ON m (k)",
    ),
    Case("refresh-matview", SEEN, "REFRESH MATERIALIZED VIEW m WITH NO DATA"),
    Case(
        "alter-type-rewrite",
        MOMENT,
        "SET LOCAL TimeZone TO 'Asia/Tokyo'; ALTER TABLE happened ALTER COLUMN seen TYPE text",
        meant="""SET LOCAL TimeZone TO 'Asia/Tokyo'; ALTER TABLE happened ADD COLUMN seen_new text;
            UPDATE happened SET seen_new = seen""",
    ),
    Case("drop-index", SEEN, 'DROP INDEX crm."Kinds"'),
    Case("drop-index", PARTED + "CREATE INDEX i ON sale (id);", "DROP INDEX i"),
    Case(
        "index-concurrently-in-txn",
        SEEN,
        'DROP INDEX CONCURRENTLY crm."Kinds"',
        meant='DROP INDEX crm."Kinds"',
    ),
    Case("drop-table", SEEN, 'DROP TABLE crm."Client" CASCADE'),
    Case("drop-view", SEEN, 'DROP VIEW crm."V" CASCADE'),
    Case("drop-view", SEEN, "DROP MATERIALIZED VIEW m"),
    Case(
        "drop-column",
        SEEN,
        'ALTER TABLE crm."Client" DROP COLUMN kind',
        {"query": "SELECT CAST(NULL AS text) AS k"},
        meant="""CREATE OR REPLACE VIEW crm."V" AS SELECT CAST(NULL AS text) AS k;
            ALTER TABLE crm."Client" DROP COLUMN kind""",
    ),
    Case(
        "dependent-view",
        SEEN
        + """
        CREATE INDEX ON m (k); GRANT SELECT ON w TO PUBLIC; ALTER VIEW w SET (security_barrier = true);
        COMMENT ON VIEW crm."V" IS 'it''s :x'; COMMENT ON MATERIALIZED VIEW m IS '100%';""",
        'ALTER TABLE crm."Client" ALTER COLUMN kind TYPE varchar',
        meant="SELECT 1",
        changed=frozenset({"type"}),
        # A materialized view is filled again.
        stays=frozenset({"multi-table-locks", "ddl-under-exclusive"}),
    ),
    Case("drop-column-dependents", SEEN, 'ALTER TABLE crm."Client" DROP COLUMN "Of"'),
    Case("truncate", TREE, 'TRUNCATE node, crm."Leaf", worm RESTART IDENTITY'),
    Case("truncate-cascade", TREE, "TRUNCATE node CASCADE"),
    Case("truncate", PARTED, "TRUNCATE sale"),
    Case("create-index", PARTED, 'CREATE INDEX ON sale (lower("Kind") DESC, id) INCLUDE (at) WHERE id > 3'),
    Case("create-index", NESTED, "CREATE INDEX i ON sale (id)"),
    Case(
        "index-on-partitioned",
        NESTED,
        "CREATE INDEX CONCURRENTLY i ON sale (id)",
        meant="CREATE INDEX i ON sale (id)",
        autocommit=True,
    ),
    Case(
        "dml-unbatched",
        ACCOUNT,
        "DO $$ BEGIN UPDATE account SET note = 'x' WHERE note IS NULL; END $$",
    ),
    Case(
        "drop-schema",
        """CREATE SCHEMA crm; CREATE TABLE crm."Order" (id bigserial PRIMARY KEY);
            CREATE TABLE crm.line (id bigint PRIMARY KEY, of_id bigint REFERENCES crm."Order");
            CREATE VIEW crm.v AS SELECT id FROM crm.line; CREATE SEQUENCE crm.s;
            CREATE MATERIALIZED VIEW crm.m AS SELECT id FROM crm.v;""",
        "DROP SCHEMA crm CASCADE",
    ),
    Case(
        "table-without-pk",
        "CREATE TABLE bare (a int, b int NOT NULL UNIQUE); INSERT INTO bare VALUES (1, 2);",
        "CREATE PUBLICATION p FOR TABLE bare",
        meant="ALTER TABLE bare REPLICA IDENTITY USING INDEX bare_b_key; CREATE PUBLICATION p FOR TABLE bare",
    ),
    Case(
        "style-types",
        "",
        "CREATE TABLE fresh (id bigint PRIMARY KEY, a char(3) NOT NULL, at timestamp DEFAULT now())",
        meant="CREATE TABLE fresh (id bigint PRIMARY KEY, a text NOT NULL, at timestamptz DEFAULT now())",
    ),
    Case("add-unique", NESTED, "ALTER TABLE sale ADD CONSTRAINT u UNIQUE (id, at)"),
    Case("add-pk", NESTED, "ALTER TABLE sale ADD PRIMARY KEY (id, at)"),
    Case(
        "validate-same-txn",
        TREE,
        'DO $$ BEGIN ALTER TABLE worm ADD CONSTRAINT "F" FOREIGN KEY (leaf_id) REFERENCES node ON DELETE CASCADE'
        ' NOT VALID; ALTER TABLE worm VALIDATE CONSTRAINT "F"; END $$',
        stays=frozenset({"fk-no-index"}),
    ),
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


def state_of(scratch) -> tuple[Snapshot, dict[str, list[str]]]:
    """All that is in the database now, and the rows of each table."""
    engine = sa.create_engine(scratch.address.psycopg2_url())
    with engine.connect() as connection:
        snapshot = read_snapshot(connection)
        tables = connection.scalars(sa.text(_TABLES)).all()
        rows = {each: connection.scalar(sa.text(_ROWS.format(each))) for each in tables}
    engine.dispose()
    return snapshot, rows


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.hazard)
async def test_it_leaves_what_the_statement_leaves(judged, scratch, case):
    before = await judged(case.setup, as_body(case.sql, autocommit=case.autocommit), rows=False)
    if case.meant:
        await judged(case.setup, as_body(case.meant), rows=False)
    wanted, wanted_rows = state_of(scratch)
    after = await judged(case.setup, *bodies_of(case, before.finding(case.hazard).fix), rows=False)
    assert [each.failure for each in after.traces if each.failure] == []
    assert [
        (each.hazard, each.statement, each.why) for each in after.open if each.hazard not in case.stays
    ] == []
    catalog, rows = state_of(scratch)
    assert differences(wanted, catalog, parts_left_out=case.changed).found == ()
    assert rows == wanted_rows
