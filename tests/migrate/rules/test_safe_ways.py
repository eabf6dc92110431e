"""What is claimed of hazards of tables, columns and constraints: the lock, measured, and the way around it."""

from __future__ import annotations

import re
from dataclasses import dataclass

import pytest

from dbctl.migrate.rules.registry import load
from tests.migrate.rules.conftest import MAJOR, as_body

T = """
CREATE TABLE parent (id bigint PRIMARY KEY, code text);
INSERT INTO parent SELECT g, 'c' || g FROM generate_series(1, 300) g;
CREATE TABLE t (id bigint PRIMARY KEY, a int NOT NULL, name varchar(40), note text DEFAULT 'n', price numeric(10,2),
    parent_id bigint, small int, filled text, state text NOT NULL DEFAULT 'new');
INSERT INTO t SELECT g, g, 'n' || g, 'x', g, (g % 300) + 1, (g % 300) + 1, 'f' FROM generate_series(1, 600) g;
"""
KEYLESS = "CREATE TABLE t (a bigint, b text); INSERT INTO t SELECT g, 'x' FROM generate_series(1, 300) g;"


@dataclass(frozen=True)
class Example:
    """A hazard in its plainest form."""

    hazard: str
    migration: str
    setup: str = T
    pg_min: int = 13


EXAMPLES = (
    Example("add-col-volatile-default", "ALTER TABLE t ADD COLUMN u uuid DEFAULT gen_random_uuid()"),
    Example("add-col-stored-generated", "ALTER TABLE t ADD COLUMN g int GENERATED ALWAYS AS (a * 2) STORED"),
    Example("add-col-serial", "ALTER TABLE t ADD COLUMN n serial"),
    Example("add-col-identity", "ALTER TABLE t ADD COLUMN n bigint GENERATED ALWAYS AS IDENTITY"),
    Example(
        "add-col-not-null-no-default", "ALTER TABLE t ADD COLUMN c varchar(9) NOT NULL", T + "TRUNCATE t"
    ),
    Example("add-col-unique", "ALTER TABLE t ADD COLUMN c text UNIQUE"),
    Example("add-col-pk", "ALTER TABLE t ADD COLUMN id bigserial PRIMARY KEY", KEYLESS),
    Example("add-col-fk", "ALTER TABLE t ADD COLUMN p bigint DEFAULT 1 REFERENCES parent (id)"),
    Example("add-col-check", "ALTER TABLE t ADD COLUMN c int DEFAULT 1 CHECK (c > 0)"),
    Example(
        "add-col-constrained-domain",
        "ALTER TABLE t ADD COLUMN c positive",
        T + "CREATE DOMAIN positive AS numeric(8,2) CHECK (VALUE > 0);",
    ),
    Example("add-col-json", "ALTER TABLE t ADD COLUMN c json"),
    Example("alter-type-rewrite", "ALTER TABLE t ALTER COLUMN a TYPE bigint"),
    Example("alter-type-narrowing", "ALTER TABLE t ALTER COLUMN name TYPE varchar(20)"),
    Example(
        "alter-type-reindex",
        'ALTER TABLE t ALTER COLUMN note TYPE text COLLATE "C"',
        T + "CREATE INDEX t_note ON t (note);",
    ),
    Example(
        "alter-type-recheck",
        "ALTER TABLE t ALTER COLUMN name TYPE varchar(80)",
        T + "ALTER TABLE t ADD CONSTRAINT short CHECK (length(name) < 50);",
    ),
    Example(
        "dependent-view",
        "ALTER TABLE t ALTER COLUMN name TYPE text",
        T + "CREATE VIEW names AS SELECT id, name FROM t WHERE name LIKE 'n%';",
    ),
    Example(
        "set-expression",
        "ALTER TABLE g ALTER COLUMN b SET EXPRESSION AS (a * 3)",
        pg_min=17,
        setup="""
        CREATE TABLE g (id bigint PRIMARY KEY, a int, b int GENERATED ALWAYS AS (a * 2) STORED);
        INSERT INTO g (id, a) SELECT n, n FROM generate_series(1, 300) n""",
    ),
    Example("set-not-null", "ALTER TABLE t ALTER COLUMN filled SET NOT NULL"),
    Example(
        "pk-index-nullable",
        "ALTER TABLE t ADD CONSTRAINT t_pk PRIMARY KEY USING INDEX t_a",
        KEYLESS + "CREATE UNIQUE INDEX t_a ON t (a);",
    ),
    Example("drop-not-null", "ALTER TABLE t ALTER COLUMN a DROP NOT NULL"),
    Example("drop-default", "ALTER TABLE t ALTER COLUMN note DROP DEFAULT"),
    Example("change-default", "ALTER TABLE t ALTER COLUMN note SET DEFAULT 'other'"),
    Example(
        "add-fk",
        "ALTER TABLE t ADD CONSTRAINT f FOREIGN KEY (parent_id) REFERENCES parent",
        T + "CREATE INDEX t_parent ON t (parent_id);",
    ),
    Example(
        "fk-no-index",
        "ALTER TABLE t ADD CONSTRAINT f FOREIGN KEY (parent_id) REFERENCES parent (id) NOT VALID",
    ),
    Example(
        "fk-type-mismatch",
        "ALTER TABLE t ADD CONSTRAINT f FOREIGN KEY (small) REFERENCES parent (id) NOT VALID",
        T + "CREATE INDEX t_small ON t (small);",
    ),
    Example("add-check", "ALTER TABLE t ADD CONSTRAINT c CHECK (a > 0 AND name <> '')"),
    Example("add-unique", "ALTER TABLE t ADD CONSTRAINT u UNIQUE (a)"),
    Example("add-pk", "ALTER TABLE t ADD PRIMARY KEY (a)", KEYLESS),
    Example(
        "add-exclude",
        "ALTER TABLE s ADD CONSTRAINT e EXCLUDE USING gist (during WITH &&)",
        "CREATE TABLE s (id bigint PRIMARY KEY, during tsrange);",
    ),
    Example(
        "validate-same-txn",
        "ALTER TABLE t ADD CONSTRAINT c CHECK (a > 0) NOT VALID; ALTER TABLE t VALIDATE CONSTRAINT c",
    ),
    Example(
        "drop-constraint",
        "ALTER TABLE t DROP CONSTRAINT f",
        T + "ALTER TABLE t ADD CONSTRAINT f FOREIGN KEY (parent_id) REFERENCES parent (id);",
    ),
    Example("drop-pk", "ALTER TABLE t DROP CONSTRAINT t_pkey"),
    Example("replica-identity", "ALTER TABLE t REPLICA IDENTITY FULL"),
    Example("table-without-pk", "CREATE TABLE log (line text)", "CREATE PUBLICATION p FOR ALL TABLES"),
    Example(
        "domain-add-constraint",
        "ALTER DOMAIN zip ADD CONSTRAINT five CHECK (length(VALUE) = 5)",
        "CREATE DOMAIN zip AS text; CREATE TABLE addr (id bigint PRIMARY KEY, z zip);"
        "INSERT INTO addr SELECT g, '12345' FROM generate_series(1, 300) g;",
    ),
    Example("int-pk", "CREATE TABLE fresh (id serial PRIMARY KEY)", ""),
    Example("style-types", "ALTER TABLE t ADD COLUMN seen timestamp"),
    Example("identifier-too-long", f"ALTER TABLE t ADD CONSTRAINT {'c' * 70} CHECK (a > 0) NOT VALID"),
)
AVAILABLE = [example for example in EXAMPLES if example.pg_min <= MAJOR]


@pytest.mark.parametrize("example", AVAILABLE, ids=[example.hazard for example in AVAILABLE])
async def test_a_hazard_takes_the_lock_that_is_claimed_and_its_safe_way_is_none(judged, example):
    known = load()[example.hazard]
    run = await judged(example.setup, as_body(example.migration))
    finding = run.finding(example.hazard)
    assert finding.lock_mode == known.lock or finding.hazard in {
        "style-types",
        "identifier-too-long",
        "dependent-view",
    }
    bodies = re.split(r"(?:\A|\n\n)# revision \d+\n", finding.fix)
    safe = [body for body in bodies if body]
    again = await judged(example.setup, *safe)
    assert not again.open, [(f.hazard, f.statement, f.why) for f in again.open]
    assert not any(judgement.unused_accepts for judgement in again.judgements)
    assert not any(trace.failure for trace in again.traces)
    assert any(trace.statements for trace in again.traces) or example.hazard == "identifier-too-long"
