"""Columns that are added together with a promise: NOT NULL, UNIQUE, PRIMARY KEY, CHECK; and of type json."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from dbctl.migrate.rules import recipes
from dbctl.migrate.rules.altered import ran, reads, rewrites
from dbctl.migrate.rules.columns import NUMBERED, added, hit, key_names, whole
from dbctl.migrate.rules.fixes import fill
from dbctl.migrate.rules.model import Hazard, Level
from dbctl.migrate.rules.registry import Hit, Scene, hazard, rule
from dbctl.postgres.lock_modes import LockMode
from dbctl.postgres.sql.builtin_types import SERIAL
from dbctl.postgres.sql.operations import AddColumn, Column

# A harmless constant of common types.
_CONSTANTS = {
    **dict.fromkeys(("text", "varchar", "bpchar"), "''"),
    **dict.fromkeys(("int2", "int4", "int8", "numeric", "float4", "float8"), "0"),
    **dict.fromkeys(("timestamptz", "timestamp", "date"), "now()"),
    **dict.fromkeys(("json", "jsonb"), "'{}'"),
    "bool": "false",
}

NOT_NULL_NO_DEFAULT = hazard(
    Hazard(
        id="add-col-not-null-no-default",
        level=Level.DANGER,
        effect="failing",
        why=(
            "It fails with 23502 on a table that has rows (a default= in Python never reaches the database), and "
            "INSERTs of the code that is still running, which does not know the column, fail as well."
        ),
        safe=(
            (
                "# A constant default costs nothing, and old code's INSERTs get it.\n"
                'op.execute("""ALTER TABLE {table} ADD COLUMN {column} {type} NOT NULL DEFAULT {constant}""")'
            ),
        ),
        lock=LockMode.ACCESS_EXCLUSIVE,
    )
)
ADD_UNIQUE_COLUMN = hazard(
    Hazard(
        id="add-col-unique",
        level=Level.DANGER,
        effect="blocking",
        why="The index behind UNIQUE is built over the whole table while every query on it waits.",
        safe=(recipes.ADD_COLUMN, *recipes.UNIQUE),
        lock=LockMode.ACCESS_EXCLUSIVE,
    )
)
ADD_PRIMARY_KEY_COLUMN = hazard(
    Hazard(
        id="add-col-pk",
        level=Level.DANGER,
        effect="blocking",
        why="The primary key's index is built, and each row looked at for NULL, while every query on the table waits.",
        safe=(*NUMBERED, *recipes.NOT_NULL, *recipes.PRIMARY_KEY),
        lock=LockMode.ACCESS_EXCLUSIVE,
    )
)
ADD_CHECKED_COLUMN = hazard(
    Hazard(
        id="add-col-check",
        level=Level.DANGER,
        effect="blocking",
        why="Every row is read for the CHECK, be the default a constant, while every query on the table waits.",
        safe=(recipes.ADD_COLUMN, *recipes.CHECK),
        lock=LockMode.ACCESS_EXCLUSIVE,
    )
)
ADD_JSON = hazard(
    Hazard(
        id="add-col-json",
        level=Level.CAUTION,
        effect="breaking code",
        why=(
            "json has no equality: SELECT DISTINCT, UNION and GROUP BY over the table's rows, as an ORM writes "
            "them, fail from now on. jsonb has one, and can be indexed."
        ),
        safe=('op.execute("ALTER TABLE {table} ADD COLUMN {column} jsonb")',),
        lock=LockMode.ACCESS_EXCLUSIVE,
    )
)


@rule(NOT_NULL_NO_DEFAULT, AddColumn)
def not_null_no_default(operation: AddColumn, scene: Scene) -> Iterator[Hit]:
    """NOT NULL, and nothing that the rows which are there would get."""
    table = added(operation, scene)
    column = operation.column
    is_filled = column.default or column.generated or column.identity or column.type.name in SERIAL
    if table is None or not column.not_null or is_filled or _has(column, "primary key"):
        return
    # A domain may bring a default of its own.
    if scene.statement.failure is None and table.has_rows:
        return
    yield hit(operation, scene, table, constant=_CONSTANTS.get(column.type.name, "<constant>"))


@rule(ADD_UNIQUE_COLUMN, AddColumn)
def unique_column(operation: AddColumn, scene: Scene) -> Iterator[Hit]:
    """Inline UNIQUE."""
    table = added(operation, scene)
    if table and _has(operation.column, "unique") and ran(scene):
        found = hit(operation, scene, table, **key_names(operation, table))
        key = next(each for each in operation.column.constraints if each.kind == "unique")
        yield replace(found, fix=fill(whole(operation.column, *recipes.unique(key)), found))


@rule(ADD_PRIMARY_KEY_COLUMN, AddColumn)
def primary_key_column(operation: AddColumn, scene: Scene) -> Iterator[Hit]:
    """Inline PRIMARY KEY."""
    table = added(operation, scene)
    if table and _has(operation.column, "primary key") and ran(scene):
        found = hit(operation, scene, table, **key_names(operation, table))
        yield replace(found, fix=fill(primary_key_of(operation.column), found))


@rule(ADD_CHECKED_COLUMN, AddColumn)
def checked_column(operation: AddColumn, scene: Scene) -> Iterator[Hit]:
    """Inline CHECK, where the server read the rows for it."""
    table = added(operation, scene)
    checks = [each for each in operation.column.constraints if each.kind == "check" and each.enforced]
    if table is None or not checks or not (reads(scene, table, "23514") or rewrites(scene, table, "default")):
        return
    name = checks[0].name or f"{table.relation.name}_{operation.column.name}_check"
    sql = checks[0].expression.sql if checks[0].expression else "true"
    found = hit(operation, scene, table, constraint=name, check=sql)
    yield replace(found, fix=fill(whole(operation.column, *recipes.CHECK), found))


@rule(ADD_JSON, AddColumn)
def json_column(operation: AddColumn, scene: Scene) -> Iterator[Hit]:
    """A json column on a table whose rows are already selected by running code."""
    table = added(operation, scene)
    if table and operation.column.type.name == "json" and ran(scene):
        found = hit(operation, scene, table, type="jsonb")
        yield replace(found, fix=fill(whole(operation.column), found))


def primary_key_of(column: Column | None) -> tuple[str, ...]:
    """Bodies that add a column that becomes the primary key: by its own default, or by numbers."""
    if column is None or column.default is None:
        return ADD_PRIMARY_KEY_COLUMN.safe
    add = f"{recipes.ADD_COLUMN}\n{recipes.SET_DEFAULT}"
    return (add, recipes.FILL_WITH_DEFAULT, *recipes.NOT_NULL, *recipes.PRIMARY_KEY)


def _has(column: Column, kind: str) -> bool:
    return any(constraint.kind == kind for constraint in column.constraints)
