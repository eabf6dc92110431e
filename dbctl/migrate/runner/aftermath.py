"""What a run may have left: indexes that are INVALID, constraints NOT VALID, tables without statistics."""

from __future__ import annotations

from collections.abc import Mapping

from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection

from dbctl.migrate.model import Aftermath

# Of a partitioned table (relkind I) an index is INVALID while partitions are still to be attached.
_INVALID = """
SELECT quote_ident(n.nspname) || '.' || quote_ident(c.relname)
  FROM pg_index AS i
  JOIN pg_class AS c ON c.oid = i.indexrelid AND c.relkind IN ('i', 'I')
  JOIN pg_namespace AS n ON n.oid = c.relnamespace
 WHERE NOT i.indisvalid AND n.nspname NOT IN ('pg_catalog', 'pg_toast')
   AND NOT EXISTS (SELECT FROM pg_stat_progress_create_index AS p WHERE p.index_relid = c.oid)
 ORDER BY 1
"""
_NOT_VALIDATED = """
SELECT quote_ident(k.conname) || ' on ' || CAST(CAST(k.conrelid AS regclass) AS text)
  FROM pg_constraint AS k
 WHERE NOT k.convalidated AND k.conrelid <> 0 AND coalesce(to_jsonb(k) ->> 'conenforced', 'true') <> 'false'
 ORDER BY 1
"""
# A table that was rewritten is in another file; its statistics may be gone, or of another type.
_FILES = """
SELECT c.oid, c.relfilenode, quote_ident(n.nspname) || '.' || quote_ident(c.relname) AS name,
       coalesce((SELECT array_agg(i.indexrelid ORDER BY i.indexrelid) FROM pg_index AS i
                  WHERE i.indrelid = c.oid AND i.indexprs IS NOT NULL), '{}') AS of_expressions
  FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
 WHERE c.relkind IN ('r', 'm') AND c.relpersistence <> 't' AND n.nspname !~ '^pg_'
"""
Files = Mapping[int, tuple[int, frozenset[int]]]


async def read_files(guard: AsyncConnection) -> Files:
    """The file of each table, and its indexes over expressions, which have statistics of their own (pg_class)."""
    rows = await guard.execute(text(_FILES))
    return {row.oid: (row.relfilenode, frozenset(row.of_expressions)) for row in rows}


async def look_after(guard: AsyncConnection, before: Files) -> Aftermath:
    """Look at the whole database (pg_index, pg_constraint), and ANALYZE what was rewritten since ``before``."""
    invalid = tuple(await guard.scalars(text(_INVALID)))
    loose = tuple(await guard.scalars(text(_NOT_VALIDATED)))
    analyzed, notes = [], []
    for name in await _changed(guard, before):
        try:
            await guard.exec_driver_sql(f"ANALYZE {name}")
            analyzed.append(name)
        except SQLAlchemyError as error:
            said = str(getattr(error, "orig", error)).partition("\n")[0]
            notes.append(f"{name} has no new statistics: {said}")
    return Aftermath(invalid, loose, tuple(analyzed), tuple(notes))


async def _changed(guard: AsyncConnection, before: Files) -> list[str]:
    rows = (await guard.execute(text(_FILES))).all()
    return sorted(
        row.name
        for row in rows
        if row.oid in before
        and (row.relfilenode != before[row.oid][0] or set(row.of_expressions) - before[row.oid][1])
    )
