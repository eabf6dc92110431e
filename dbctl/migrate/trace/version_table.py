"""Alembic's version table on scratch, made to take whatever ids the project has."""

from __future__ import annotations

from collections.abc import Iterable

from alembic.runtime.migration import MigrationContext
from sqlalchemy import Connection

ID_LIMIT = 32


def make_room(ids: Iterable[str], context: MigrationContext, connection: Connection) -> None:
    """Let the version table hold ids that are too long for it: the graph's rules say so, and the trace goes on."""
    if all(len(id_) <= ID_LIMIT for id_ in ids):
        return
    table = connection.dialect.identifier_preparer.format_table(context._version)  # noqa: SLF001
    connection.exec_driver_sql(f"ALTER TABLE {table} ALTER COLUMN version_num TYPE text")
