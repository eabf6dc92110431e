"""Defaults that differ from row to row: with one, ADD COLUMN writes the whole table anew."""

from __future__ import annotations

from typing import Any

from sqlalchemy import ClauseElement, Column, DefaultClause

from dbctl.migrate.safe.operations import condition_sql
from dbctl.migrate.safe.scene import Scene
from dbctl.postgres.sql import SqlNotParsed, parse
from dbctl.postgres.sql.operations import AddColumn


def is_volatile(column: Column[Any], scene: Scene) -> bool:
    """Whether the column's server_default calls a function that the database holds for volatile."""
    default = column.server_default
    # A text is a constant; Computed and Identity are none of these.
    if not isinstance(default, DefaultClause) or not isinstance(default.arg, ClauseElement):
        return False
    try:
        (parsed,) = parse(f"ALTER TABLE t ADD COLUMN c text DEFAULT {condition_sql(default.arg, scene.impl)}")
    except (SqlNotParsed, ValueError):
        return False
    (operation,) = parsed.operations
    written = operation.column.default if isinstance(operation, AddColumn) else None
    return written is not None and not scene.facts.volatile.isdisjoint(written.functions)
