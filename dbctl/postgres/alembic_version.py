"""Alembic's version tables, found by the catalog alone: no project has to be loaded to read them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sqlalchemy import Connection
    from sqlalchemy.ext.asyncio import AsyncConnection

# By shape, since projects rename it: a table whose one column is version_num.
_TABLES = """
SELECT n.nspname, c.relname, has_schema_privilege(n.oid, 'USAGE') AND has_table_privilege(c.oid, 'SELECT')
  FROM pg_class AS c
  JOIN pg_namespace AS n ON n.oid = c.relnamespace
  JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attname = 'version_num'
 WHERE c.relkind IN ('r', 'p') AND c.relnatts = 1 AND c.relpersistence <> 't'
   AND n.nspname NOT IN ('pg_catalog', 'information_schema')
 ORDER BY n.nspname, c.relname
"""
_SCHEMA = """
SELECT coalesce(
    (SELECT n.nspname FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
      WHERE c.relname = :name AND pg_table_is_visible(c.oid)),
    current_schema()
)
"""


@dataclass(frozen=True, slots=True)
class VersionTable:
    """A version table and the revisions in it; ``revisions`` is None where the role may not read them."""

    schema: str
    name: str
    revisions: tuple[str, ...] | None


async def read_versions(connection: AsyncConnection) -> list[VersionTable]:
    """Every version table of the database (pg_class), whatever its name and schema, and what is in it."""
    from sqlalchemy import text

    tables = (await connection.execute(text(_TABLES))).all()
    return [
        VersionTable(schema, name, await read_revisions(connection, schema, name) if readable else None)
        for schema, name, readable in tables
    ]


async def read_revisions(connection: AsyncConnection, schema: str, name: str) -> tuple[str, ...]:
    """The revisions in one version table, sorted."""
    from sqlalchemy import column, select, table

    source = table(name, column("version_num"), schema=schema)
    return tuple(sorted(await connection.scalars(select(source.c.version_num))))


def of_project(
    tables: Sequence[VersionTable], unknown: Callable[[Sequence[str]], Sequence[str]]
) -> Sequence[VersionTable]:
    """The tables that hold a revision of a project, else all: those of Alembic's own name where there are any.

    ``unknown`` tells which of some revisions the project does not have.
    """
    named = [one for one in tables if one.name == "alembic_version"] or tables
    return [
        one for one in named if one.revisions and set(one.revisions) - set(unknown(one.revisions))
    ] or named


def find_schema(connection: Connection, schema: str | None, name: str) -> str:
    """Where the version table of env.py's configuration is, or will be made."""
    from sqlalchemy import text

    return schema or str(connection.scalar(text(_SCHEMA), {"name": name}))
