"""Renames and moves: brief locks, and running code that knows the old name only."""

from __future__ import annotations

from collections.abc import Iterator

from dbctl.migrate.rules.facts import column_is_new, named, operations, schema_is_new, shown, type_is_new
from dbctl.migrate.rules.model import Hazard, Level
from dbctl.migrate.rules.registry import Hit, Scene, hazard, rule
from dbctl.postgres.lock_modes import LockMode
from dbctl.postgres.sql.operations import (
    CreateEnum,
    CreateSequence,
    CreateTable,
    CreateView,
    Name,
    Operation,
    Rename,
    SetSchema,
)

_RELATIONS = {"table", "view", "materialized view", "foreign table"}

RENAME_COLUMN = hazard(
    Hazard(
        id="rename-column",
        level=Level.DANGER,
        effect="breaking code",
        why="Running code still asks for the old name and fails until all of it is released again.",
        safe=(
            (
                'op.execute("ALTER TABLE {table} ADD COLUMN {new} text")\n'
                "# Write both columns in the application from here on, and fill the new one in batches."
            ),
            (
                "# dbctl: accept drop-column because all running code has used {new} for a release\n"
                'op.execute("ALTER TABLE {table} DROP COLUMN {old}")'
            ),
        ),
        lock=LockMode.ACCESS_EXCLUSIVE,
    )
)
RENAME_TABLE = hazard(
    Hazard(
        id="rename-table",
        level=Level.DANGER,
        effect="breaking code",
        why="Running code still asks for the old name and fails until all of it is released again.",
        safe=(
            (
                'op.execute("ALTER TABLE {table} RENAME TO {new}")\n'
                "# The old name stays as a view that can be written through.\n"
                'op.execute("CREATE VIEW {table} AS SELECT * FROM {schema}.{new}")'
            ),
            (
                "# dbctl: accept drop-view because all running code has used {new} for a release\n"
                'op.execute("DROP VIEW {table}")'
            ),
        ),
        lock=LockMode.ACCESS_EXCLUSIVE,
    )
)
RENAME_SCHEMA = hazard(
    Hazard(
        id="rename-schema",
        level=Level.DANGER,
        effect="breaking code",
        why="No lock guards it: every query that names the old schema, or has it in its search_path, fails at once.",
        safe=(
            (
                'op.execute("CREATE SCHEMA {new}")\n'
                "# Make new objects there; move the old ones one by one, each with a view left behind."
            ),
        ),
    )
)
RENAME_ENUM_VALUE = hazard(
    Hazard(
        id="rename-enum-value",
        level=Level.DANGER,
        effect="breaking code",
        why="No lock guards it: running code that sends the old value fails, and reads a new one that it does not know.",
        safe=(
            (
                "with op.get_context().autocommit_block():\n"
                "    op.execute(\"ALTER TYPE {type} ADD VALUE IF NOT EXISTS '{new}'\")\n"
                "# Teach the application both values, change the rows in batches, then leave the old value unused."
            ),
        ),
    )
)
SET_SCHEMA = hazard(
    Hazard(
        id="set-schema",
        level=Level.DANGER,
        effect="breaking code",
        why="Running code does not find it any more where it was, unless its search_path holds the new schema.",
        safe=(
            (
                'op.execute("ALTER TABLE {table} SET SCHEMA {new}")\n'
                "# The old name stays as a view that can be written through.\n"
                'op.execute("CREATE VIEW {table} AS SELECT * FROM {new}.{name}")'
            ),
        ),
        lock=LockMode.ACCESS_EXCLUSIVE,
    )
)


@rule(RENAME_COLUMN, Rename)
def rename_column(operation: Rename, scene: Scene) -> Iterator[Hit]:
    """A column that was there, of a table that no view stands in for."""
    table = scene.table(operation.object)
    if operation.kind != "column" or table is None or column_is_new(scene, table, operation.old):
        return
    if not _stands_again(scene, operation.object.name, _former_name(scene, table.relation.oid)):
        names = named(table, column=operation.old, old=operation.old, new=operation.new)
        yield Hit(shown([table]), names)


@rule(RENAME_TABLE, Rename)
def rename_table(operation: Rename, scene: Scene) -> Iterator[Hit]:
    """A table or view that was there, unless the transaction puts something else in its place."""
    table = scene.table(operation.object)
    if operation.kind not in _RELATIONS or table is None or table.relation.kind == "index":
        return
    if _former_name(scene, table.relation.oid) or _stands_again(scene, operation.old, operation.object.name):
        return
    yield Hit(shown([table]), named(table, old=operation.old, new=operation.new))


@rule(RENAME_SCHEMA, Rename)
def rename_schema(operation: Rename, scene: Scene) -> Iterator[Hit]:
    """A schema that was there."""
    if operation.kind == "schema" and not schema_is_new(scene, operation.old):
        yield Hit(names={"old": operation.old, "new": operation.new})


@rule(RENAME_ENUM_VALUE, Rename)
def rename_enum_value(operation: Rename, scene: Scene) -> Iterator[Hit]:
    """A value of an enum type that was there."""
    if operation.kind == "enum value" and not type_is_new(scene, operation.object):
        yield Hit(names={"type": str(operation.object), "old": operation.old, "new": operation.new})


@rule(SET_SCHEMA, SetSchema)
def set_schema(operation: SetSchema, scene: Scene) -> Iterator[Hit]:
    """Whatever was there before the revision; an extension's schema is the choice of who installs it."""
    if operation.kind == "extension":
        return
    table = scene.table(operation.object)
    if table is not None:
        if not _stands_again(scene, operation.object.name):
            yield Hit(shown([table]), named(table, new=operation.schema, name=table.relation.name))
    elif operation.kind not in _RELATIONS and not _is_new(scene, operation.object):
        fix = (
            f"# Make a {operation.kind} of this name in {operation.schema} as well, and drop the old one\n"
            "# when no running code has used it for a release."
        )
        yield Hit(why=f"It is the {operation.kind} {operation.object}.", fix=fix)


def _former_name(scene: Scene, oid: int) -> str:
    """What the table was called before an earlier statement of the revision renamed it; empty if none did."""
    for statement in scene.earlier:
        for operation in operations(statement):
            if not isinstance(operation, Rename) or operation.kind not in _RELATIONS:
                continue
            if statement.names.get(str(operation.object)) == oid:
                return operation.old
    return ""


def _stands_again(scene: Scene, *names: str) -> bool:
    """Whether the transaction later gives one of the names to a view or to another table."""
    wanted = {name for name in names if name}
    return any(
        _made(operation) in wanted for later in scene.later_in_transaction for operation in operations(later)
    )


def _made(operation: Operation) -> str:
    """The name that a view or a table gets by it; empty for anything else."""
    match operation:
        case CreateView():
            return operation.view.name
        case CreateTable():
            return operation.table.name
        case Rename() if operation.kind in _RELATIONS:
            return operation.new
        case _:
            return ""


def _is_new(scene: Scene, name: Name) -> bool:
    """Whether an earlier statement of the revision made a type or a sequence of this name."""
    return any(
        (isinstance(operation, CreateEnum) and operation.type.name == name.name)
        or (isinstance(operation, CreateSequence) and operation.sequence.name == name.name)
        for statement in scene.earlier
        for operation in operations(statement)
    )
