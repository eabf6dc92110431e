"""The names that are chosen are those that PostgreSQL would have chosen."""

from __future__ import annotations

import pytest

from dbctl.migrate.safe.names import free_name
from dbctl.postgres.identifiers import quote_identifier
from tests.fixtures.database import execute

TABLES = ["t", "Order Lines", "t" * 63, "ü" * 31, "t" * 40 + "ß"]
COLUMNS = [("a",), ("a", "b"), ("c" * 63,), ("é" * 31,), ("c" * 30, "d" * 30), ("x" * 29 + "é", "y")]


@pytest.mark.parametrize("table", TABLES)
@pytest.mark.parametrize("columns", COLUMNS, ids=lambda columns: "+".join(columns)[:20])
def test_it_is_postgresql_s_own_choice(empty_conninfo, table, columns):
    listed = ", ".join(quote_identifier(column) for column in columns)
    typed = ", ".join(f"{quote_identifier(column)} int" for column in columns)
    execute(
        empty_conninfo,
        f"CREATE TABLE parents ({typed}, UNIQUE ({listed}))",
        f"CREATE TABLE {quote_identifier(table)} ({typed})",
        *[
            f"ALTER TABLE {quote_identifier(table)} ADD {constraint}"
            for constraint in (f"UNIQUE ({listed})", f"FOREIGN KEY ({listed}) REFERENCES parents ({listed})")
            * 2
        ],
    )
    rows = execute(
        empty_conninfo,
        "SELECT conname, contype::text FROM pg_constraint WHERE conrelid <> 'parents'::regclass AND contype IN ('u', 'f')"
        " AND connamespace = 'public'::regnamespace",
    )
    made = {kind: {name for name, its in rows if its == kind} for kind in "uf"}
    for kind, label in (("u", "key"), ("f", "fkey")):
        taken: set[str] = set()
        for _ in range(2):
            taken.add(free_name(table, columns, label, taken))
        assert taken == made[kind]
