"""Indexes and foreign keys as the catalog and the statistics know them, read without a lock on any table.

Definitions (pg_get_indexdef) and exact sizes (pg_relation_size) wait behind whoever has locked the table: sizes are
those of the last VACUUM or ANALYZE, expressions are compared as the catalog stores them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from dbctl.postgres.identifiers import quote_if_needed

_NULLS_NOT_DISTINCT, _LAST_SCAN, _NOT_ENFORCED = 15, 16, 18
_OF_KEYS = ("attributes", "classes", "collations", "options")
# Where an expression stood in its statement is stored with it, and makes no difference.
_STORED = r"regexp_replace(CAST(i.{} AS text), ':location -?\d+', '', 'g')"
# Of sessions of other roles a plain role sees that an index is built, but not which: then the lock of the builder
# on the table tells. DROP INDEX CONCURRENTLY is no build; it has the index itself locked.
_INDEXES = r"""
WITH build AS MATERIALIZED (
    SELECT p.relid FROM pg_catalog.pg_stat_progress_create_index AS p WHERE p.datname = current_database()
), held AS MATERIALIZED (
    SELECT l.relation FROM pg_catalog.pg_locks AS l
     WHERE l.locktype = 'relation' AND l.granted AND l.pid <> pg_backend_pid()
       AND l.mode IN ('ShareUpdateExclusiveLock', 'AccessExclusiveLock')
       AND l.database = (SELECT d.oid FROM pg_catalog.pg_database AS d WHERE d.datname = current_database())
), owned AS MATERIALIZED (
    SELECT c.conindid, min(c.conname) FILTER (WHERE c.contype IN ('p', 'u', 'x')) AS name,
           min(CAST(c.contype AS text)) FILTER (WHERE c.contype IN ('p', 'u', 'x')) AS kind,
           bool_or(c.contype = 'f') AS has_references
      FROM pg_catalog.pg_constraint AS c WHERE c.conindid <> 0 GROUP BY 1
)
SELECT i.indexrelid AS oid, i.indrelid AS table_oid, n.nspname AS schema, x.relname AS name, t.relname AS "table",
       a.amname AS method, i.indisunique AS is_unique, i.indisprimary AS is_primary, i.indimmediate AS is_immediate,
       i.indisclustered AS is_clustered, i.indisreplident AS is_replica_identity,
       i.indisvalid AND i.indisready AND i.indislive AS is_valid, {nulls_not_distinct} AS nulls_not_distinct,
       i.indnkeyatts AS key_count, CAST(i.indkey AS text) AS attributes, CAST(i.indclass AS text) AS classes,
       CAST(i.indcollation AS text) AS collations, CAST(i.indoption AS text) AS options,
       {expressions} AS expressions, {predicate} AS predicate,
       ARRAY(SELECT coalesce((SELECT CAST(c.attname AS text) FROM pg_catalog.pg_attribute AS c
                               WHERE c.attrelid = i.indrelid AND c.attnum = k.number), '')
               FROM unnest(i.indkey) WITH ORDINALITY AS k (number, place) ORDER BY k.place) AS columns,
       o.name AS constraint_name, o.kind AS constraint_kind, coalesce(o.has_references, false) AS is_referenced,
       x.relkind = 'I' AS is_partitioned, (SELECT min(h.inhparent) FROM pg_catalog.pg_inherits AS h
                                            WHERE h.inhrelid = i.indexrelid) AS parent_oid,
       CAST(x.relpages AS bigint) * CAST(current_setting('block_size') AS int) AS size_bytes,
       CAST(t.reltuples AS float) AS table_rows, pg_stat_get_numscans(i.indexrelid) AS scans,
       {last_scan} AS last_scan,
       CASE WHEN CAST(current_setting('track_commit_timestamp') AS bool)
            THEN pg_xact_commit_timestamp(x.xmin) END AS made_at,
       NOT (i.indisvalid AND i.indisready AND i.indislive)
         AND (i.indexrelid IN (SELECT relation FROM held) OR i.indrelid IN (SELECT relid FROM build)
              OR (EXISTS (SELECT FROM build WHERE relid IS NULL)
                  AND i.indrelid IN (SELECT relation FROM held))) AS is_in_progress
  FROM pg_catalog.pg_index AS i
  JOIN pg_catalog.pg_class AS x ON x.oid = i.indexrelid
  JOIN pg_catalog.pg_class AS t ON t.oid = i.indrelid
  JOIN pg_catalog.pg_namespace AS n ON n.oid = t.relnamespace
  JOIN pg_catalog.pg_am AS a ON a.oid = x.relam
  LEFT JOIN owned AS o ON o.conindid = i.indexrelid
 WHERE n.nspname NOT IN ('pg_catalog', 'information_schema') AND n.nspname NOT LIKE 'pg\_temp\_%'
   AND n.nspname NOT LIKE 'pg\_toast\_temp\_%'
   AND (n.nspname <> 'pg_toast' OR NOT i.indisvalid)
   AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend AS d
                    WHERE d.classid = CAST('pg_catalog.pg_class' AS regclass) AND d.objid = t.oid AND d.deptype = 'e')
 ORDER BY n.nspname, t.relname, x.relname
"""
_FOREIGN_KEYS = """
SELECT k.conname AS name, n.nspname AS schema, t.relname AS "table", k.conrelid AS table_oid,
       fn.nspname AS foreign_schema, ft.relname AS foreign_table, CAST(k.conkey AS int[]) AS attributes,
       ARRAY(SELECT CAST(c.attname AS text) FROM unnest(k.conkey) WITH ORDINALITY AS u (number, place)
               JOIN pg_catalog.pg_attribute AS c ON c.attrelid = k.conrelid AND c.attnum = u.number
              ORDER BY u.place) AS columns,
       t.relkind = 'p' AS is_partitioned, CAST(t.reltuples AS float) AS table_rows,
       CAST(t.relpages AS bigint) * CAST(current_setting('block_size') AS int) AS table_bytes
  FROM pg_catalog.pg_constraint AS k
  JOIN pg_catalog.pg_class AS t ON t.oid = k.conrelid
  JOIN pg_catalog.pg_namespace AS n ON n.oid = t.relnamespace
  JOIN pg_catalog.pg_class AS ft ON ft.oid = k.confrelid
  JOIN pg_catalog.pg_namespace AS fn ON fn.oid = ft.relnamespace
 WHERE k.contype = 'f' AND k.conparentid = 0 AND {enforced}
   AND n.nspname NOT IN ('pg_catalog', 'information_schema')
   AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend AS d
                    WHERE d.classid = CAST('pg_catalog.pg_class' AS regclass) AND d.objid = t.oid AND d.deptype = 'e')
 ORDER BY n.nspname, t.relname, k.conname
"""
# A database that nobody reset, or whose statistics were lost in a crash, tells no time from 15 on: then it is the
# server's own, which a crash sets anew.
_WINDOW = text(
    """
    SELECT coalesce(d.stats_reset, b.stats_reset) AS since, clock_timestamp() AS now,
           pg_is_in_recovery() AS is_standby,
           (SELECT count(*) FROM pg_catalog.pg_stat_replication) AS standbys
      FROM pg_catalog.pg_stat_database AS d, pg_catalog.pg_stat_bgwriter AS b
     WHERE d.datname = current_database()
    """
)


@dataclass(frozen=True, slots=True)
class IndexFacts:
    """One index. ``columns`` are the key's, "" for an expression; ``included`` those of INCLUDE.

    ``keys`` and the texts of ``expressions`` and ``predicate`` are for comparing only. ``size_bytes`` is of the last
    VACUUM or ANALYZE, ``scans`` since `StatisticsWindow.since`; ``last_scan`` from PostgreSQL 16 on, ``made_at`` with
    track_commit_timestamp only. ``parent_oid``: it is attached to that index of a partitioned table.
    """

    oid: int
    table_oid: int
    schema: str
    name: str
    table: str
    method: str
    columns: tuple[str, ...]
    included: tuple[str, ...]
    keys: tuple[tuple[str, ...], ...]
    expressions: str | None
    predicate: str | None
    is_unique: bool
    is_primary: bool
    is_immediate: bool
    is_clustered: bool
    is_replica_identity: bool
    is_valid: bool
    is_in_progress: bool
    nulls_not_distinct: bool
    constraint_name: str | None
    constraint_kind: Literal["p", "u", "x"] | None
    is_referenced: bool
    is_partitioned: bool
    parent_oid: int | None
    size_bytes: int
    table_rows: float
    scans: int
    last_scan: datetime | None
    made_at: datetime | None

    @property
    def qualified(self) -> str:
        """Schema and name, quoted where they must be."""
        return f"{quote_if_needed(self.schema)}.{quote_if_needed(self.name)}"

    @property
    def qualified_table(self) -> str:
        """The same of its table."""
        return f"{quote_if_needed(self.schema)}.{quote_if_needed(self.table)}"


@dataclass(frozen=True, slots=True)
class ForeignKeyFacts:
    """One foreign key that is enforced; those of partitions are told by their parent's. ``table_rows`` -1: unknown."""

    name: str
    schema: str
    table: str
    table_oid: int
    foreign_schema: str
    foreign_table: str
    columns: tuple[str, ...]
    attributes: tuple[int, ...]
    is_partitioned: bool
    table_rows: float
    table_bytes: int

    @property
    def qualified_table(self) -> str:
        """Schema and name of the table that refers, quoted where they must be."""
        return f"{quote_if_needed(self.schema)}.{quote_if_needed(self.table)}"

    @property
    def qualified_foreign_table(self) -> str:
        """The same of the table that it refers to."""
        return f"{quote_if_needed(self.foreign_schema)}.{quote_if_needed(self.foreign_table)}"


@dataclass(frozen=True, slots=True)
class StatisticsWindow:
    """Since when uses are counted here (None: nobody knows), and who counts them elsewhere.

    On a standby they are the standby's own; ``standbys`` are those that stream from here.
    """

    since: datetime | None
    now: datetime
    is_standby: bool
    standbys: int

    @property
    def seconds(self) -> float:
        """How long uses have been counted; 0 where nobody knows."""
        return (self.now - self.since).total_seconds() if self.since is not None else 0


async def read_indexes(connection: AsyncConnection) -> tuple[IndexFacts, ...]:
    """All indexes of the database but the system's, extensions' and temporary ones: from pg_index and statistics."""
    major = await _major(connection)
    statement = _INDEXES.format(
        nulls_not_distinct="i.indnullsnotdistinct" if major >= _NULLS_NOT_DISTINCT else "false",
        last_scan="pg_stat_get_lastscan(i.indexrelid)"
        if major >= _LAST_SCAN
        else "CAST(NULL AS timestamptz)",
        expressions=_STORED.format("indexprs"),
        predicate=_STORED.format("indpred"),
    )
    # Not `text()`: what follows a colon in the pattern would be read as a parameter.
    found = await connection.exec_driver_sql(statement)
    names = tuple(found.keys())
    # Of ten thousand indexes, a mapping each would take as long as the server does.
    return tuple(_index(dict(zip(names, row, strict=True))) for row in found)


async def read_foreign_keys(connection: AsyncConnection) -> tuple[ForeignKeyFacts, ...]:
    """All enforced foreign keys, from pg_constraint."""
    enforced = "k.conenforced" if await _major(connection) >= _NOT_ENFORCED else "true"
    found = await connection.execute(text(_FOREIGN_KEYS.format(enforced=enforced)))
    return tuple(
        ForeignKeyFacts(**{**row, "columns": tuple(row["columns"]), "attributes": tuple(row["attributes"])})
        for row in found.mappings()
    )


async def read_window(connection: AsyncConnection) -> StatisticsWindow:
    """From pg_stat_database; standbys are seen by roles with pg_monitor only."""
    row = (await connection.execute(_WINDOW)).one()
    return StatisticsWindow(row.since, row.now, row.is_standby, row.standbys)


async def _major(connection: AsyncConnection) -> int:
    number = await connection.scalar(text("SELECT CAST(current_setting('server_version_num') AS int)"))
    return int(number or 0) // 10000


def _index(row: dict[str, Any]) -> IndexFacts:
    count: int = row.pop("key_count")
    columns: Sequence[str] = row.pop("columns")
    parts = [row.pop(name).split()[:count] for name in _OF_KEYS]
    return IndexFacts(
        columns=tuple(columns[:count]),
        included=tuple(columns[count:]),
        keys=tuple(zip(*parts, strict=True)),
        **row,
    )
