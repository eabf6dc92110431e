"""The target's tables: their size and traffic, and what else depends on them."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncSession

from dbctl.migrate.plan.model import TableFacts
from dbctl.migrate.plan.sizes import Sizes, read_sizes
from dbctl.migrate.plan.traffic import Counters, traffic

_IDENTITY = """
SELECT c.oid, n.nspname, c.relname, CAST(c.relkind AS text) AS relkind, coalesce(s.spcname, '') AS tablespace,
       pg_has_role(c.relowner, 'USAGE') AS is_ours,
       ARRAY(SELECT CASE WHEN cn.nspname = 'public' THEN child.relname ELSE cn.nspname || '.' || child.relname END
               FROM pg_constraint AS f JOIN pg_class AS child ON child.oid = f.conrelid
               JOIN pg_namespace AS cn ON cn.oid = child.relnamespace
              WHERE f.contype = 'f' AND f.confrelid = c.oid AND f.conparentid = 0 ORDER BY 1) AS referenced_by,
       (SELECT count(*) FROM pg_index WHERE indrelid = c.oid) AS indexes
  FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
  LEFT JOIN pg_tablespace AS s ON s.oid = c.reltablespace
 WHERE c.oid = ANY(CAST(:oids AS oid[]))
"""
_PUBLICATIONS = """
SELECT c.oid, p.pubname FROM pg_class AS c CROSS JOIN pg_publication AS p
 WHERE c.oid = ANY(CAST(:oids AS oid[]))
   AND (p.puballtables OR EXISTS (SELECT FROM pg_publication_rel WHERE prpubid = p.oid AND prrelid = c.oid) {schemas})
"""
_SCHEMAS = """
   OR EXISTS (SELECT FROM pg_publication_namespace WHERE pnpubid = p.oid AND pnnspid = c.relnamespace)
"""
_SCHEMAS_SINCE = 15
_SUBSCRIPTIONS = """
SELECT r.srrelid, s.subname FROM pg_subscription_rel AS r JOIN pg_subscription AS s ON s.oid = r.srsubid
 WHERE r.srrelid = ANY(CAST(:oids AS oid[]))
"""
_OIDS = """
SELECT quote_ident(n.nspname) || '.' || quote_ident(c.relname) AS name, c.oid
  FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
 WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S') AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
"""
_KINDS = {"r": "table", "p": "partitioned table", "v": "view", "m": "materialized view", "f": "foreign table"}


async def read_oids(session: AsyncSession) -> dict[str, int]:
    """The oid of each relation, by ``schema.name``, each quoted where need be (pg_class)."""
    return {row.name: row.oid for row in await session.execute(text(_OIDS))}


async def read_facts(
    session: AsyncSession, oids: Collection[int], major: int, first: Counters | None, second: Counters | None
) -> dict[int, TableFacts]:
    """All facts of these tables, by oid."""
    sizes = await read_sizes(session, oids)
    publications = await _by_oid(
        session, _PUBLICATIONS.format(schemas=_SCHEMAS if major >= _SCHEMAS_SINCE else ""), oids
    )
    rows = (await session.execute(text(_IDENTITY), {"oids": list(oids)})).all()
    return {
        row.oid: _facts(row, sizes.get(row.oid), tuple(publications.get(row.oid, ())), first, second)
        for row in rows
    }


async def read_subscriptions(session: AsyncSession, oids: Collection[int]) -> dict[int, list[str]]:
    """The subscriptions that fill these tables (pg_subscription_rel)."""
    return await _by_oid(session, _SUBSCRIPTIONS, oids)


async def _by_oid(session: AsyncSession, query: str, oids: Collection[int]) -> dict[int, list[str]]:
    found: dict[int, list[str]] = {}
    for oid, name in await session.execute(text(query), {"oids": list(oids)}):
        found.setdefault(oid, []).append(name)
    return found


def _facts(
    row: Row[Any],
    sizes: Sizes | None,
    publications: tuple[str, ...],
    first: Counters | None,
    second: Counters | None,
) -> TableFacts:
    stored = sizes if sizes and row.relkind in {"r", "p", "m"} else None
    rates = traffic(first, second, sizes.oids) if first and second and sizes else None
    return TableFacts(
        name=row.relname if row.nspname == "public" else f"{row.nspname}.{row.relname}",
        kind=_KINDS.get(row.relkind, row.relkind),
        table_bytes=stored.table_bytes if stored else None,
        toast_bytes=stored.toast_bytes if stored else None,
        index_bytes=stored.index_bytes if stored else None,
        rows=stored.rows if stored else None,
        sizes_are_estimates=bool(stored and stored.estimated),
        reads_per_second=rates.reads if rates else None,
        writes_per_second=rates.writes if rates else None,
        rates_over_seconds=rates.over_seconds if rates else None,
        rates_since=rates.since if rates else None,
        referenced_by=tuple(row.referenced_by),
        partitions=len(sizes.oids) - 1 if sizes else 0,
        indexes=row.indexes,
        publications=publications,
        tablespace=row.tablespace,
        is_ours=row.is_ours,
        is_empty=bool(stored and stored.is_empty),
    )
