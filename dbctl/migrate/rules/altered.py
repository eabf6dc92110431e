"""What several rules ask of a statement that alters a table: did it run, rewrite, read; is the column new."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import TypeGuard

from dbctl.migrate.rules.facts import operations
from dbctl.migrate.rules.registry import Scene
from dbctl.migrate.trace.model import Statement
from dbctl.postgres.catalog.model import Table
from dbctl.postgres.sql.operations import AddColumn, Column, Type

# PostgreSQL's errors about a value (22) and about a constraint (23): it had come as far as the rows.
_ABOUT_ROWS = ("22", "23")


def ran(scene: Scene) -> bool:
    """Whether the statement did its work, or fell only over the rows that were there."""
    failure = scene.statement.failure
    return failure is None or failure.on_rows or failure.sqlstate.startswith(_ABOUT_ROWS)


def fails_with(scene: Scene, *sqlstates: str) -> bool:
    """Whether the statement fails, whatever the rows, with one of these."""
    failure = scene.statement.failure
    return failure is not None and failure.sqlstate in sqlstates


def rewrites(scene: Scene, table: Table, reason: str) -> bool:
    """Whether the table, or a partition of it, got a new file for that ``reason``, or failed while it was written.

    The reasons are those of pg_event_trigger_table_rewrite_reason(): default, type …
    """
    failure = scene.statement.failure
    if failure is not None and failure.sqlstate.startswith("22"):
        return True
    names = {table.relation.shown, *table.partitions}
    rewritten = [each for each in scene.statement.rewritten if table.partitions or each.shown in names]
    reasons = {
        word for each in rewritten for word in scene.statement.rewrite_reasons.get(each.oid, (reason,))
    }
    return reason in reasons


def reads(scene: Scene, table: Table, *failures: str) -> bool:
    """Whether the table, or a partition of it, was read in full, or until a row failed with one of ``failures``."""
    failure = scene.statement.failure
    if failure is not None and failure.sqlstate in failures:
        return True
    names = {table.relation.shown, *table.partitions}
    return any(scan.relation.shown in names for scan in scene.statement.scanned)


def affected(scene: Scene, table: Table) -> tuple[str, ...]:
    """The table, and those of its partitions that were rewritten or read."""
    worked = {relation.shown for relation in scene.statement.rewritten}
    worked |= {scan.relation.shown for scan in scene.statement.scanned}
    return (table.relation.shown, *(name for name in table.partitions if name in worked))


def are_new(scene: Scene, table: Table, columns: Collection[str]) -> bool:
    """Whether this revision added all the columns, in this statement or before."""
    if not columns:
        return False
    statements = (*scene.earlier, scene.statement)
    return set(columns) <= {name for each in statements for name in _added(each, table)}


def new_column(scene: Scene, table: Table, name: str) -> Column | None:
    """The column as declared, if this revision adds it, in this statement or before."""
    for statement in (*scene.earlier, scene.statement):
        for operation in operations(statement):
            if _adds_to(operation, statement, table) and operation.column.name == name:
                return operation.column
    return None


def new_type(scene: Scene, table: Table, column: str) -> Type | None:
    """The type as written of a column that this very statement adds."""
    for operation in operations(scene.statement):
        if _adds_to(operation, scene.statement, table) and operation.column.name == column:
            return operation.column.type
    return None


def spelled(type_: Type) -> str:
    """A type as SQL."""
    modifiers = f"({','.join(map(str, type_.modifiers))})" if type_.modifiers else ""
    return f"{type_.name}{modifiers}{'[]' if type_.is_array else ''}"


def _added(statement: Statement, table: Table) -> Iterator[str]:
    for operation in operations(statement):
        if _adds_to(operation, statement, table):
            yield operation.column.name


def _adds_to(operation: object, statement: Statement, table: Table) -> TypeGuard[AddColumn]:
    return (
        isinstance(operation, AddColumn)
        and statement.names.get(str(operation.table)) == table.relation.oid
        and not (operation.if_not_exists and _had(statement, table, operation.column.name))
    )


def _had(statement: Statement, table: Table, column: str) -> bool:
    before = statement.before.get(table.relation.oid)
    return before is not None and column in before.columns
