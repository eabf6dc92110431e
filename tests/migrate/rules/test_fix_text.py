"""A fix keeps what was meant: names that need quotes, the index's own words, the foreign key's actions."""

from __future__ import annotations

from tests.migrate.rules.conftest import as_body
from tests.migrate.rules.more_cases import ACCOUNT

ORDER = """
CREATE TABLE "Order" (id bigint PRIMARY KEY, "userName" text, kind text);
INSERT INTO "Order" SELECT g, 'n' || g, 'k' FROM generate_series(1, 50) g;
"""
PARENT = ORDER + 'CREATE TABLE client (id bigint PRIMARY KEY); ALTER TABLE "Order" ADD client_id bigint;'


async def test_names_that_need_quotes_have_them(judged):
    run = await judged(ORDER, as_body('ALTER TABLE "Order" ALTER COLUMN kind SET NOT NULL'))
    fix = run.finding("set-not-null").fix
    assert r'op.execute("ALTER TABLE \"Order\" VALIDATE CONSTRAINT kind_not_null")' in fix
    run = await judged(ORDER, as_body('ALTER TABLE "Order" ALTER COLUMN "userName" SET NOT NULL'))
    assert (
        'ADD CONSTRAINT "userName_not_null" CHECK ("userName" IS NOT NULL)' in run.finding("set-not-null").fix
    )


async def test_an_index_keeps_its_own_words(judged):
    words = """i ON "Order" USING gin (to_tsvector('english', kind)) WHERE kind IS NOT NULL"""
    run = await judged(ORDER, as_body(f"CREATE INDEX IF NOT EXISTS {words}"))
    assert f'op.execute("""CREATE INDEX CONCURRENTLY {words}""")' in run.finding("create-index").fix


async def test_a_foreign_key_keeps_its_actions(judged):
    key = "FOREIGN KEY (client_id) REFERENCES client (id) ON DELETE SET NULL DEFERRABLE INITIALLY DEFERRED"
    run = await judged(PARENT, as_body(f'ALTER TABLE "Order" ADD CONSTRAINT f {key}'))
    assert f"{key} NOT VALID" in run.finding("add-fk").fix


async def test_a_unique_constraint_keeps_what_it_says_of_nulls_and_of_its_time(judged):
    sql = (
        "ALTER TABLE account ADD CONSTRAINT u UNIQUE NULLS NOT DISTINCT (nick) DEFERRABLE INITIALLY DEFERRED"
    )
    fix = (await judged(ACCOUNT, as_body(sql))).finding("add-unique").fix
    assert "CREATE UNIQUE INDEX CONCURRENTLY u ON account (nick) NULLS NOT DISTINCT" in fix
    assert "UNIQUE USING INDEX u DEFERRABLE INITIALLY DEFERRED" in fix
    assert "IS NOT NULL" not in fix


async def test_a_column_that_is_filled_later_becomes_not_null_in_the_end(judged):
    sql = "ALTER TABLE account ADD COLUMN u uuid {}DEFAULT gen_random_uuid()"
    for promise, ends in [("NOT NULL ", True), ("", False)]:
        fix = (await judged(ACCOUNT, as_body(sql.format(promise)))).finding("add-col-volatile-default").fix
        assert ("ALTER COLUMN u SET NOT NULL" in fix) is ends
