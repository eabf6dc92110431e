"""What a fix sends to the server is the SQL that was meant, whatever stands in it."""

from __future__ import annotations

import ast

import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy.dialects import postgresql

from dbctl.migrate.rules.python_text import as_python, for_text
from tests.migrate.rules.conftest import as_body

ODD = """
CREATE TABLE "Odd Table %" (id bigint PRIMARY KEY, "q""t" text, "a b" int);
INSERT INTO "Odd Table %" SELECT g, 'q' || g, g FROM generate_series(1, 50) g;
"""
CHANGES = [
    ("create-index", r"""CREATE INDEX i ON "Odd Table %" (id) WHERE "q""t" ~ '\bfoo\n'"""),
    (
        "create-index",
        r"""CREATE INDEX i ON "Odd Table %" (id) WHERE "q""t" LIKE '50\%:x%' AND "q""t"::text > ':y'""",
    ),
    ("add-unique", 'ALTER TABLE "Odd Table %" ADD CONSTRAINT "u:11" UNIQUE ("q""t")'),
    ("drop-column", 'ALTER TABLE "Odd Table %" DROP COLUMN "q""t"'),
    ("set-not-null", 'ALTER TABLE "Odd Table %" ALTER COLUMN "q""t" SET NOT NULL'),
    ("rename-column", 'ALTER TABLE "Odd Table %" RENAME COLUMN "q""t" TO "x ""y:z"'),
    ("alter-type-rewrite", 'ALTER TABLE "Odd Table %" ALTER "a b" TYPE bigint USING ("a b" % 7)::bigint'),
    (
        "add-col-volatile-default",
        """ALTER TABLE "Odd Table %" ADD COLUMN "d:e" text DEFAULT '%a{x}' || random() || '\\:b'""",
    ),
]


@given(st.text(alphabet=":\\ax9_ %\"'{}\n\r\t$\u00e4\x08") | st.text())
def test_a_text_arrives_as_it_is_through_python_and_sqlalchemy(text):
    for is_long in (True, False):
        literal = ast.literal_eval(as_python(text, is_long=is_long))
        assert literal in {text, text + " "}
    # With the default style, a percent sign would be doubled for a driver that formats strings.
    compiled = sa.text(for_text(text)).compile(dialect=postgresql.dialect(paramstyle="named"))
    assert str(compiled) == text
    assert not compiled.params


@pytest.mark.parametrize(("hazard", "sql"), CHANGES, ids=[change[0] for change in CHANGES])
async def test_a_fix_runs_whatever_the_names_and_texts_are(judged, hazard, sql):
    fix = (await judged(ODD, as_body(sql))).finding(hazard).fix
    bodies = [body + "\npass" for body in fix.split("# revision ") if body.strip()]
    bodies = [body.partition("\n")[2] if body[0].isdigit() else body for body in bodies]
    after = await judged(ODD, *bodies)
    assert [each.failure for each in after.traces if each.failure] == []


async def test_a_backslash_in_an_index_stays_one(judged, scratch):
    _, sql = CHANGES[0]
    fix = (await judged(ODD, as_body(sql))).finding("create-index").fix
    await judged(ODD, fix)
    engine = sa.create_engine(scratch.address.psycopg2_url())
    with engine.connect() as connection:
        definition = connection.scalar(sa.text("SELECT pg_get_indexdef('i'::regclass)"))
    engine.dispose()
    assert r"~ '\bfoo\n'" in definition
