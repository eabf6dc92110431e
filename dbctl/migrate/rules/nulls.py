"""NOT NULL and defaults: what is read for them, and what running code meets without them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

from dbctl.migrate.rules import recipes
from dbctl.migrate.rules.altered import affected, are_new, fails_with, reads
from dbctl.migrate.rules.facts import named, operations
from dbctl.migrate.rules.fixes import fill
from dbctl.migrate.rules.model import Hazard, Level
from dbctl.migrate.rules.registry import Hit, Scene, hazard, rule
from dbctl.postgres.catalog.model import Column, Constraint, Table
from dbctl.postgres.identifiers import quote_if_needed
from dbctl.postgres.lock_modes import LockMode
from dbctl.postgres.sql.operations import (
    AddConstraint,
    AddIdentity,
    DropConstraint,
    DropDefault,
    DropGenerated,
    DropNotNull,
    SetDefault,
    SetNotNull,
    TableOperation,
)

_NULL = "23502"

SET_NOT_NULL = hazard(
    Hazard(
        id="set-not-null",
        level=Level.DANGER,
        effect="blocking",
        why=(
            "Every row is read for a NULL while every query on the table waits, unless a validated CHECK says "
            "already that there is none."
        ),
        safe=recipes.NOT_NULL,
        lock=LockMode.ACCESS_EXCLUSIVE,
    )
)
INDEX_OVER_NULLABLE = hazard(
    Hazard(
        id="pk-index-nullable",
        level=Level.DANGER,
        effect="blocking",
        why=(
            "The index is there, but its columns may be NULL: the primary key sets them NOT NULL, and every row is "
            "read for that while every query on the table waits."
        ),
        safe=(
            *recipes.NOT_NULL,
            'op.execute("ALTER TABLE {table} ADD CONSTRAINT {constraint} PRIMARY KEY USING INDEX {index}")',
        ),
        lock=LockMode.ACCESS_EXCLUSIVE,
    )
)
DROP_NOT_NULL = hazard(
    Hazard(
        id="drop-not-null",
        level=Level.CAUTION,
        effect="breaking code",
        why="Running code that reads the column meets NULL, which it never had to expect.",
        safe=(
            (
                "# dbctl: accept drop-not-null because all running code reads {column} with NULL in mind\n"
                'op.execute("ALTER TABLE {table} ALTER COLUMN {column} DROP NOT NULL")'
            ),
        ),
        lock=LockMode.ACCESS_EXCLUSIVE,
    )
)
DROP_DEFAULT = hazard(
    Hazard(
        id="drop-default",
        level=Level.CAUTION,
        effect="breaking code",
        why="INSERTs of running code that leave the column out get NULL from now on, or fail.",
        safe=(
            (
                "# dbctl: accept drop-default because all running code gives {column} a value\n"
                'op.execute("ALTER TABLE {table} ALTER COLUMN {column} DROP DEFAULT")'
            ),
        ),
        lock=LockMode.ACCESS_EXCLUSIVE,
    )
)
CHANGE_DEFAULT = hazard(
    Hazard(
        id="change-default",
        level=Level.CAUTION,
        effect="breaking code",
        why="INSERTs of running code that leave the column out get another value from now on.",
        safe=(
            (
                "# dbctl: accept change-default because no running code relies on the old one\n"
                'op.execute("""ALTER TABLE {table} ALTER COLUMN {column} SET DEFAULT {default}""")'
            ),
        ),
        lock=LockMode.ACCESS_EXCLUSIVE,
    )
)


_DROP_GENERATED = (
    "# dbctl: accept drop-default because all running code gives {column} a value\n"
    'op.execute("ALTER TABLE {table} ALTER COLUMN {column} DROP {what}")'
)


@rule(SET_NOT_NULL, SetNotNull)
def set_not_null(operation: SetNotNull, scene: Scene) -> Iterator[Hit]:
    """SET NOT NULL for which the server read the rows."""
    table = scene.table(operation.table)
    if table:
        yield from _read_for_nulls(operation.column, scene, table)


@rule(SET_NOT_NULL, AddConstraint)
def add_not_null(operation: AddConstraint, scene: Scene) -> Iterator[Hit]:
    """ADD CONSTRAINT … NOT NULL (PostgreSQL 18) without NOT VALID."""
    table = scene.table(operation.table)
    if table and operation.constraint.kind == "not null" and operation.constraint.valid:
        for column in operation.constraint.columns:
            yield from _read_for_nulls(column, scene, table)


@rule(INDEX_OVER_NULLABLE, AddConstraint)
def index_over_nullable(operation: AddConstraint, scene: Scene) -> Iterator[Hit]:
    """A primary key from an index whose columns were not NOT NULL, for which the server read the rows."""
    table = scene.table(operation.table)
    constraint = operation.constraint
    index = table.index(constraint.using_index) if table else None
    if table is None or index is None or constraint.kind != "primary key":
        return
    nullable = [name for name in index.columns if not _is_not_null(table, name)]
    # In 18 it fails (55000) over a NOT NULL constraint that is not validated.
    fails = fails_with(scene, "55000")
    if nullable and (reads(scene, table, _NULL) or fails):
        names = named(table, column=nullable[0], constraint=constraint.name or index.name, index=index.name)
        unproven = " Over a NOT NULL that is not validated it fails with 55000." if fails else ""
        why = f"{', '.join(nullable)} may be NULL.{unproven}"
        yield Hit(affected(scene, table), names, why, fails=fails, fix=_validated(table, nullable, names))


@rule(DROP_NOT_NULL, DropNotNull)
def drop_not_null(operation: DropNotNull, scene: Scene) -> Iterator[Hit]:
    """DROP NOT NULL of a column that was there and had it."""
    table = scene.table(operation.table)
    column = _old_column(operation, operation.column, scene)
    if table and column and column.not_null and not _sets_not_null(scene, table, column.name):
        yield Hit((table.relation.shown,), named(table, column=column.name))


@rule(DROP_NOT_NULL, DropConstraint)
def drop_not_null_constraint(operation: DropConstraint, scene: Scene) -> Iterator[Hit]:
    """DROP CONSTRAINT of a NOT NULL, which has a name from 18 on."""
    table = scene.table(operation.table)
    constraint = table.constraint(operation.name) if table else None
    if table and constraint and constraint.kind == "not null":
        columns = [name for name in constraint.columns if not are_new(scene, table, [name])]
        if columns:
            yield Hit((table.relation.shown,), named(table, column=columns[0]))


@rule(DROP_DEFAULT, DropDefault)
def drop_default(operation: DropDefault, scene: Scene) -> Iterator[Hit]:
    """A default that is gone when the transaction ends; of a new column only where it is NOT NULL."""
    table = scene.table(operation.table)
    column = table.columns.get(operation.column) if table else None
    if table is None or column is None or column.default is None:
        return
    if _sets_default(scene, table, column.name):
        return
    if not column.not_null and are_new(scene, table, [column.name]):
        return
    why = f"{column.name} is NOT NULL: they fail with 23502." if column.not_null else ""
    level = Level.DANGER if column.not_null else None
    yield Hit((table.relation.shown,), named(table, column=column.name), why, level)


@rule(DROP_DEFAULT, DropGenerated)
def drop_generated(operation: DropGenerated, scene: Scene) -> Iterator[Hit]:
    """An identity, or a generated column's expression, that is gone when the transaction ends."""
    table = scene.table(operation.table)
    column = _old_column(operation, operation.column, scene)
    if table is None or column is None or not (column.identity or column.generated):
        return
    if _sets_default(scene, table, column.name):
        return
    what = "IDENTITY" if column.identity else "EXPRESSION"
    names = named(table, column=quote_if_needed(column.name), what=what)
    fix = fill((_DROP_GENERATED,), Hit((table.relation.shown,), names))
    why = f"{column.name} is NOT NULL: they fail with 23502." if column.not_null else ""
    yield Hit((table.relation.shown,), names, why, Level.DANGER if column.not_null else None, fix=fix)


@rule(CHANGE_DEFAULT, SetDefault)
def change_default(operation: SetDefault, scene: Scene) -> Iterator[Hit]:
    """Another default than before. A first default takes nothing from anybody."""
    table = scene.table(operation.table)
    column = _old_column(operation, operation.column, scene)
    if table is None or column is None or _was_default(scene, table, column) is None:
        return
    default = operation.default.sql
    if _bare(default) != _bare(_was_default(scene, table, column) or ""):
        yield Hit((table.relation.shown,), named(table, column=column.name, default=default))


def _validated(table: Table, columns: list[str], names: Mapping[str, str]) -> str:
    """The fix where NOT NULL stands there already and is only to be validated (18); else empty: the hazard's own."""
    unproven = [each.name for each in _unproven(table) if set(each.columns) & set(columns)]
    if len(unproven) < len(columns):
        return ""
    keys = {f"unproven{'_' * number}": quote_if_needed(name) for number, name in enumerate(unproven)}
    steps = [f'op.execute("ALTER TABLE {{table}} VALIDATE CONSTRAINT {{{key}}}")' for key in keys]
    return fill((*steps, INDEX_OVER_NULLABLE.safe[-1]), Hit((table.relation.shown,), {**names, **keys}))


def _unproven(table: Table) -> Iterator[Constraint]:
    """The NOT NULL constraints that not all rows are known to fulfil (18)."""
    return (each for each in table.constraints if each.kind == "not null" and not each.validated)


def _read_for_nulls(name: str, scene: Scene, table: Table) -> Iterator[Hit]:
    if _is_not_null(table, name) or _without_dropped(scene, table).is_not_null_proven(name):
        return
    if reads(scene, table, _NULL):
        yield Hit(affected(scene, table), named(table, column=name))


def _without_dropped(scene: Scene, table: Table) -> Table:
    """The table without the constraints that the very statement drops: ALTER TABLE does that first."""
    gone = {
        operation.name
        for operation in operations(scene.statement)
        if isinstance(operation, DropConstraint) and scene.table(operation.table) is table
    }
    return replace(table, constraints=tuple(each for each in table.constraints if each.name not in gone))


def _is_not_null(table: Table, column: str) -> bool:
    """Whether it is NOT NULL for all rows: in 18 the mark may stand there before the rows are validated."""
    is_marked = column in table.columns and table.columns[column].not_null
    return is_marked and not any(column in constraint.columns for constraint in _unproven(table))


def _old_column(operation: TableOperation, name: str, scene: Scene) -> Column | None:
    """The column, if it was there before the revision."""
    table = scene.table(operation.table)
    if table is None or are_new(scene, table, [name]):
        return None
    return table.columns.get(name)


def _was_default(scene: Scene, table: Table, column: Column) -> str | None:
    """The default before the transaction: DROP DEFAULT and SET DEFAULT together change one."""
    for statement in scene.same_transaction:
        before = statement.before.get(table.relation.oid)
        if before and column.name in before.columns:
            return before.columns[column.name].default
    return column.default


def _sets_default(scene: Scene, table: Table, column: str) -> bool:
    return any(
        isinstance(operation, SetDefault | AddIdentity)
        and operation.column == column
        and statement.names.get(str(operation.table)) == table.relation.oid
        for statement in (scene.statement, *scene.later_in_transaction)
        for operation in operations(statement)
    )


def _sets_not_null(scene: Scene, table: Table, column: str) -> bool:
    return any(
        isinstance(operation, SetNotNull)
        and operation.column == column
        and statement.names.get(str(operation.table)) == table.relation.oid
        for statement in scene.later_in_transaction
        for operation in operations(statement)
    )


def _bare(default: str) -> str:
    """A default without its casts and blanks: 'new'::text is 'new'."""
    return default.split("::", maxsplit=1)[0].replace(" ", "").lower()
