"""What only the few that are reported are asked for, and what the workload says of tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection

from dbctl.activity.indexes.mend import Partition
from dbctl.activity.reading import bounded
from dbctl.database.errors import sqlstate
from dbctl.postgres.identifiers import quote_if_needed

_LOCK_NOT_AVAILABLE = "55P03"
# Both wait behind whoever has locked the table: for the lock_timeout, and no longer.
_DETAILS = text(
    """
    SELECT o.oid, pg_get_indexdef(o.oid) AS definition, pg_relation_size(o.oid) AS size_bytes
      FROM unnest(CAST(:oids AS oid[])) AS o (oid)
    """
)
# So many locked indexes one by one, and the others are taken for locked too: all in all it takes a second.
_LOCKED_LIMIT = 10
_PARTITIONS = text(
    """
    WITH RECURSIVE below AS (
        SELECT h.inhrelid AS oid, h.inhparent AS parent, 1 AS level
          FROM pg_catalog.pg_inherits AS h WHERE h.inhparent = :oid
        UNION ALL
        SELECT h.inhrelid, h.inhparent, b.level + 1
          FROM below AS b JOIN pg_catalog.pg_inherits AS h ON h.inhparent = b.oid
    )
    SELECT n.nspname AS schema, c.relname AS name, pn.nspname AS parent_schema, p.relname AS parent,
           c.relkind = 'p' AS is_partitioned
      FROM below AS b
      JOIN pg_catalog.pg_class AS c ON c.oid = b.oid JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
      JOIN pg_catalog.pg_class AS p ON p.oid = b.parent JOIN pg_catalog.pg_namespace AS pn ON pn.oid = p.relnamespace
     ORDER BY b.level, 1, 2
    """
)
_SCANNED = text(
    """
    SELECT s.relid AS oid, s.schemaname AS schema, s.relname AS name, s.seq_scan AS scans,
           s.seq_tup_read AS rows_read, coalesce(s.idx_scan, 0) AS index_scans, s.n_live_tup AS live_rows
      FROM pg_catalog.pg_stat_user_tables AS s
     WHERE s.n_live_tup >= :least_rows AND s.seq_scan >= :least_scans AND s.seq_tup_read >= s.seq_scan * :least_rows
       AND s.schemaname NOT LIKE 'pg\\_temp\\_%'
     ORDER BY s.seq_tup_read DESC
    """
)


@dataclass(frozen=True, slots=True)
class Details:
    """An index's definition as SQL, and how large it is now."""

    definition: str
    size_bytes: int


@dataclass(frozen=True, slots=True)
class ScannedTable:
    """A large table that is read in full again and again. Counts since the statistics began."""

    oid: int
    schema: str
    name: str
    scans: int
    rows_read: int
    index_scans: int
    live_rows: int


async def read_details(connection: AsyncConnection, oids: Sequence[int]) -> Mapping[int, Details]:
    """By oid; without those whose table somebody has locked, or that are gone."""
    together = await _details(connection, oids)
    if together is not None:
        return together
    found: dict[int, Details] = {}
    locked = 0
    for oid in oids:
        one = await _details(connection, [oid])
        locked += one is None
        found |= one or {}
        if locked >= _LOCKED_LIMIT:
            break
    return found


async def _details(connection: AsyncConnection, oids: Sequence[int]) -> dict[int, Details] | None:
    try:
        async with bounded(connection):
            rows = await connection.execute(_DETAILS, {"oids": list(oids)})
            return {
                row.oid: Details(row.definition, row.size_bytes) for row in rows if row.definition is not None
            }
    except DBAPIError as error:
        if sqlstate(error) != _LOCK_NOT_AVAILABLE:
            raise
        return None


async def read_partitions(connection: AsyncConnection, oid: int) -> tuple[Partition, ...]:
    """All tables below a partitioned one, from pg_inherits; parents first."""
    async with bounded(connection):
        rows = (await connection.execute(_PARTITIONS, {"oid": oid})).all()
    return tuple(
        Partition(
            row.schema,
            row.name,
            f"{quote_if_needed(row.parent_schema)}.{quote_if_needed(row.parent)}",
            row.is_partitioned,
        )
        for row in rows
    )


async def read_scanned_tables(
    connection: AsyncConnection, *, least_rows: int, least_scans: int
) -> tuple[ScannedTable, ...]:
    """Large tables of which many scans read much, from pg_stat_user_tables; most rows read first."""
    async with bounded(connection):
        found = await connection.execute(_SCANNED, {"least_rows": least_rows, "least_scans": least_scans})
        return tuple(ScannedTable(**row) for row in found.mappings())
