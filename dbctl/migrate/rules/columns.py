"""Columns that are added: what PostgreSQL can't do with a note in its catalog alone."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from dbctl.migrate.rules import recipes
from dbctl.migrate.rules.altered import affected, fails_with, rewrites, spelled
from dbctl.migrate.rules.facts import named
from dbctl.migrate.rules.fixes import fill, listed
from dbctl.migrate.rules.model import Hazard, Level
from dbctl.migrate.rules.registry import Hit, Scene, hazard, rule
from dbctl.postgres.catalog.model import Table
from dbctl.postgres.lock_modes import LockMode
from dbctl.postgres.sql.builtin_types import SERIAL
from dbctl.postgres.sql.operations import AddColumn, Column

# Not volatile: worked out once, for all rows alike. Of a function that is not here, the rewrite itself tells.
_ONCE = {
    *(
        "now",
        "transaction_timestamp",
        "statement_timestamp",
        "current_timestamp",
        "current_date",
        "current_time",
    ),
    *(
        "localtimestamp",
        "localtime",
        "current_user",
        "current_role",
        "session_user",
        "user",
        "current_schema",
    ),
    *(
        "current_catalog",
        "current_setting",
        "current_database",
        "timezone",
        "date_trunc",
        "to_char",
        "lower",
        "upper",
    ),
    *(
        "make_date",
        "to_timestamp",
        "to_jsonb",
        "jsonb_build_object",
        "jsonb_build_array",
        "json_build_object",
    ),
}
NUMBERED = (
    (
        'op.execute("CREATE SEQUENCE {sequence}")\n'
        'op.execute("ALTER TABLE {table} ADD COLUMN {column} bigint")\n'
        "op.execute(\"ALTER TABLE {table} ALTER COLUMN {column} SET DEFAULT nextval('{sequence}')\")"
    ),
    recipes.FILL_WITH_DEFAULT,
)


VOLATILE_DEFAULT = hazard(
    Hazard(
        id="add-col-volatile-default",
        level=Level.DANGER,
        effect="blocking",
        why=(
            "The default differs from row to row, so the whole table and all its indexes are written anew while "
            "every query on it waits."
        ),
        safe=(
            f"{recipes.ADD_COLUMN}\n{recipes.SET_DEFAULT}",
            recipes.FILL_WITH_DEFAULT,
        ),
        lock=LockMode.ACCESS_EXCLUSIVE,
    )
)
STORED_GENERATED = hazard(
    Hazard(
        id="add-col-stored-generated",
        level=Level.DANGER,
        effect="blocking",
        why=(
            "A stored generated column is worked out for every row at once: the whole table is written anew while "
            "every query on it waits."
        ),
        safe=(
            (
                "# From PostgreSQL 18 on a VIRTUAL column is free; before, a view is.\n"
                'op.execute("""CREATE VIEW {table}_with_{column} AS\n'
                '    SELECT *, {expression} AS {column} FROM {table}""")'
            ),
        ),
        lock=LockMode.ACCESS_EXCLUSIVE,
    )
)
ADD_SERIAL = hazard(
    Hazard(
        id="add-col-serial",
        level=Level.DANGER,
        effect="blocking",
        why=(
            "Each row gets a number of its own at once: the whole table and all its indexes are written anew while "
            "every query on it waits."
        ),
        safe=NUMBERED,
        lock=LockMode.ACCESS_EXCLUSIVE,
    )
)
ADD_IDENTITY = hazard(
    Hazard(
        id="add-col-identity",
        level=Level.DANGER,
        effect="blocking",
        why=(
            "Each row gets a number of its own at once: the whole table and all its indexes are written anew while "
            "every query on it waits."
        ),
        safe=NUMBERED,
        lock=LockMode.ACCESS_EXCLUSIVE,
    )
)


def added(operation: AddColumn, scene: Scene) -> Table | None:
    """The table that was there before the revision and gets the column; None if nothing is added."""
    table = scene.table(operation.table)
    if table is None or (operation.if_not_exists and operation.column.name in table.columns):
        return None
    return None if fails_with(scene, "42701") else table


def hit(operation: AddColumn, scene: Scene, table: Table, **names: str) -> Hit:
    """The finding about a column that is added."""
    column = operation.column
    given = named(table, column=column.name, type=spelled(column.type), **default_of(column)) | names
    return Hit(affected(scene, table), given)


def default_of(column: Column | None) -> dict[str, str]:
    """The name of the default for a safe way, if there is one."""
    return {"default": column.default.sql} if column and column.default else {}


def whole(column: Column | None, *between: str, add: str = recipes.ADD_COLUMN) -> tuple[str, ...]:
    """Bodies that ``add`` a column as it was meant, with its default and its NOT NULL; ``between`` comes before that.

    A default that all rows share costs nothing in the ADD COLUMN, nor does NOT NULL with it.
    """
    if column is None or column.generated:
        return (add, *between)
    if column.identity or column.type.name in SERIAL:
        return (*NUMBERED, *between, *recipes.NOT_NULL)
    if column.default and add is recipes.ADD_COLUMN and not is_volatile(column):
        promise = " NOT NULL" if column.not_null else ""
        return (add.replace("{type}", "{type} DEFAULT {default}" + promise), *between)
    promised = recipes.NOT_NULL if column.not_null else ()
    if column.default:
        return (f"{add}\n{recipes.SET_DEFAULT}", recipes.FILL_WITH_DEFAULT, *between, *promised)
    if promised:
        promised = (f"# Every row has got a value by now.\n{promised[0]}", *promised[1:])
    return (add, *between, *promised)


def key_names(operation: AddColumn, table: Table) -> dict[str, str]:
    """Names for the sequence and the unique index of a safe way."""
    stem = f"{table.relation.name}_{operation.column.name}"
    return {"sequence": f"{stem}_seq", "index": f"{stem}_key", "columns": listed([operation.column.name])}


@rule(VOLATILE_DEFAULT, AddColumn)
def volatile_default(operation: AddColumn, scene: Scene) -> Iterator[Hit]:
    """A default that the server worked out for each row."""
    table = added(operation, scene)
    default = operation.column.default
    if table and default and is_volatile(operation.column) and rewrites(scene, table, "default"):
        yield _kept_not_null(VOLATILE_DEFAULT, operation, hit(operation, scene, table, default=default.sql))


@rule(STORED_GENERATED, AddColumn)
def stored_generated(operation: AddColumn, scene: Scene) -> Iterator[Hit]:
    """GENERATED ALWAYS AS (…) STORED."""
    table = added(operation, scene)
    if table and operation.column.generated == "stored" and rewrites(scene, table, "default"):
        expression = operation.column.generation
        yield hit(operation, scene, table, expression=expression.sql if expression else "NULL")


@rule(ADD_SERIAL, AddColumn)
def serial(operation: AddColumn, scene: Scene) -> Iterator[Hit]:
    """A column of type serial, bigserial or smallserial."""
    table = added(operation, scene)
    if table and operation.column.type.name in SERIAL and rewrites(scene, table, "default"):
        found = hit(operation, scene, table, **key_names(operation, table))
        yield _kept_not_null(ADD_SERIAL, operation, found)


@rule(ADD_IDENTITY, AddColumn)
def identity(operation: AddColumn, scene: Scene) -> Iterator[Hit]:
    """GENERATED … AS IDENTITY."""
    table = added(operation, scene)
    if table and operation.column.identity and rewrites(scene, table, "default"):
        found = hit(operation, scene, table, **key_names(operation, table))
        yield _kept_not_null(ADD_IDENTITY, operation, found)


def _kept_not_null(hazard: Hazard, operation: AddColumn, found: Hit) -> Hit:
    """The hit with NOT NULL at the end of its fix, where the column was meant to be so: at first it can't be."""
    column = operation.column
    if not (column.not_null or column.identity or column.type.name in SERIAL):
        return found
    return replace(found, fix=fill((*hazard.safe, *recipes.NOT_NULL), found))


def is_volatile(column: Column) -> bool:
    """Whether the default calls something that is not known to give all rows the same."""
    return column.default is not None and any(name not in _ONCE for name in column.default.functions)
