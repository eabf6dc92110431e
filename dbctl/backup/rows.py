"""Rows and their content, counted and hashed by the server, in whatever order they lie."""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from dbctl.backup.model import LargeObjects, TableRows
from dbctl.postgres.identifiers import quote_identifier

# What pg_dump dumps the rows of: no views, no foreign tables, none that an extension makes again.
_TABLES = """
    SELECT c.oid, n.nspname, c.relname,
           (SELECT json_agg(json_build_array(a.attname, {stable}) ORDER BY a.attnum)
              FROM pg_attribute AS a JOIN pg_type AS t ON t.oid = a.atttypid
             WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped)::text
      FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
     WHERE c.relkind = 'r' AND c.relpersistence <> 't'
       AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
       AND NOT EXISTS (SELECT FROM pg_depend AS d WHERE d.deptype = 'e'
                        AND d.classid = c.tableoid AND d.objid = c.oid)
     ORDER BY n.nspname, c.relname
"""
# Types whose hash is of the value alone. An enum's is of an oid, which is another one after a restore; json,
# xml, points and the like have none: all these are hashed as text.
_STABLE = (
    "bool", "bytea", "char", "name", "int8", "int2", "int4", "text", "oid", "float4", "float8", "bpchar",
    "varchar", "date", "time", "timestamp", "timestamptz", "interval", "timetz", "numeric", "uuid", "jsonb",
    "inet", "cidr", "macaddr", "macaddr8",
)  # fmt: skip
_IS_STABLE = """
    COALESCE((SELECT bool_or(b.typnamespace = CAST('pg_catalog' AS regnamespace) AND b.typname IN ({names}))
                FROM pg_type AS b
               WHERE b.oid = CASE WHEN t.typtype = 'd' THEN t.typbasetype
                                  WHEN t.typcategory = 'A' AND t.typname ~ '^_' THEN t.typelem ELSE t.oid END), false)
""".format(names=", ".join(f"'{name}'" for name in _STABLE))  # noqa: S608 - constants of ours
_LARGE_OBJECTS = "SELECT count(*) FROM pg_largeobject_metadata"
# A hole in an object comes back as zeros: pages without them are the same before and after.
_LARGE_DIGEST = """
    SELECT COALESCE(sum(hash_record_extended(ROW(loid, pageno, rtrim(data, '\\x00'::bytea)), 0)), 0)
      FROM pg_largeobject WHERE rtrim(data, '\\x00'::bytea) <> ''
"""
_READS_LARGE = "SELECT has_table_privilege('pg_largeobject', 'SELECT')"
# As pg_dump does, so that a value is the same text everywhere; names are then those of PostgreSQL alone.
_SETTINGS = {
    "search_path": "pg_catalog",
    "datestyle": "ISO",
    "intervalstyle": "postgres",
    "extra_float_digits": "3",
    "bytea_output": "hex",
    "timezone": "UTC",
    "xmloption": "content",
    # A backup takes one processor of a server in use, not all.
    "max_parallel_workers_per_gather": "0",
    "jit": "off",
}
_SET = "SELECT set_config(key, value, true) FROM json_each_text(CAST(CAST(:settings AS text) AS json))"
_RECORD_HASHES_SINCE = 14


@dataclass(frozen=True, slots=True)
class Table:
    """A table whose rows are dumped; its columns with whether their hash is of the value alone."""

    oid: int
    schema: str
    name: str
    columns: tuple[tuple[str, bool], ...]


async def read_tables(session: AsyncSession, only: Collection[int] | None = None) -> tuple[Table, ...]:
    """The tables with rows of their own, by name (pg_class, pg_attribute); ``only`` those oids."""
    rows = (await session.execute(text(_TABLES.format(stable=_IS_STABLE)))).all()
    return tuple(
        Table(
            oid, schema, name, tuple((column, bool(stable)) for column, stable in json.loads(columns or "[]"))
        )
        for oid, schema, name, columns in rows
        if only is None or oid in only
    )


async def count_rows(
    session: AsyncSession, tables: Sequence[Table], major: int, *, digests: bool
) -> tuple[TableRows, ...]:
    """How many rows each table holds, and on wish a digest of their values in any order."""
    await session.execute(text(_SET), {"settings": json.dumps(_SETTINGS)})
    return tuple([await _count(session, one, major, digests=digests) for one in tables])


async def count_large_objects(session: AsyncSession, major: int, *, digests: bool) -> LargeObjects:
    """How many large objects there are; their digest where we may read them all (pg_largeobject)."""
    count = int(await session.scalar(text(_LARGE_OBJECTS)) or 0)
    readable = digests and major >= _RECORD_HASHES_SINCE and await session.scalar(text(_READS_LARGE))
    digest = await session.scalar(text(_LARGE_DIGEST)) if readable else None
    return LargeObjects(count, None if digest is None else str(digest))


async def _count(session: AsyncSession, table: Table, major: int, *, digests: bool) -> TableRows:
    wanted = f"count(*), COALESCE(sum({_hash(table, major)}), 0)" if digests else "count(*), NULL"
    name = f"{quote_identifier(table.schema)}.{quote_identifier(table.name)}"
    statement = f"SELECT {wanted} FROM ONLY {name} AS t"  # noqa: S608 - quoted
    found: Any = (await (await session.connection()).exec_driver_sql(statement)).one()
    digest = None if found[1] is None else str(found[1])
    return TableRows(table.schema, table.name, int(found[0]), digest)


def _hash(table: Table, major: int) -> str:
    """The hash of a row. Text by ``format``, which calls a type's own output: a cast could be anybody's function."""
    if not table.columns:
        return "0"
    if major < _RECORD_HASHES_SINCE:
        return "hashtextextended(format('%L', t.*), 0)"
    if all(stable for _, stable in table.columns):
        return "hash_record_extended(t.*, 0)"
    columns = (
        f"t.{quote_identifier(name)}" if stable else f"format('%L', t.{quote_identifier(name)})"
        for name, stable in table.columns
    )
    return f"hash_record_extended(ROW({', '.join(columns)}), 0)"
