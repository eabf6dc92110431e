"""How big the target's tables are: bytes of their files, and rows as the server guesses. Counts no row."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncSession

from dbctl.database.errors import translate
from dbctl.errors import Busy

# Of each wanted table and of each of its partitions; pg_partition_tree() would lock them.
_TREE = """
WITH RECURSIVE tree (root, oid) AS (
    SELECT oid, oid FROM pg_class WHERE oid = ANY(CAST(:oids AS oid[]))
    UNION ALL
    SELECT tree.root, i.inhrelid FROM tree JOIN pg_inherits AS i ON i.inhparent = tree.oid
      JOIN pg_class AS c ON c.oid = i.inhrelid WHERE c.relispartition
)
"""
# pg_table_size() waits for whoever locks the table; the pages of its last vacuum do not.
_SIZES = f"""{_TREE},
busy AS (
    SELECT relation FROM pg_locks
     WHERE locktype = 'relation' AND mode = 'AccessExclusiveLock'
       AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
)
SELECT tree.root, c.oid, c.relkind IN ('r', 'm') AS has_storage, s.n_live_tup AS live_rows, estimated,
       CASE WHEN estimated THEN c.relpages * block ELSE pg_relation_size(c.oid) END AS heap_bytes,
       CASE WHEN c.relpages > 0 AND c.reltuples >= 0 THEN c.reltuples / (c.relpages * block) END AS rows_a_byte,
       CASE WHEN estimated THEN (c.relpages + coalesce(t.relpages, 0)) * block ELSE pg_table_size(c.oid) END
           AS table_bytes,
       CASE WHEN t.oid IS NULL THEN 0 WHEN estimated THEN t.relpages * block ELSE pg_total_relation_size(t.oid) END
           AS toast_bytes,
       CASE WHEN NOT estimated THEN pg_indexes_size(c.oid)
            ELSE (SELECT coalesce(sum(i.relpages), 0) FROM pg_index JOIN pg_class AS i ON i.oid = indexrelid
                   WHERE indrelid = c.oid) * block END AS index_bytes
  FROM tree JOIN pg_class AS c ON c.oid = tree.oid
  LEFT JOIN pg_class AS t ON t.oid = c.reltoastrelid
  LEFT JOIN pg_stat_all_tables AS s ON s.relid = c.oid
  CROSS JOIN LATERAL (SELECT CAST(current_setting('block_size') AS bigint) AS block,
                             :all_estimated OR c.oid IN (SELECT relation FROM busy) AS estimated) AS how
"""  # noqa: S608 - constants of ours


@dataclass(frozen=True, slots=True)
class Sizes:
    """What the tree below a table holds; the oids are its own and its partitions'."""

    oids: tuple[int, ...]
    table_bytes: int
    toast_bytes: int
    index_bytes: int
    rows: int | None
    estimated: bool
    is_empty: bool


async def read_sizes(session: AsyncSession, oids: Collection[int]) -> dict[int, Sizes]:
    """Bytes and estimated rows by oid (pg_class, pg_table_size, pg_indexes_size, n_live_tup).

    Takes ACCESS SHARE for a moment; of a table that another session locks, it gives the last vacuum's pages.
    """
    try:
        async with session.begin_nested():
            rows = (await session.execute(text(_SIZES), {"oids": list(oids), "all_estimated": False})).all()
    except Exception as error:
        if not _is_lock_timeout(error):
            raise
        rows = (await session.execute(text(_SIZES), {"oids": list(oids), "all_estimated": True})).all()
    return {root: _sizes([row for row in rows if row.root == root]) for root in {row.root for row in rows}}


def _is_lock_timeout(error: Exception) -> bool:
    return isinstance(translate(error), Busy)


def _sizes(leaves: list[Row[Any]]) -> Sizes:
    stored = [row for row in leaves if row.has_storage]
    counts = [_rows(row) for row in stored]
    return Sizes(
        oids=tuple(row.oid for row in leaves),
        table_bytes=sum(int(row.table_bytes) for row in stored),
        toast_bytes=sum(int(row.toast_bytes) for row in stored),
        index_bytes=sum(int(row.index_bytes) for row in stored),
        rows=None if None in counts else sum(count or 0 for count in counts),
        estimated=any(row.estimated for row in leaves),
        is_empty=all(row.heap_bytes == 0 and not row.estimated for row in stored),
    )


def _rows(row: Row[Any]) -> int | None:
    """As the planner guesses, by rows a page at the last ANALYZE; before the first one as the statistics count."""
    if row.heap_bytes == 0:
        return 0
    if row.rows_a_byte:
        return int(row.rows_a_byte * row.heap_bytes)
    return int(row.live_rows) if row.live_rows else None
