"""What a `down` would lose is known before it runs, and counted on the database itself."""

from __future__ import annotations

import pytest

from dbctl.errors import Refused, UsageError
from dbctl.migrate.loss.look import LookRequest, check, look
from tests.fixtures.database import execute
from tests.migrate.plan.conftest import opened

SHOP = """
CREATE TYPE kind AS ENUM ('a', 'b', 'c');
CREATE TABLE orders (id int PRIMARY KEY, kind kind, note text, total bigint, word varchar(40), code text,
    seen timestamptz, price numeric(12, 4), twice bigint GENERATED ALWAYS AS (total * 2) STORED);
INSERT INTO orders SELECT g, (ARRAY['a', 'b', 'c'])[1 + g % 3]::kind, CASE WHEN g <= 40 THEN 'n' END,
    CASE WHEN g <= 3 THEN 3000000000 ELSE g END, repeat('w', g % 12), CASE WHEN g % 10 = 0 THEN 'x' ELSE g::text END,
    timestamptz '2024-01-01 12:00+00' + g * interval '12 h', g + 0.25
    FROM generate_series(1, 100) g;
CREATE TABLE "Lines" (order_id int REFERENCES orders ON DELETE CASCADE, n int);
INSERT INTO "Lines" SELECT g, g FROM generate_series(1, 60) g;
CREATE TABLE empty (id int PRIMARY KEY, word text);
CREATE VIEW seen AS SELECT id FROM orders;
CREATE INDEX ON orders (note);
CREATE TABLE parts (id int, word text) PARTITION BY RANGE (id);
CREATE TABLE parts_1 PARTITION OF parts FOR VALUES FROM (0) TO (50);
CREATE TABLE parts_2 PARTITION OF parts DEFAULT;
INSERT INTO parts SELECT g, 'p' FROM generate_series(1, 80) g;
ANALYZE;
"""
BIG = """
CREATE TABLE big AS SELECT g AS id FROM generate_series(1, 200000) g;
CREATE TABLE wide AS SELECT g AS id, CASE WHEN g % 2 = 0 THEN 'n' END AS note, 'word' || g AS word
  FROM generate_series(1, 200000) g;
ANALYZE;
"""


@pytest.fixture
def seen(undoable, empty_conninfo):
    """``await seen(body, …)``: the look at `down r0` over the shop."""

    async def see(*bodies, destination="r0", setup=SHOP, **options):
        async with opened(undoable(setup, *bodies), empty_conninfo) as site:
            return (await look(site, LookRequest(destination, **options))).outlook

    return see


def lost(outlook):
    return [(one.revision, one.kind, one.table, one.column, one.count) for one in outlook.losses]


async def test_rows_of_tables_and_values_of_columns_whoever_drops_them(seen):
    outlook = await seen(
        """
        for name in ("note", "twice"):
            op.drop_column("orders", name)
        op.drop_table("empty")
        """,
        """
        op.execute('ALTER TABLE "Lines" RENAME TO lines')
        op.execute("DO $$ BEGIN EXECUTE 'DROP TABLE ' || 'lines'; END $$")
        """,
        """
        op.execute("DROP VIEW seen")
        op.drop_index("orders_note_idx")
        op.execute("DROP TABLE parts")
        with op.batch_alter_table("orders") as batch:
            batch.drop_column("seen")
        """,
    )
    assert [one.revision for one in outlook.revisions] == ["r3", "r2", "r1"]
    assert not any(one.failure for one in outlook.revisions)
    assert set(lost(outlook)) == {
        ("r3", "dropped table", "parts", "", 80),
        ("r3", "dropped column", "orders", "seen", 100),
        ("r2", "dropped table", "Lines", "", 60),
        ("r1", "dropped column", "orders", "note", 40),
        ("r1", "dropped table", "empty", "", 0),
    }
    with pytest.raises(Refused, match="would lose data") as refused:
        check(outlook, accepted=False)
    assert "--accept-loss" in refused.value.hint
    check(outlook, accepted=True)


async def test_values_that_no_longer_fit_their_type(seen):
    outlook = await seen(
        """
        op.alter_column("orders", "total", type_=sa.Integer())
        op.alter_column("orders", "word", type_=sa.String(8))
        op.alter_column("orders", "code", type_=sa.Integer(), postgresql_using="code::integer")
        op.execute("ALTER TABLE orders ALTER seen TYPE date")
        op.execute("ALTER TABLE orders ALTER price TYPE numeric(12, 1)")
        op.execute("ALTER TYPE kind RENAME TO old_kind")
        op.execute("CREATE TYPE kind AS ENUM ('a', 'b')")
        op.execute("ALTER TABLE orders ALTER kind TYPE kind USING kind::text::kind")
        op.execute("DROP TYPE old_kind")
        """,
        setup=SHOP.replace(", twice bigint GENERATED ALWAYS AS (total * 2) STORED", ""),
    )
    found = {one.column: one for one in outlook.losses}
    assert {name: one.count for name, one in found.items()} == {
        "total": 3,
        "word": 24,
        "code": 10,
        "seen": 50,
        "price": 100,
        "kind": 33,
    }
    assert found["total"].change == "bigint -> integer"
    assert "fails on them: " in found["total"].why


async def test_what_keeps_all_is_no_loss_and_is_not_refused(seen):
    outlook = await seen(
        """
        op.drop_index("orders_note_idx")
        op.execute("DROP VIEW seen")
        op.execute("ALTER TABLE orders ALTER word TYPE varchar(80)")
        op.execute("ALTER TABLE orders ALTER id TYPE bigint")
        op.execute("ALTER TABLE parts DETACH PARTITION parts_1")
        op.execute("ALTER TYPE kind ADD VALUE 'd'")
        op.rename_table("empty", "hollow")
        op.create_table("fresh", sa.Column("id", sa.Integer))
        op.execute("INSERT INTO fresh VALUES (1)")
        """,
        'op.execute("DELETE FROM orders WHERE id > 1000")\nop.drop_column("empty", "word")',
        """
        op.execute("CREATE TABLE made (id int)")
        op.execute("INSERT INTO made VALUES (1)")
        op.execute("DROP TABLE made")
        """,
    )
    assert not any(one.failure for one in outlook.revisions), outlook.revisions
    assert outlook.lost == ()
    check(outlook, accepted=False)


async def test_rows_that_it_deletes_itself_or_by_a_cascade(seen):
    outlook = await seen(
        """
        op.execute('DELETE FROM orders o USING "Lines" l WHERE l.order_id = o.id AND l.n <= 7')
        op.execute("TRUNCATE parts")
        for table in ("empty", "tags"):
            op.get_bind().execute(sa.text(f"DELETE FROM {table} WHERE id = :id"), {"id": 1})
        """,
        setup=SHOP + "CREATE TABLE tags (id int); INSERT INTO tags VALUES (5);",
    )
    found = {one.table: one for one in outlook.losses}
    assert found["orders"].count == 7
    assert found["parts"].count == 80
    assert found["Lines"].count == 7
    assert found["empty"].count == 0
    assert found["tags"].count is None
    assert found["tags"].loses
    assert "only when it runs" in found["tags"].why


FOREST = """
CREATE TABLE trees (id int PRIMARY KEY, parent int REFERENCES trees ON DELETE CASCADE, word varchar(20) NOT NULL);
INSERT INTO trees SELECT g, nullif(g / 3, 0), 'Word ' || g FROM generate_series(1, 30) g;
CREATE TABLE leaves (tree int REFERENCES trees ON DELETE SET NULL, n int, word text, old text);
INSERT INTO leaves SELECT g, g, 'leaf', 'old' FROM generate_series(1, 30) g;
CREATE TABLE untouched (id int PRIMARY KEY, word text);
INSERT INTO untouched VALUES (1, 'x');
"""


async def test_values_that_it_overwrites_are_counted_where_they_would_be_others(seen):
    outlook = await seen(
        """
        op.execute("UPDATE trees SET word = upper(word) WHERE id > 20")
        op.execute("UPDATE leaves l SET n = t.id FROM trees t WHERE t.id = l.tree AND t.id < 4 OR l.n = 30 AND t.id = 1")
        op.execute("UPDATE untouched SET word = 'y' WHERE id = 2")
        """,
        """
        op.execute("ALTER TABLE leaves RENAME word TO words")
        op.execute("UPDATE leaves SET words = 'LEAF' WHERE n > 28")
        op.get_bind().execute(sa.text("UPDATE untouched SET word = :w WHERE id < 3"), {"w": "z"})
        """,
        """
        op.add_column("leaves", sa.Column("older", sa.Text))
        op.execute("UPDATE leaves SET older = old")
        op.drop_column("leaves", "old")
        """,
        setup=FOREST,
    )
    assert not any(one.failure for one in outlook.revisions), outlook.revisions
    assert set(lost(outlook)) == {
        ("r3", "dropped column", "leaves", "old", 30),
        ("r2", "overwritten", "untouched", "word", 1),
        # By another name only then: the statement means nothing to the table as it is now.
        ("r2", "overwritten", "leaves", "word", None),
        ("r1", "overwritten", "trees", "word", 10),
        ("r1", "overwritten", "leaves", "n", 1),
        # Its rows have been changed by then, in the column that tells which.
        ("r1", "overwritten", "untouched", "word", 0),
    }
    with pytest.raises(Refused, match="would lose data"):
        check(outlook, accepted=False)


async def test_what_foreign_keys_delete_and_clear_is_counted_however_deep(seen):
    outlook = await seen('op.execute("DELETE FROM trees WHERE id = 2")', setup=FOREST)
    below = {2, *(g for g in range(6, 9)), *range(18, 27)}
    assert set(lost(outlook)) == {
        ("r1", "deleted rows", "trees", "", len(below)),
        ("r1", "overwritten", "leaves", "tree", len(below)),
    }


async def test_rows_that_an_earlier_statement_makes_fit_the_condition_are_not_taken_for_none(seen):
    outlook = await seen(
        """
        op.execute("DELETE FROM untouched WHERE word = 'gone'")
        op.execute("DELETE FROM leaves WHERE n > 20")
        op.execute("DELETE FROM leaves WHERE NOT EXISTS (SELECT FROM untouched u WHERE u.word = leaves.word)")
        """,
        """
        op.execute("UPDATE untouched SET word = 'gone' WHERE id = 1")
        op.execute("UPDATE leaves SET word = 'x' WHERE n = 1")
        """,
        setup=FOREST,
    )
    assert lost(outlook) == [
        ("r2", "overwritten", "untouched", "word", 1),
        ("r2", "overwritten", "leaves", "word", 1),
        ("r1", "deleted rows", "untouched", "", None),
        ("r1", "deleted rows", "leaves", "", 10),
        ("r1", "deleted rows", "leaves", "", None),
    ]


@pytest.mark.parametrize(
    ("block", "is_known"),
    [
        ("DO $$ BEGIN DELETE FROM untouched WHERE word = 'rare'; END $$", False),
        (
            "-- tidy up\nDO LANGUAGE plpgsql $x$ BEGIN EXECUTE 'UPDATE untouched' || ' SET id = 7'; END $x$",
            False,
        ),
        (
            "DO $$ BEGIN ALTER TABLE leaves ADD FOREIGN KEY (n) REFERENCES trees ON UPDATE SET NULL; END $$",
            True,
        ),
    ],
)
async def test_rows_that_a_do_block_changes_are_not_known_and_that_is_refused(seen, block, is_known):
    outlook = await seen(f"op.execute({block!r})", setup=FOREST)
    assert outlook.is_harmless is is_known
    if not is_known:
        with pytest.raises(Refused, match=r"not known|would lose"):
            check(outlook, accepted=False)
        assert "DO block" in outlook.unknown


async def test_what_is_sent_past_sqlalchemy_is_not_known_and_that_is_refused(seen):
    outlook = await seen(
        """
        cursor = op.get_bind().connection.dbapi_connection.cursor()
        cursor.execute("DELETE FROM untouched")
        """,
        setup=FOREST,
    )
    assert outlook.unknown == "line 15 of r1 speaks to the driver itself, and not all that it sends is seen"
    with pytest.raises(Refused, match="speaks to the driver itself"):
        check(outlook, accepted=False)


async def test_only_what_is_asked_for_is_undone_and_a_relative_step_is_taken_once(seen):
    outlook = await seen(
        'op.drop_table("parts")',
        'with op.get_context().autocommit_block():\n    op.execute("DROP INDEX CONCURRENTLY orders_note_idx")',
        'op.drop_column("orders", "note")',
        destination="-2",
    )
    assert [one.revision for one in outlook.revisions] == ["r3", "r2"]
    assert lost(outlook) == [("r3", "dropped column", "orders", "note", 40)]


async def test_what_takes_too_long_to_count_is_estimated_and_said_to_be(seen):
    outlook = await seen(
        'op.drop_table("big")\nop.drop_column("wide", "note")\n'
        'op.execute("ALTER TABLE wide ALTER word TYPE varchar(8)")',
        setup=SHOP + BIG,
        count_seconds=0.001,
    )
    found = {one.kind: one for one in outlook.losses}
    assert (found["dropped table"].count, found["dropped table"].is_estimate) == (200_000, True)
    assert 90_000 < found["dropped column"].count < 110_000
    assert "not counted within" in found["dropped column"].why
    assert found["changed type"].count is None
    assert found["changed type"].loses


async def test_a_downgrade_that_fails_on_the_copy_is_refused_though_nothing_may_be_lost(seen):
    outlook = await seen("raise RuntimeError('one way only')")
    (revision,) = outlook.revisions
    assert "one way only" in revision.failure
    with pytest.raises(Refused, match="not known"):
        check(outlook, accepted=False)


async def test_looking_changes_nothing_and_names_what_is_wrong_with_the_destination(seen, empty_conninfo):
    with pytest.raises(UsageError):
        await seen('op.drop_table("parts")', destination="nowhere")
    assert execute(empty_conninfo, "SELECT count(*) FROM parts") == [(80,)]
    assert execute(empty_conninfo, "SELECT version_num FROM alembic_version") == [("r1",)]


HIDDEN = """
CREATE TABLE accounts (id int PRIMARY KEY, word text, touched timestamptz);
INSERT INTO accounts SELECT g, 'w', '2024-01-01' FROM generate_series(1, 9) g;
CREATE TABLE log (id int, word text); INSERT INTO log VALUES (1, 'kept');
CREATE TABLE other (id int, word text); INSERT INTO other VALUES (1, 'kept');
CREATE VIEW few AS SELECT id, word FROM accounts WHERE id < 4;
CREATE VIEW fewer AS SELECT * FROM few WHERE id < 3;
CREATE FUNCTION clears() RETURNS void LANGUAGE sql AS 'DELETE FROM accounts WHERE word = ''rare''';
CREATE FUNCTION adds() RETURNS void LANGUAGE sql AS 'INSERT INTO log VALUES (2, ''new'')';
"""
TRIGGER = """
CREATE FUNCTION {name}() RETURNS trigger LANGUAGE plpgsql AS $f$ BEGIN {body} RETURN NEW; END $f$;
CREATE TRIGGER {name} {when} ON {on} FOR EACH ROW EXECUTE FUNCTION {name}();
"""


async def test_rows_behind_views_and_functions_are_known_by_the_locks_of_the_statement(seen):
    bodies = (
        "DELETE FROM fewer WHERE word = 'rare'",
        "UPDATE few SET word = 'x' WHERE word = 'rare'",
        "SELECT clears()",
        "SELECT adds()",
        "INSERT INTO few VALUES (20, 'x')",
        "DELETE FROM accounts WHERE id = 0; DELETE FROM few WHERE word = 'rare'",
    )
    outlook = await seen(*(f"op.execute({body!r})" for body in bodies), setup=HIDDEN)
    assert not any(one.failure for one in outlook.revisions), outlook.revisions
    unknown = {(one.revision, one.kind, one.table) for one in outlook.lost if one.count is None}
    assert unknown == {
        ("r1", "deleted rows", "accounts"),
        ("r2", "overwritten", "accounts"),
        ("r3", "deleted rows", "accounts"),
        ("r3", "overwritten", "accounts"),
        ("r6", "deleted rows", "accounts"),
    }
    assert not outlook.unknown


async def test_what_triggers_set_is_counted_and_what_does_not_fire_is_none(seen):
    triggers = (
        ("touches", "NEW.touched := now();", "BEFORE UPDATE", "accounts"),
        ("copies", "INSERT INTO log VALUES (NEW.id, 'delete from');", "AFTER UPDATE", "accounts"),
        ("clears_other", "DELETE FROM other;", "BEFORE DELETE", "accounts"),
        ("clears_more", "DELETE FROM accounts;", "AFTER INSERT", "other"),
    )
    setup = "".join(TRIGGER.format(name=n, body=b, when=w, on=on) for n, b, w, on in triggers)
    outlook = await seen(
        """
        op.execute("UPDATE accounts SET word = 'x' WHERE id < 3")
        op.execute("DELETE FROM accounts WHERE id = 0")
        op.execute("DELETE FROM other WHERE id = 1")
        """,
        setup=HIDDEN + setup,
    )
    assert set(lost(outlook)) == {
        ("r1", "overwritten", "accounts", "word", 2),
        ("r1", "overwritten", "accounts", "touched", 2),
        ("r1", "deleted rows", "accounts", "", 0),
        ("r1", "deleted rows", "other", "", 1),
    }
    assert not outlook.unknown


@pytest.mark.parametrize(
    ("body", "when", "statement"),
    [
        ("DELETE FROM other;", "AFTER UPDATE ON accounts", "UPDATE accounts SET word = 'x' WHERE id = 1"),
        ("EXECUTE 'TRUNCATE other';", "AFTER INSERT ON accounts", "INSERT INTO accounts VALUES (30, 'x')"),
        ("DELETE FROM other;", "INSTEAD OF UPDATE ON few", "UPDATE few SET word = 'x' WHERE word = 'rare'"),
    ],
)
async def test_what_triggers_may_do_elsewhere_is_not_known_and_that_is_refused(seen, body, when, statement):
    when, _, on = when.rpartition(" ON ")
    setup = HIDDEN + TRIGGER.format(name="fires", body=body, when=when, on=on)
    outlook = await seen(f"op.execute({statement!r})", setup=setup)
    assert "line " in outlook.unknown
    assert "trigger" in outlook.unknown
    with pytest.raises(Refused):
        check(outlook, accepted=False)
