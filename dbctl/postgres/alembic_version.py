"""Alembic's version tables, found in the catalog: no project has to be loaded to read them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection

_TABLES = """
    SELECT n.nspname AS schema, c.relname AS name, has_table_privilege(c.oid, 'SELECT') AS readable
    FROM pg_catalog.pg_class AS c
    JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
    JOIN pg_catalog.pg_attribute AS a ON a.attrelid = c.oid AND a.attname = 'version_num' AND NOT a.attisdropped
    WHERE c.relkind IN ('r', 'p') AND c.relname LIKE 'alembic\\_version%'
    ORDER BY 1, 2
"""


@dataclass(frozen=True, slots=True)
class VersionTable:
    """A version table and the revisions in it; ``revisions`` is None where the role may not read them."""

    schema: str
    name: str
    revisions: tuple[str, ...] | None


async def read_versions(connection: AsyncConnection) -> Sequence[VersionTable]:
    """Every version table of the database (pg_class), by schema and name."""
    from sqlalchemy import text

    from dbctl.postgres.identifiers import quote_identifier

    found = []
    for schema, name, readable in (await connection.execute(text(_TABLES))).all():
        revisions = None
        if readable:
            table = f"{quote_identifier(schema)}.{quote_identifier(name)}"
            rows = await connection.execute(text(f"SELECT version_num FROM {table} ORDER BY 1"))  # noqa: S608
            revisions = tuple(rows.scalars())
        found.append(VersionTable(schema, name, revisions))
    return found
