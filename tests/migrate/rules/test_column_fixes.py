"""The fix of a column that is added leaves the column that was meant: its type, its default, its NOT NULL."""

from __future__ import annotations

import re

import pytest
import sqlalchemy as sa

from tests.migrate.rules.conftest import as_body

THING = """
CREATE TABLE parent (id bigint PRIMARY KEY); INSERT INTO parent VALUES (3);
CREATE DOMAIN positive AS int CHECK (VALUE > 0);
CREATE TABLE thing (name text);
INSERT INTO thing SELECT 'n' || g FROM generate_series(1, 60) g;
"""
ADD = "ALTER TABLE thing ADD COLUMN g"


@pytest.mark.parametrize(
    ("hazard", "sql", "default"),
    [
        ("add-col-check", f"{ADD} int NOT NULL DEFAULT 3 CHECK (g > 0)", "3"),
        ("add-col-check", f"{ADD} int DEFAULT 3 NOT NULL; ALTER TABLE thing ADD CHECK (g > 0)", "3"),
        ("add-col-unique", f"{ADD} uuid NOT NULL DEFAULT gen_random_uuid() UNIQUE", "gen_random_uuid()"),
        ("add-col-pk", f"{ADD} uuid DEFAULT gen_random_uuid() PRIMARY KEY", "gen_random_uuid()"),
        ("add-col-fk", f"{ADD} bigint NOT NULL DEFAULT 3 REFERENCES parent", "3"),
        ("add-col-constrained-domain", f"{ADD} positive NOT NULL DEFAULT 3", "3"),
        ("add-col-json", f"{ADD} json NOT NULL DEFAULT '{{}}'", "'{}'::json"),
    ],
)
async def test_it_keeps_default_and_not_null(judged, scratch, hazard, sql, default):
    fix = (await judged(THING, as_body(sql))).finding(hazard).fix
    bodies = [body + "\npass" for body in re.split(r"(?m)^# revision \d+\n", fix) if body.strip()]
    after = await judged(THING, *bodies, rows=False)
    assert [each.failure for each in after.traces if each.failure] == []
    engine = sa.create_engine(scratch.address.psycopg2_url())
    with engine.connect() as connection:
        query = (
            "SELECT a.attnotnull, pg_get_expr(d.adbin, d.adrelid) FROM pg_attribute a JOIN pg_attrdef d"
            " ON d.adrelid = a.attrelid AND d.adnum = a.attnum"
            " WHERE a.attrelid = 'thing'::regclass AND a.attname = 'g'"
        )
        not_null, made = connection.execute(sa.text(query)).one()
    engine.dispose()
    assert not_null
    assert made.startswith(default)
