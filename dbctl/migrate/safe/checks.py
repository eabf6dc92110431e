"""Named CHECKs of the models that the database lacks: autogenerate does not compare them, so somebody has to say it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

from alembic.runtime.migration import MigrationContext
from alembic.util import sqla_compat
from sqlalchemy import CheckConstraint, MetaData, inspect
from sqlalchemy.engine.interfaces import Dialect

Place = tuple[str | None, str]


def missing_checks(context: MigrationContext) -> tuple[str, ...]:
    """A note for each CHECK with a name, of a table that is there, that pg_constraint does not have."""
    connection, given = context.connection, context.opts.get("target_metadata")
    if connection is None or given is None or context.dialect.name != "postgresql":
        return ()
    wanted: dict[Place, list[str]] = defaultdict(list)
    for metadata in [given] if isinstance(given, MetaData) else given:
        for place, name in _named(metadata, context.dialect):
            wanted[place].append(name)
    notes = []
    inspector = inspect(connection)
    for schema in sorted({schema for schema, _ in wanted}, key=str):
        tables = sorted({table for each, table in wanted if each == schema})
        there = inspector.get_multi_check_constraints(schema=schema, filter_names=tables)
        for place, checks in there.items():
            lacking = sorted(set(wanted[place]) - {check["name"] for check in checks})
            notes += [_note(name, place[1]) for name in lacking]
    return tuple(notes)


def _named(metadata: MetaData, dialect: Dialect) -> Iterator[tuple[Place, str]]:
    for table in metadata.tables.values():
        for constraint in table.constraints:
            # Those of a type (Boolean, Enum) come with their column, where the database needs them at all.
            if not isinstance(constraint, CheckConstraint) or getattr(constraint, "_type_bound", False):
                continue
            if isinstance(constraint.name, str):
                name = sqla_compat._get_constraint_final_name(constraint, dialect)  # noqa: SLF001
                yield (table.schema, table.name), name or constraint.name


def _note(name: str, table: str) -> str:
    return (
        f"the models have the CHECK {name} on {table}, the database has not, and autogenerate does not look: "
        "write op.create_check_constraint() by hand"
    )
