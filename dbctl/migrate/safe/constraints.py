"""Foreign keys, checks and NOT NULL: first for new rows, then for all, without keeping anybody waiting."""

from __future__ import annotations

from collections.abc import Iterator
from copy import copy
from typing import Any

from alembic.operations import ops
from alembic.operations.ops import MigrateOperation
from alembic.util import sqla_compat
from sqlalchemy import Column
from sqlalchemy.sql.elements import conv

from dbctl.migrate.safe.changes import Change, Placed
from dbctl.migrate.safe.defaults import is_volatile
from dbctl.migrate.safe.facts import TableKey, qualified
from dbctl.migrate.safe.names import free_name
from dbctl.migrate.safe.operations import (
    AddCheckOp,
    CommentOp,
    RefuseOp,
    as_text,
    foreign_key_not_valid,
    sql,
)
from dbctl.migrate.safe.parts import Part, Phase
from dbctl.migrate.safe.scene import Scene
from dbctl.postgres.identifiers import quote_identifier

_NOT_VALID = "postgresql_not_valid"
_PARTITIONED = (
    "{table} is partitioned: before PostgreSQL 18 it can have no foreign key NOT VALID, so all rows are "
    "checked at once while writes to both tables wait."
)
_BACK = "Back to what it was before: checked for new rows, with those that are there left alone."
_FILL = (
    "Fill {column} in the rows of {table} that have none before this revision runs: in batches, from a revision "
    "of its own or a script, when the code that runs gives it a value in each new row. From here on the server "
    "insists on one in new rows, and the next revision in all rows."
)
_LATER = "{column} becomes NOT NULL in a later revision, when every row has a value."
_FROM_NOW_ON = (
    "The default of {column} differs from row to row: with it, ADD COLUMN would write all of {table} anew. New rows "
    "get it from here on; give it to the others in batches: UPDATE … SET {column} = DEFAULT WHERE {column} IS NULL."
)
_AGAIN = "No work if it is validated already; after a downgrade it is not."


def create_foreign_key(operation: ops.CreateForeignKeyOp, change: Change, scene: Scene) -> Iterator[Part]:
    """NOT VALID first, together with the end of the one that it replaces; validated in the next revision."""
    table = scene.key(operation)
    name = scene.name_for_good(operation, change, [str(column) for column in operation.local_cols], "fkey")
    referent = scene.facts.key(operation.kw.get("referent_schema"), operation.referent_table)
    # The table that it refers to may be new, but an earlier revision has made it by then.
    locks = frozenset([table, referent])
    old = scene.replaced.get(id(operation))
    old_up = (old.up.alone(),) if old else ()
    old_down = tuple(down.alone() for down in old.downs) if old else ()
    drop = tuple(down.alone() for down in change.downs)
    new, again = _foreign_key(operation, change, table, scene)
    yield Part(Phase.CONSTRAIN, up=(*old_up, *new), down=(*drop, *old_down), locks=locks, mildly=not old)
    if again:
        yield _validate(
            operation.kw.get("source_schema"), operation.source_table, name, (*drop, again), locks
        )


def _foreign_key(
    operation: ops.CreateForeignKeyOp, change: Change, table: TableKey, scene: Scene
) -> tuple[tuple[MigrateOperation, ...], MigrateOperation | None]:
    """What adds it; and the operation that adds it NOT VALID, if it has to be validated later."""
    if operation.kw.get(_NOT_VALID):
        return (change.up.alone(),), None
    if table in scene.facts.partitioned:
        return (CommentOp(_PARTITIONED.format(table=table[1])), change.up.alone()), None
    add = foreign_key_not_valid(operation)
    return (add,), add


def create_check(operation: ops.CreateCheckConstraintOp, change: Change, scene: Scene) -> Iterator[Part]:
    """NOT VALID first, validated in the next revision."""
    table = scene.key(operation)
    name = scene.name_for_good(operation, change, (), "check")
    drop = tuple(down.alone() for down in change.downs)
    if operation.kw.get(_NOT_VALID):
        yield Part(Phase.CHECK, (change.up.alone(),), drop, frozenset([table]))
        return
    add = AddCheckOp(
        conv(name), operation.table_name, operation.condition, schema=operation.schema, **operation.kw
    )
    yield Part(Phase.CHECK, (add,), drop, frozenset([table]))
    yield _validate(operation.schema, operation.table_name, name, (*drop, add), frozenset([table]))


def add_column(operation: ops.AddColumnOp, change: Change, scene: Scene) -> Iterator[Part]:
    """One that no row may lack, and no constant gives: nullable first, NOT NULL when the rows have it."""
    column: Column[Any] = operation.column
    table = scene.key(operation)
    down = tuple(one.alone() for one in change.downs)
    differs = is_volatile(column, scene)
    needs_value = (
        not column.nullable and (differs or column.server_default is None) and not column.primary_key
    )
    if not (needs_value or differs):
        yield Part(Phase.PLAIN, (change.up.alone(),), down, frozenset([table]))
        return
    nullable = sqla_compat._copy(column)  # noqa: SLF001 - Column.copy() is gone
    nullable.nullable = True
    after: tuple[MigrateOperation, ...] = ()
    words = []
    if differs:
        nullable.server_default = None
        words.append(_FROM_NOW_ON.format(column=column.name, table=operation.table_name))
        after = (_default_of(operation),)
    if needs_value:
        words.append(_LATER.format(column=column.name))
    added = Placed(
        ops.AddColumnOp(operation.table_name, nullable, schema=operation.schema), change.up.container
    )
    up = (*map(CommentOp, words), added.alone(), *after)
    yield Part(Phase.PLAIN, up, down, frozenset([table]))
    if needs_value:
        yield from _not_null(operation.schema, operation.table_name, column.name, column.type, scene)


def _default_of(operation: ops.AddColumnOp) -> MigrateOperation:
    """What gives the column its default, when it is there."""
    column: Column[Any] = operation.column
    return ops.AlterColumnOp(
        operation.table_name,
        column.name,
        schema=operation.schema,
        existing_type=column.type,
        modify_server_default=column.server_default,
    )


def alter_column(operation: ops.AlterColumnOp, change: Change, scene: Scene) -> Iterator[Part]:
    """NOT NULL by way of a check, whatever else changes at once."""
    locks = frozenset([scene.key(operation)])
    if operation.modify_nullable is not False:
        yield Part(Phase.PLAIN, (change.up.alone(),), tuple(one.alone() for one in change.downs), locks)
        return
    rest = copy(operation)
    rest.modify_nullable = None
    if rest.has_changes():
        up, down = Placed(rest, change.up.container), Placed(rest.reverse(), change.up.container)
        yield Part(Phase.PLAIN, (up.alone(),), (down.alone(),) if change.downs else (), locks)
    type_ = operation.modify_type or operation.existing_type
    yield from _not_null(operation.schema, operation.table_name, operation.column_name, type_, scene)


def _not_null(schema: str | None, table: str, column: str, type_: Any, scene: Scene) -> Iterator[Part]:
    """A check that holds for new rows, then for all, then NOT NULL in its place: by then no row is read."""
    key = scene.facts.key(schema, table)
    taken = scene.facts.names_in(key)
    name = free_name(str(table), [str(column)], "is_not_null", taken)
    taken.add(name)
    locks = frozenset([key])
    add = AddCheckOp(conv(name), table, as_text(f"{quote_identifier(column)} IS NOT NULL"), schema=schema)
    drop = ops.DropConstraintOp(conv(name), table, type_="check", schema=schema)
    set_it, unset = (
        ops.AlterColumnOp(table, column, schema=schema, existing_type=type_, modify_nullable=nullable)
        for nullable in (False, True)
    )
    comment = CommentOp(_FILL.format(column=column, table=table))
    yield Part(Phase.CHECK, (comment, add), (drop,), locks)
    yield _validate(schema, table, name, (drop, add), locks, _look_for_nulls(schema, table, column))
    validated = sql(_validation(schema, table, name))
    again = (CommentOp(_AGAIN), validated)
    yield Part(Phase.SET_NOT_NULL, (set_it, drop), (add, unset), locks, ahead=again)


def _validate(
    schema: str | None,
    table: str,
    name: str,
    again: tuple[MigrateOperation, ...],
    locks: frozenset[TableKey],
    *before: MigrateOperation,
) -> Part:
    """Reads all rows while others read and write; ``again`` makes the constraint NOT VALID once more."""
    return Part(
        Phase.VALIDATE,
        up=(sql(_validation(schema, table, name)),),
        down=(CommentOp(_BACK), *again),
        locks=locks,
        ahead=before,
    )


def _validation(schema: str | None, table: str, name: str) -> str:
    return f"ALTER TABLE {qualified(schema, str(table))} VALIDATE CONSTRAINT {quote_identifier(name)}"


def _look_for_nulls(schema: str | None, table: str, column: str) -> RefuseOp:
    query = f"SELECT 1 FROM {qualified(schema, str(table))} WHERE {quote_identifier(column)} IS NULL LIMIT 1"  # noqa: S608
    complaint = (
        f"{table}.{column} has no value in some rows: fill them in batches, then run this revision again"
    )
    return RefuseOp(query, complaint)
