"""A fix keeps what was meant: names that need quotes, the index's own words, the foreign key's actions."""

from __future__ import annotations

from tests.migrate.rules.conftest import as_body

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
