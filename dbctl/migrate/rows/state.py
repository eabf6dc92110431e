"""Remembers in the scratch database which tables it has looked at, so that looking again costs next to nothing."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from sqlalchemy import Connection, text

from dbctl.migrate.rows.statement import qualified, rows_of, run

# Whose rows are in it: ours, the history's, or nobody's since none is valid.
Rows = Literal["seeded", "own", "failed"]
# In the database, not in memory: undone with the transaction, there for the next session, in a clone as well.
_MAKE = (
    "CREATE SCHEMA IF NOT EXISTS dbctl_scratch",
    """
CREATE TABLE IF NOT EXISTS dbctl_scratch.rows (
    relation oid PRIMARY KEY,
    rows text NOT NULL,
    note text NOT NULL,
    mark text NOT NULL,
    deleted bigint NOT NULL
)
""",
)
_IS_THERE = "SELECT to_regclass('dbctl_scratch.rows') IS NOT NULL"
# Rows are gone only if some were deleted or the file is new: the counters and sizes cost less than a look inside.
_LOOK = text("""
SELECT c.oid, n.nspname, c.relname, CAST(c.xmin AS text) AS mark, s.rows, s.note,
       s.mark IS DISTINCT FROM CAST(c.xmin AS text) AS changed, pg_relation_size(c.oid) = 0 AS bare
  FROM pg_class AS c
  JOIN pg_namespace AS n ON n.oid = c.relnamespace
  LEFT JOIN dbctl_scratch.rows AS s ON s.relation = c.oid
 WHERE c.relkind = 'r' AND c.relpersistence <> 't' AND c.oid >= 16384
   AND n.nspname NOT IN ('information_schema', 'dbctl_scratch') AND n.nspname !~ '^pg_'
   AND (s.rows IS NULL OR s.rows = 'failed' OR pg_relation_size(c.oid) = 0
        OR s.deleted <> pg_stat_get_tuples_deleted(c.oid) + pg_stat_get_xact_tuples_deleted(c.oid))
   AND NOT (c.relnatts = 1 AND EXISTS (
       SELECT FROM pg_attribute AS a WHERE a.attrelid = c.oid AND a.attname = 'version_num'))
   AND NOT EXISTS (
       SELECT FROM pg_depend AS d
        WHERE d.classid = CAST('pg_class' AS regclass) AND d.objid = c.oid AND d.deptype = 'e')
 ORDER BY c.oid
""")
_REMEMBER = text("""
INSERT INTO dbctl_scratch.rows AS s (relation, rows, note, mark, deleted)
SELECT t.oid, t.rows, t.note, t.mark,
       pg_stat_get_tuples_deleted(t.oid) + pg_stat_get_xact_tuples_deleted(t.oid)
  FROM jsonb_to_recordset(CAST(CAST(:tables AS text) AS jsonb)) AS t(oid oid, rows text, note text, mark text)
    ON CONFLICT (relation) DO UPDATE
   SET rows = excluded.rows, note = excluded.note, mark = excluded.mark, deleted = excluded.deleted
""")
# What refers to a truncated table has to be truncated with it, or the server refuses.
_SEEDED = text("""
WITH RECURSIVE tied(oid) AS (
    SELECT relation FROM dbctl_scratch.rows
     WHERE rows = 'seeded' AND (:all OR relation IN (
         SELECT CAST(value AS oid) FROM jsonb_array_elements_text(CAST(CAST(:oids AS text) AS jsonb))))
    UNION
    SELECT k.conrelid FROM tied JOIN pg_constraint AS k ON k.confrelid = tied.oid AND k.contype = 'f'
)
SELECT c.oid, n.nspname, c.relname, s.rows IS NOT NULL AS ours, c.relkind = 'p' AS partitioned
  FROM tied
  JOIN pg_class AS c ON c.oid = tied.oid
  JOIN pg_namespace AS n ON n.oid = c.relnamespace
  LEFT JOIN dbctl_scratch.rows AS s ON s.relation = c.oid AND s.rows = 'seeded'
""")
_WITH = text(
    "SELECT relation FROM dbctl_scratch.rows WHERE to_jsonb(rows) = CAST(CAST(:rows AS text) AS jsonb)"
)
_FORGET = text("""
DELETE FROM dbctl_scratch.rows
 WHERE relation IN (SELECT CAST(value AS oid) FROM jsonb_array_elements_text(CAST(CAST(:oids AS text) AS jsonb)))
""")


@dataclass(frozen=True, slots=True)
class Looked:
    """A table that is empty, or was when it was looked at last. ``note`` says why it has no row, if that is known."""

    oid: int
    schema: str
    name: str
    mark: str
    rows: Rows | None
    note: str
    changed: bool
    bare: bool

    @property
    def is_known(self) -> bool:
        """Whether it has been tried in vain as it is now."""
        return self.rows == "failed" and not self.changed


def look(connection: Connection) -> list[Looked]:
    """The tables that may want rows (pg_class); not the servers', extensions', Alembic's version tables and ours."""
    if not rows_of(connection, _IS_THERE)[0][0]:
        for sql in _MAKE:
            run(connection, sql)
    return [Looked(*tuple(row)) for row in rows_of(connection, _LOOK)]


def with_rows(connection: Connection, tables: Collection[Looked]) -> set[int]:
    """Those (oids) that have a row, seen by a look inside."""
    names = {table.oid: f"ONLY {qualified(table.schema, table.name)}" for table in tables}
    return _filled(connection, names) if names else set()


def remember(connection: Connection, tables: Iterable[tuple[Looked, Rows, str]]) -> None:
    """Keep whose rows these tables have, and why they have none."""
    records = [
        {"oid": table.oid, "rows": rows, "note": note, "mark": table.mark} for table, rows, note in tables
    ]
    if records:
        run(connection, _REMEMBER, tables=records)


def forget(connection: Connection, oids: Collection[int] | None) -> None:
    """Remove the rows of tables that are remembered as seeded, whoever added to them since, and of those in them."""
    if not rows_of(connection, _IS_THERE)[0][0]:
        return
    found = rows_of(connection, _SEEDED.bindparams(all=oids is None), oids=list(oids or ()))
    names = {
        row.oid: f"{'' if row.partitioned else 'ONLY '}{qualified(row.nspname, row.relname)}" for row in found
    }
    ours = {row.oid: names[row.oid] for row in found if row.ours}
    others = {oid: name for oid, name in names.items() if oid not in ours}
    if others and _filled(connection, others):
        deletes = ", ".join(f"d{oid} AS (DELETE FROM {name})" for oid, name in ours.items())  # noqa: S608 - quoted names
        run(connection, f"WITH {deletes} SELECT 1")
    elif ours:
        run(connection, f"TRUNCATE {', '.join(names.values())}")
    run(connection, _FORGET, oids=list(ours))


def tables_with(connection: Connection, rows: Rows) -> frozenset[int]:
    """The tables (oids) that are remembered with such rows, in this session or an earlier one."""
    if not rows_of(connection, _IS_THERE)[0][0]:
        return frozenset()
    return frozenset(row.relation for row in rows_of(connection, _WITH, rows=rows))


def _filled(connection: Connection, sources: Mapping[int, str]) -> set[int]:
    looks = (f"SELECT {key} AS key WHERE EXISTS (SELECT FROM {name})" for key, name in sources.items())  # noqa: S608 - quoted names
    return {row.key for row in rows_of(connection, " UNION ALL ".join(looks))}
