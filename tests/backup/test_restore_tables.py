"""Single tables come back beside the live ones, with their keys, indexes and sequences; nothing else is touched."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest

from dbctl.backup.archive import Archive
from dbctl.backup.model import Backup
from dbctl.backup.restore_model import TablesBack
from dbctl.backup.tables import restore_tables
from dbctl.errors import Failed, NotFound, Refused, ToolFailed, UsageError
from tests.backup.conftest import Room
from tests.backup.test_restore import dump_text

SHOP = (
    "CREATE TYPE state AS ENUM ('open', 'paid')",
    "CREATE TABLE people (id int PRIMARY KEY)",
    "INSERT INTO people VALUES (1)",
    """CREATE TABLE orders (id bigserial PRIMARY KEY, person int REFERENCES people, state state DEFAULT 'open',
         number int GENERATED ALWAYS AS IDENTITY UNIQUE, twice int GENERATED ALWAYS AS (person * 2) STORED,
         CHECK (person > 0))""",
    "CREATE INDEX open_orders ON orders (person) WHERE state = 'open'",
    "INSERT INTO orders (person) SELECT 1 FROM generate_series(1, 30)",
    "CREATE TABLE app.people (id int)",
    "CREATE FUNCTION no() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'no'; END $$",
    "CREATE TRIGGER no BEFORE INSERT ON people FOR EACH ROW EXECUTE FUNCTION no()",
)


async def bring(room: Room, backup: Backup, names: Sequence[str]) -> TablesBack:
    return await restore_tables(room.target, Archive(backup), room.settings, names)


async def test_a_table_comes_back_beside_the_live_one_with_all_that_is_its_own(room: Room):
    room.execute(*SHOP)
    made = await room.backup()
    room.execute(
        "DELETE FROM orders WHERE id > 10",
        "UPDATE orders SET state = 'paid' WHERE id = 5",
        "DELETE FROM measured WHERE value < 40",
        "DROP TABLE plain CASCADE",
    )
    before = dump_text(room.conninfo)
    done = await bring(room, made, ["orders", "public.measured", "plain"])
    assert dump_text(room.conninfo, f"--exclude-schema={done.schema}") == before
    assert [(one.name, one.rows) for one in done.tables] == [("measured", 60), ("orders", 30), ("plain", 500)]
    assert room.databases() == {room.conninfo.database}
    inserted = (
        f"INSERT INTO {done.schema}.orders (person) VALUES (7) RETURNING id, number, state::text, twice"
    )
    assert room.execute(inserted) == [(31, 31, "open", 14)]
    kinds = f"SELECT contype::text FROM pg_constraint WHERE conrelid = '{done.schema}.orders'::regclass AND contype <> 'n' ORDER BY 1"
    assert room.execute(kinds) == [("c",), ("p",), ("u",)]
    assert room.execute(f"SELECT to_regclass('{done.schema}.open_orders') IS NOT NULL") == [(True,)]
    room.execute(
        f"DELETE FROM {done.schema}.orders WHERE id = 31", *(one.copy_sql for one in done.tables[:2])
    )
    counts = "SELECT (SELECT count(*) FROM orders), (SELECT count(*) FROM measured)"
    assert room.execute(counts) == [(30, 60)]
    assert room.execute("SELECT state::text FROM orders WHERE id = 5") == [("paid",)]
    room.execute(done.drop_sql)
    assert room.execute(counts) == [(30, 60)]


async def test_the_printed_sql_puts_tables_in_the_place_of_the_live_ones_with_all_that_reaches_out_of_them(
    room: Room,
):
    room.execute(
        *SHOP,
        "CREATE TRIGGER no BEFORE DELETE ON orders FOR EACH ROW WHEN (old.id = 1) EXECUTE FUNCTION no()",
        "ALTER TABLE orders ENABLE ROW LEVEL SECURITY",
        "CREATE POLICY mine ON orders FOR SELECT USING (id > 0)",
        "GRANT SELECT (state), UPDATE ON orders TO pg_monitor",
        "CREATE TABLE lines (id int PRIMARY KEY, item bigint CONSTRAINT of_order REFERENCES orders ON DELETE CASCADE)",
        "INSERT INTO lines VALUES (1, 30)",
        "CREATE VIEW paid AS SELECT id FROM orders WHERE state = 'paid'",
    )
    before = dump_text(room.conninfo)
    made = await room.backup()
    room.execute("UPDATE orders SET state = 'paid'", "DELETE FROM measured", "DROP TABLE plain CASCADE")
    done = await bring(room, made, ["orders", "measured", "plain"])
    assert done.swap_sql.endswith("\n-- public.paid still reads the replaced table: define it anew")
    room.execute(done.swap_sql)
    view = room.execute("SELECT pg_get_viewdef('paid')")[0][0]
    assert "replaced_of_" in view
    room.execute(
        "CREATE OR REPLACE VIEW paid AS SELECT id FROM orders WHERE state = 'paid'",
        "CREATE MATERIALIZED VIEW seen AS SELECT count(*) FROM plain",
        done.drop_sql,
        f"DROP SCHEMA {room.execute(REPLACED)[0][0]} CASCADE",
    )
    assert dump_text(room.conninfo) == before


REPLACED = "SELECT quote_ident(nspname) FROM pg_namespace WHERE nspname ~ '^replaced_'"


async def test_a_partition_alone_is_not_attached_to_the_live_table(room: Room):
    made = await room.backup()
    before = dump_text(room.conninfo)
    done = await bring(room, made, ["measured_2025"])
    assert done.swap_sql == ""
    assert dump_text(room.conninfo, f"--exclude-schema={done.schema}") == before
    assert room.execute("SELECT count(*) FROM measured") == [(60,)]
    assert room.execute(f"SELECT count(*) FROM {done.schema}.measured_2025") == [(31,)]


async def test_a_name_that_is_none_or_two_changes_nothing(room: Room):
    room.execute(*SHOP)
    made = await room.backup()
    before = dump_text(room.conninfo)
    with pytest.raises(NotFound, match="nowhere"):
        await bring(room, made, ["orders", "nowhere"])
    with pytest.raises(UsageError, match=r"app.*people.*public.*people"):
        await bring(room, made, ["people"])
    assert [one.rows for one in (await bring(room, made, ["app.people"])).tables] == [0]
    room.execute(f"DROP SCHEMA {room.execute(NEW_SCHEMA)[0][0]} CASCADE")
    assert dump_text(room.conninfo) == before
    assert room.databases() == {room.conninfo.database}


NEW_SCHEMA = "SELECT nspname FROM pg_namespace WHERE nspname ~ '^restored_'"


async def test_what_goes_wrong_leaves_the_live_database_as_it_was(
    room: Room, flip: Callable[..., None], reseal: Callable[..., Backup]
):
    room.execute(*SHOP)
    made = await room.backup()
    room.execute("DROP TABLE orders", "DROP TYPE state")
    before = dump_text(room.conninfo)
    with pytest.raises(ToolFailed, match="state"):
        await bring(room, made, ["orders"])
    assert made.manifest
    with pytest.raises(Refused, match="older"):
        await bring(room, reseal(room, made, server_version="99.1"), ["orders"])
    flip(made)
    with pytest.raises(Failed, match="damaged"):
        await bring(room, made, ["orders"])
    assert dump_text(room.conninfo) == before
    assert room.databases() == {room.conninfo.database}
