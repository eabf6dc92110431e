"""What a plan depends on, in a few hashes: a saved plan is good as long as they are the same."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

# No name is resolved and no table is locked: expressions are printed from the catalog alone.
_NOT_OURS = r"""
    n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
    AND NOT EXISTS (SELECT FROM pg_depend AS d WHERE d.deptype = 'e'
                     AND d.classid = {catalog}.tableoid AND d.objid = {catalog}.oid)
"""
_PARTS = f"""
WITH relation AS (
    SELECT c.oid, quote_ident(n.nspname) || '.' || quote_ident(c.relname) AS name, c.relkind, c.relpersistence,
           c.reloptions, c.relreplident, c.relrowsecurity, c.relforcerowsecurity, c.relispartition, c.relpartbound
      FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
     WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S') AND c.relpersistence <> 't'
       AND {_NOT_OURS.format(catalog="c")}
), part (oid, kind, said) AS (
    SELECT oid, 1, concat_ws('|', relkind, relpersistence, reloptions, relreplident, relrowsecurity,
                             relforcerowsecurity, relispartition, pg_get_expr(relpartbound, oid))
      FROM relation
    UNION ALL
    SELECT a.attrelid, 2, concat_ws('|', a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull,
                                    a.attidentity, a.attgenerated, a.attcollation, pg_get_expr(d.adbin, d.adrelid))
      FROM pg_attribute AS a LEFT JOIN pg_attrdef AS d ON (d.adrelid, d.adnum) = (a.attrelid, a.attnum)
     WHERE a.attnum > 0 AND NOT a.attisdropped
    UNION ALL
    SELECT conrelid, 3, concat_ws('|', conname, convalidated, pg_get_constraintdef(oid))
      FROM pg_constraint WHERE conrelid <> 0
    UNION ALL
    SELECT confrelid, 4, concat_ws('|', conname, conrelid, convalidated) FROM pg_constraint WHERE contype = 'f'
    UNION ALL
    SELECT indrelid, 5, concat_ws('|', indisvalid, indisreplident, pg_get_indexdef(indexrelid)) FROM pg_index
    UNION ALL
    SELECT tgrelid, 6, concat_ws('|', tgenabled, pg_get_triggerdef(oid)) FROM pg_trigger WHERE NOT tgisinternal
    UNION ALL
    SELECT polrelid, 7, concat_ws('|', polname, polcmd, polpermissive, polroles, pg_get_expr(polqual, polrelid),
                                  pg_get_expr(polwithcheck, polrelid)) FROM pg_policy
    UNION ALL
    SELECT inhparent, 8, CAST(inhrelid AS text) FROM pg_inherits
    UNION ALL
    SELECT r.ev_class, 9, concat_ws('|', r.rulename, md5(CAST(r.ev_action AS text))) FROM pg_rewrite AS r
     WHERE EXISTS (SELECT FROM relation WHERE relation.oid = r.ev_class)
    UNION ALL
    SELECT prrelid, 10, CAST(prpubid AS text) FROM pg_publication_rel
)
SELECT r.name, md5(string_agg(p.said, E'\\n' ORDER BY p.kind, p.said COLLATE "C")) AS digest
  FROM relation AS r JOIN part AS p USING (oid) GROUP BY r.name
"""  # noqa: S608 - constants of ours
_OBJECTS = f"""
WITH said (line) AS (
    SELECT concat_ws('|', 'function', n.nspname, p.proname, pg_get_function_identity_arguments(p.oid),
                     p.provolatile, md5(p.prosrc), format_type(p.prorettype, NULL))
      FROM pg_proc AS p JOIN pg_namespace AS n ON n.oid = p.pronamespace WHERE {_NOT_OURS.format(catalog="p")}
    UNION ALL
    SELECT concat_ws('|', 'type', n.nspname, t.typname, t.typtype, t.typnotnull,
                     format_type(t.typbasetype, t.typtypmod), t.typdefault,
                     (SELECT string_agg(e.enumlabel, ',' ORDER BY e.enumsortorder) FROM pg_enum AS e
                       WHERE e.enumtypid = t.oid),
                     (SELECT string_agg(pg_get_constraintdef(c.oid), ',' ORDER BY c.conname)
                        FROM pg_constraint AS c WHERE c.contypid = t.oid))
      FROM pg_type AS t JOIN pg_namespace AS n ON n.oid = t.typnamespace
     WHERE t.typtype IN ('e', 'd', 'r') AND {_NOT_OURS.format(catalog="t")}
    UNION ALL
    SELECT concat_ws('|', 'extension', extname, extversion) FROM pg_extension
    UNION ALL
    SELECT concat_ws('|', 'event trigger', evtname, evtevent, evtenabled) FROM pg_event_trigger
    UNION ALL
    SELECT concat_ws('|', 'publication', pubname, puballtables) FROM pg_publication
    UNION ALL
    SELECT concat_ws('|', 'schema', n.nspname) FROM pg_namespace AS n WHERE {_NOT_OURS.format(catalog="n")}
)
SELECT coalesce(md5(string_agg(line, E'\\n' ORDER BY line COLLATE "C")), '') FROM said
"""  # noqa: S608 - constants of ours


async def read_relations(session: AsyncSession) -> dict[str, str]:
    """A digest of each table, view and sequence, by ``schema.name`` (pg_class and what hangs on it)."""
    connection = await session.connection()
    return {row.name: row.digest for row in await connection.exec_driver_sql(_PARTS)}


async def read_objects(session: AsyncSession) -> str:
    """One digest of all functions, types, extensions, event triggers, publications and schemas."""
    connection = await session.connection()
    return str((await connection.exec_driver_sql(_OBJECTS)).scalar_one())


async def server_limits(session: AsyncSession) -> None:
    """Make the printing of expressions independent of the session's search_path."""
    await session.execute(text("SELECT set_config('search_path', '', true)"))


def hash_file(file: Path) -> str:
    """The SHA-256 of a file's bytes; empty where it is not there."""
    return hashlib.sha256(file.read_bytes()).hexdigest() if file.is_file() else ""


def differences(kind: str, before: Mapping[str, str], now: Mapping[str, str]) -> Iterable[str]:
    """What changed, went or came, in a sentence each."""
    for name in sorted({*before, *now}):
        if before.get(name) != now.get(name):
            verb = "is gone" if name not in now else "is new" if name not in before else "changed"
            yield f"{kind} {name} {verb}"


def only(digests: Mapping[str, str], names: Collection[str]) -> dict[str, str]:
    """The digests of these relations; of one that is not there an empty one."""
    return {name: digests.get(name, "") for name in sorted(names)}
