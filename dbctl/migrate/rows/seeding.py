"""Fills all empty tables, and empties them again."""

from __future__ import annotations

from collections.abc import Collection

from sqlalchemy import Connection

from dbctl.migrate.rows.catalog import read_tables, read_types
from dbctl.migrate.rows.domains import learn_domains
from dbctl.migrate.rows.fill import Filler
from dbctl.migrate.rows.model import Seeded, Table
from dbctl.migrate.rows.order import in_order
from dbctl.migrate.rows.sources import Unfillable
from dbctl.migrate.rows.state import Looked, forget, look, remember, with_rows
from dbctl.migrate.rows.statement import run
from dbctl.migrate.rows.values import Values


def seed(
    connection: Connection, oids: Collection[int] | None = None, *, skip: Collection[str] = ()
) -> Seeded:
    """Put three rows into each table without a row, or into those of ``oids``; ``skip`` names some (schema.table).

    Commits nothing, and wants a transaction: commit it before a revision runs, whose own statements must not
    meet the pending triggers of ours. Tables of the server, of extensions and Alembic's version tables stay
    as they are. A table that takes no row is tried again only when something has changed.
    """
    looked = [
        table
        for table in look(connection)
        if f"{table.schema}.{table.name}" not in skip and (oids is None or table.oid in oids)
    ]
    known = {table.oid: table.note for table in looked if table.is_known}
    if len(known) == len(looked):
        return Seeded(failed=known)
    filled = with_rows(connection, [table for table in looked if not table.bare])
    remember(
        connection,
        [(t, "seeded" if t.rows == "seeded" else "own", "") for t in looked if t.oid in filled],
    )
    empty = [table for table in looked if table.oid not in filled]
    if all(table.is_known for table in empty):
        return Seeded(failed={table.oid: table.note for table in empty})
    return _fill(connection, empty)


def unseed(connection: Connection, oids: Collection[int] | None = None) -> None:
    """Empty the tables that `seed` filled, in this session or an earlier one; of ``oids`` only, and what refers to them.

    Commits nothing; sequences stay.
    """
    forget(connection, oids)


def _fill(connection: Connection, empty: Collection[Looked]) -> Seeded:
    # Scratch does without sequential scans, where our own look at the catalog takes 30 times as long.
    run(connection, "SET LOCAL enable_seqscan = on")
    tables = read_tables(connection, [table.oid for table in empty])
    values = Values(read_types(connection, tables))
    learn_domains(connection, values)
    filler = Filler(connection, values, {table.oid: table for table in tables})
    failed: dict[int, str] = {}
    for group in in_order(tables):
        try:
            filler.fill(group)
        except Unfillable as why:
            failed |= {table.oid: _note(table, str(why)) for table in group}
        for table in group:
            filler.waiting.pop(table.oid)
    filler.connect()
    # A trigger on one of the others may have put a row into it.
    for oid in with_rows(connection, [table for table in empty if table.oid in failed]):
        del failed[oid]
    seeded = frozenset(table.oid for table in empty if table.oid not in failed)
    remember(
        connection,
        [(t, "seeded" if t.oid in seeded else "failed", failed.get(t.oid, "")) for t in empty],
    )
    known = {table.oid: table.note for table in empty}
    notes = [note for oid, note in sorted(failed.items()) if known[oid] != note]
    return Seeded(seeded, tuple(notes), failed)


def _note(table: Table, why: str) -> str:
    return f"no valid row for {table.shown}: {why}"
