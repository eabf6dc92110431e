"""The fix of an index makes the very index that was meant, and refuses only what it would refuse."""

from __future__ import annotations

import re

import pytest
import sqlalchemy as sa

from tests.migrate.rules.conftest import as_body

PLACE = """
CREATE TABLE place (id bigint PRIMARY KEY, email text, owner int, "Kind" text);
INSERT INTO place SELECT g, CASE WHEN g > 3 THEN 'e' || g END, g % 5, 'k' FROM generate_series(1, 60) g;
CREATE INDEX place_owner ON place (owner);
"""
PARTED = """
CREATE TABLE reading (at date, v int, note text) PARTITION BY RANGE (at);
CREATE TABLE reading_2024 PARTITION OF reading FOR VALUES FROM ('2024-01-01') TO ('2025-01-01');
"""
WORDS = 'i ON place USING btree (lower(email) text_pattern_ops DESC) INCLUDE ("Kind") WHERE id > 2'


def bodies_of(fix: str) -> list[str]:
    return [body + "\npass" for body in re.split(r"(?m)^# revision \d+\n", fix) if body.strip()]


def index_named(scratch, name: str) -> str:
    engine = sa.create_engine(scratch.address.psycopg2_url())
    with engine.connect() as connection:
        found = connection.scalar(sa.text("SELECT pg_get_indexdef(CAST(:name AS regclass))"), {"name": name})
    engine.dispose()
    return str(found)


@pytest.mark.parametrize(
    ("hazard", "sql", "index"),
    [
        ("create-index", f"CREATE UNIQUE INDEX {WORDS}", "i"),
        ("create-unique-index", f"CREATE UNIQUE INDEX {WORDS}", "i"),
        ("index-concurrently-in-txn", f"CREATE UNIQUE INDEX CONCURRENTLY {WORDS}", "i"),
        ("create-index", f"DO $$ BEGIN CREATE UNIQUE INDEX {WORDS}; END $$", "i"),
        (
            "replace-index",
            'DROP INDEX place_owner; CREATE UNIQUE INDEX place_owner ON place (owner, id) INCLUDE ("Kind") WHERE id > 2',
            "place_owner_new",
        ),
    ],
)
async def test_it_keeps_unique_where_include_and_operator_class(judged, scratch, hazard, sql, index):
    fix = (await judged(PLACE, as_body(sql))).finding(hazard).fix
    after = await judged(PLACE, *bodies_of(fix))
    assert [each.failure for each in after.traces if each.failure] == []
    made = index_named(scratch, index)
    assert made.startswith("CREATE UNIQUE INDEX")
    assert 'INCLUDE ("Kind") WHERE (id > 2)' in made
    assert ("text_pattern_ops DESC" in made) is (index == "i")


async def test_an_index_of_a_partitioned_table_keeps_it_on_parent_and_partition(judged, scratch):
    sql = "CREATE UNIQUE INDEX CONCURRENTLY r ON reading (at, v) INCLUDE (note)"
    fix = (await judged(PARTED, as_body(sql, autocommit=True))).finding("index-on-partitioned").fix
    after = await judged(PARTED, *bodies_of(fix), rows=False)
    assert [each.failure for each in after.traces if each.failure] == []
    for index in ("r", "reading_2024_at_v_note_idx"):
        made = index_named(scratch, index)
        assert made.startswith("CREATE UNIQUE INDEX")
        assert made.endswith("(at, v) INCLUDE (note)")


@pytest.mark.parametrize(
    ("words", "passes"),
    [
        ("(email)", True),
        ("(email) NULLS NOT DISTINCT", False),
        ("(owner) WHERE id <= 5", True),
        ("(owner) WHERE id <= 6", False),
        ("(lower(email), owner)", True),
    ],
)
async def test_the_look_for_duplicates_sees_what_the_index_would(judged, words, passes):
    fix = (await judged(PLACE, as_body(f"CREATE UNIQUE INDEX i ON place {words}"))).finding(
        "create-unique-index"
    )
    after = await judged(PLACE, fix.fix)
    assert [bool(each.failure) for each in after.traces] == [not passes]
    if not passes:
        assert after.traces[0].failure.message.startswith("AssertionError")
