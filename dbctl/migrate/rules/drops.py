"""Drops: what is lost, and which running code meets the gap."""

from __future__ import annotations

from collections.abc import Iterator

from dbctl.migrate.rules.drop_fixes import (
    column_drop,
    index_drop,
    schema_drop,
    sharing,
    table_drop,
    view_drop,
)
from dbctl.migrate.rules.facts import (
    by_identity,
    column_is_new,
    found,
    index_is_new,
    is_held_up,
    named,
    operations,
    schema_is_new,
    shown,
)
from dbctl.migrate.rules.index_texts import as_sql, definition, place_of
from dbctl.migrate.rules.model import Hazard, Level
from dbctl.migrate.rules.registry import Hit, Scene, hazard, rule, statement_rule
from dbctl.postgres.catalog.model import Index, Table
from dbctl.postgres.lock_modes import LockMode
from dbctl.postgres.sql.operations import (
    CreateIndex,
    CreateMaterializedView,
    CreateView,
    Drop,
    DropColumn,
)

_DROP_TABLE = (
    "# dbctl: accept drop-table because no running code has used it for a release\n"
    'op.execute("DROP TABLE {table}")'
)
_DROP_COLUMN = (
    "# dbctl: accept drop-column because no running code has mapped it for a release\n"
    'op.execute("ALTER TABLE {table} DROP COLUMN {column}")'
)

DROP_INDEX = hazard(
    Hazard(
        id="drop-index",
        level=Level.CAUTION,
        effect="blocking",
        why="DROP INDEX locks its table against reads and writes, until the revision is committed.",
        safe=(
            (
                "with op.get_context().autocommit_block():\n"
                '    op.execute("DROP INDEX CONCURRENTLY IF EXISTS {index}")'
            ),
        ),
        lock=LockMode.ACCESS_EXCLUSIVE,
    )
)
REPLACE_INDEX = hazard(
    Hazard(
        id="replace-index",
        level=Level.CAUTION,
        effect="blocking",
        why="The old index goes before the new one is there: in between, its queries read the whole table.",
        safe=(
            (
                "with op.get_context().autocommit_block():\n"
                '    op.execute("""CREATE {unique}INDEX CONCURRENTLY {definition}""")'
            ),
            (
                "with op.get_context().autocommit_block():\n"
                '    op.execute("DROP INDEX CONCURRENTLY IF EXISTS {old}")'
            ),
        ),
    )
)
DROP_TABLE = hazard(
    Hazard(
        id="drop-table",
        level=Level.DANGER,
        effect="losing data",
        why="The table's rows are gone, and code that still uses it fails.",
        safe=(_DROP_TABLE,),
        lock=LockMode.ACCESS_EXCLUSIVE,
    )
)
DROP_COLUMN = hazard(
    Hazard(
        id="drop-column",
        level=Level.DANGER,
        effect="breaking code",
        why="The column's values are gone, and running code that maps it fails at its next SELECT or INSERT.",
        safe=(_DROP_COLUMN,),
        lock=LockMode.ACCESS_EXCLUSIVE,
    )
)
DROP_COLUMN_DEPENDENTS = hazard(
    Hazard(
        id="drop-column-dependents",
        level=Level.CAUTION,
        effect="losing data",
        why="Indexes and constraints over several columns go silently with any one of them.",
        safe=(
            (
                "with op.get_context().autocommit_block():\n"
                '    op.execute("DROP INDEX CONCURRENTLY IF EXISTS {dependent}")'
            ),
            _DROP_COLUMN,
        ),
        lock=LockMode.ACCESS_EXCLUSIVE,
    )
)
DROP_SCHEMA = hazard(
    Hazard(
        id="drop-schema",
        level=Level.DANGER,
        effect="losing data",
        why="DROP SCHEMA … CASCADE takes along all that the schema holds, and what elsewhere depends on it.",
        safe=(
            (
                "# Drop what it holds first, a table a revision; without CASCADE this fails while anything is left.\n"
                'op.execute("DROP SCHEMA {schema}")'
            ),
        ),
        lock=LockMode.ACCESS_EXCLUSIVE,
    )
)
DROP_DATABASE = hazard(
    Hazard(
        id="drop-database",
        level=Level.DANGER,
        effect="losing data",
        why="A revision that drops a database loses all of it, and can't be undone.",
        safe=("# A database is dropped by hand, after a proven backup; never by a revision.",),
    )
)
DROP_VIEW = hazard(
    Hazard(
        id="drop-view",
        level=Level.DANGER,
        effect="breaking code",
        why="Code that reads the view fails as soon as the revision is committed.",
        safe=(
            (
                "# dbctl: accept drop-view because no running code has read it for a release\n"
                'op.execute("DROP VIEW {table}")'
            ),
        ),
        lock=LockMode.ACCESS_EXCLUSIVE,
    )
)


@rule(DROP_INDEX, Drop)
def drop_index(operation: Drop, scene: Scene) -> Iterator[Hit]:
    """DROP INDEX without CONCURRENTLY, of an index that was there."""
    if operation.kind == "index" and not operation.concurrently:
        for table, index in _indexes(operation, scene):
            yield Hit(shown([table]), named(table, index=index.name), fix=index_drop(index, table))


@rule(REPLACE_INDEX, CreateIndex)
def replace_index(operation: CreateIndex, scene: Scene) -> Iterator[Hit]:
    """An index that serves what one dropped before did: its first columns are the dropped one's."""
    table = scene.table(operation.table)
    if table is None:
        return
    for old in _dropped_indexes(scene, table):
        count = len(old.columns)
        if old.valid and operation.columns[:count] == old.columns and "" not in old.columns:
            spare = as_sql(operation, definition(operation, name=f"{operation.name or old.name}_new"))
            names = named(table, old=place_of(table.relation.schema, old.name), **spare)
            yield Hit(shown([table]), names, f"{operation.name or 'It'} takes the place of {old.name}.")


@rule(DROP_TABLE, Drop)
def drop_table(operation: Drop, scene: Scene) -> Iterator[Hit]:
    """A table that was there."""
    if operation.kind in {"table", "foreign table"}:
        for table in found(scene, operation.names):
            parents = sorted(
                {c.references for c in table.constraints if c.references} - {table.relation.shown}
            )
            whys = [f"Its foreign keys lock {', '.join(parents)} too."] if parents else []
            if scene.statement.dropped:
                whys.append(f"CASCADE takes {', '.join(scene.statement.dropped)} along.")
            fix = table_drop(operation, found(scene, operation.names), scene)
            yield Hit(shown([table]), named(table), " ".join(whys), fix=fix)


@rule(DROP_COLUMN, DropColumn)
def drop_column(operation: DropColumn, scene: Scene) -> Iterator[Hit]:
    """A column that was there before the revision."""
    table = None if is_held_up(scene) else scene.table(operation.table)
    if table and operation.column in table.columns and not column_is_new(scene, table, operation.column):
        fix = column_drop(operation, table, scene)
        lost = ", ".join(scene.statement.dropped)
        why = f"CASCADE takes {lost} along." if lost else ""
        yield Hit(shown([table]), named(table, column=operation.column), why, fix=fix)


@statement_rule(DROP_COLUMN)
def columns_of_a_type(scene: Scene) -> Iterator[Hit]:
    """Columns that go with their type, domain or extension: DROP … CASCADE."""
    if any(isinstance(operation, DropColumn) for operation in operations(scene.statement)):
        return
    locked = by_identity(scene.statement)
    for gone in scene.statement.dropped:
        kind, _, identity = gone.rpartition(" ")
        table, _, column = identity.rpartition(".")
        if kind == "table column" and table in locked:
            shown_name = locked[table].shown
            yield Hit(
                (shown_name,), {"table": shown_name, "column": column}, f"CASCADE takes {column} along."
            )


@rule(DROP_COLUMN_DEPENDENTS, DropColumn)
def drop_column_dependents(operation: DropColumn, scene: Scene) -> Iterator[Hit]:
    """A column that an index or a constraint has together with others."""
    table = scene.table(operation.table)
    if table is None or column_is_new(scene, table, operation.column):
        return
    lost = list(sharing(table, operation.column))
    if lost:
        why = f"{operation.column} takes {', '.join(dict.fromkeys(each.name for each in lost))} along."
        yield Hit(shown([table]), why=why, fix=column_drop(operation, table, scene))


@rule(DROP_SCHEMA, Drop)
def drop_schema(operation: Drop, scene: Scene) -> Iterator[Hit]:
    """CASCADE of a schema that was there: without it, only an empty one can be dropped."""
    if operation.kind == "schema" and operation.cascade:
        schemas = [name.name for name in operation.names if not schema_is_new(scene, name.name)]
        lost_nothing = operation.if_exists and not scene.statement.locks and not scene.statement.dropped
        if schemas and not lost_nothing:
            lost = [lock.relation for lock in scene.statement.locks if lock.relation.schema in schemas]
            tables = tuple(dict.fromkeys(relation.shown for relation in lost if not relation.is_index))
            yield Hit(tables, {"schema": schemas[0]}, fix=schema_drop(schemas, lost))


@rule(DROP_DATABASE, Drop)
def drop_database(operation: Drop, _: Scene) -> Iterator[Hit]:
    """DROP DATABASE."""
    if operation.kind == "database":
        yield Hit(names={"database": str(operation.names[0])})


@rule(DROP_VIEW, Drop)
def drop_view(operation: Drop, scene: Scene) -> Iterator[Hit]:
    """A view that was there, and that the same transaction does not make again."""
    if operation.kind not in {"view", "materialized view"}:
        return
    for name in operation.names:
        view = scene.table(name)
        lost = _lost_columns(scene, view, name.name) if view else ()
        if view and lost != ():
            why = f"It comes back without {', '.join(lost)}." if lost else ""
            yield Hit(shown([view]), named(view), why, fix=view_drop(operation, scene))


def _indexes(operation: Drop, scene: Scene) -> Iterator[tuple[Table, Index]]:
    for name in operation.names:
        place = scene.index(name)
        if place is not None and not index_is_new(scene, place[0], place[1].name):
            yield place


def _dropped_indexes(scene: Scene, table: Table) -> Iterator[Index]:
    """The table's indexes that earlier statements of the revision dropped."""
    for statement in scene.earlier:
        before = statement.before.get(table.relation.oid)
        for operation in operations(statement) if before else ():
            if isinstance(operation, Drop) and operation.kind == "index":
                indexes = (before.index(name.name) for name in operation.names if before)
                yield from (index for index in indexes if index is not None)


def _lost_columns(scene: Scene, view: Table, name: str) -> tuple[str, ...] | None:
    """What a view made again in the same transaction has no more; None if it is not made again."""
    for later in scene.later_in_transaction:
        for operation in operations(later):
            if isinstance(operation, CreateView | CreateMaterializedView) and operation.view.name == name:
                new = operation.columns if isinstance(operation, CreateView) else ()
                return tuple(each for each in view.columns if each not in (new or view.columns))
    return None
