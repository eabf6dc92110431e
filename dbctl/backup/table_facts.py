"""Single tables in a restored database: with their partitions, their columns and their keys."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from dbctl.errors import NotFound, UsageError
from dbctl.postgres.identifiers import quote_identifier

_NAMED = """
    SELECT c.oid, quote_ident(n.nspname) || '.' || quote_ident(c.relname) AS shown
      FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
     WHERE c.relkind IN ('r', 'p') AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
       AND CAST(:name AS text) IN (c.relname, n.nspname || '.' || c.relname)
"""
_FAMILY = """
    WITH RECURSIVE family (oid) AS (
        SELECT unnest(CAST(:oids AS oid[])) UNION SELECT i.inhrelid FROM pg_inherits AS i JOIN family AS f ON i.inhparent = f.oid)
    SELECT c.oid, n.nspname AS schema, c.relname AS name, c.relispartition AS partition,
           ARRAY(SELECT inhparent FROM pg_inherits WHERE inhrelid = c.oid ORDER BY inhseqno) AS parents,
           ARRAY(SELECT attname::text FROM pg_attribute
                  WHERE attrelid = c.oid AND attnum > 0 AND NOT attisdropped AND attgenerated = '' ORDER BY attnum) AS columns,
           EXISTS (SELECT FROM pg_index WHERE indrelid = c.oid AND indisunique) AS keyed
      FROM family JOIN pg_class AS c USING (oid) JOIN pg_namespace AS n ON n.oid = c.relnamespace ORDER BY c.oid
"""
_PARENTS = """
    SELECT c.oid, n.nspname, c.relname FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
     WHERE c.oid = ANY (CAST(:oids AS oid[]))
"""


@dataclass(frozen=True, slots=True)
class Side:
    """A table to bring back; ``below``: only as a part of another; ``strangers`` are parents that stay away."""

    oid: int
    schema: str
    name: str
    partition: bool
    parents: tuple[int, ...]
    columns: tuple[str, ...]
    keyed: bool
    below: bool
    strangers: tuple[str, ...]

    @property
    def shown(self) -> str:
        """Its quoted name."""
        return f"{quote_identifier(self.schema)}.{quote_identifier(self.name)}"

    @property
    def alter(self) -> str:
        """How a statement begins that changes it."""
        return f"ALTER TABLE {self.shown}"

    def family(self, others: Sequence[Side]) -> Iterator[int]:
        """Its oid, and those of all below it."""
        yield self.oid
        for other in others:
            if self.oid in other.parents:
                yield from other.family(others)


async def find_tables(session: AsyncSession, names: Sequence[str]) -> list[Side]:
    """The named tables and all below them (pg_class, pg_inherits). Raises NotFound, UsageError."""
    oids = [await _find(session, name) for name in names]
    rows = (await session.execute(text(_FAMILY), {"oids": oids})).all()
    inside = {row.oid for row in rows}
    outside = {oid for row in rows for oid in row.parents if oid not in inside}
    parents = await session.execute(text(_PARENTS), {"oids": list(outside)})
    shown = {oid: f"{quote_identifier(schema)}.{quote_identifier(name)}" for oid, schema, name in parents}
    found = [
        Side(
            oid=row.oid,
            schema=row.schema,
            name=row.name,
            partition=row.partition,
            parents=tuple(row.parents),
            columns=tuple(row.columns),
            keyed=row.keyed,
            below=any(parent in inside for parent in row.parents),
            strangers=tuple(shown[parent] for parent in row.parents if parent not in inside),
        )
        for row in rows
    ]
    plain = [one.name for one in found]
    if twice := sorted({name for name in plain if plain.count(name) > 1}):
        raise UsageError(f"two tables are called {twice[0]}", hint="restore them one after the other")
    return found


def detach(found: Sequence[Side]) -> Iterator[str]:
    """What takes the tables out of parents that are not restored: else they would be attached to the live ones."""
    for one in found:
        for parent in one.strangers:
            if one.partition:
                yield f"ALTER TABLE {parent} DETACH PARTITION {one.shown}"
            else:
                yield f"{one.alter} NO INHERIT {parent}"


def copy_back(one: Side, schema: str) -> str:
    """SQL that gives the live table those rows that it has no longer."""
    columns = ", ".join(map(quote_identifier, one.columns))
    rows = f"SELECT {columns} FROM {quote_identifier(schema)}.{quote_identifier(one.name)}"  # noqa: S608 - quoted
    # Without a key nothing else tells which rows are there.
    there = f"EXCEPT ALL SELECT {columns} FROM {one.shown}"  # noqa: S608 - quoted
    unless = "ON CONFLICT DO NOTHING" if one.keyed else there
    return f"INSERT INTO {one.shown} ({columns}) OVERRIDING SYSTEM VALUE {rows} {unless};"


async def _find(session: AsyncSession, name: str) -> int:
    found = (await session.execute(text(_NAMED), {"name": name})).all()
    if not found:
        raise NotFound(f"no table {name!r} in the backup", hint="`dbctl backup show` lists them")
    if len(found) > 1:
        shown = ", ".join(sorted(row.shown for row in found))
        raise UsageError(f"{name!r} could be {shown}", hint="write it with its schema")
    return int(found[0].oid)
