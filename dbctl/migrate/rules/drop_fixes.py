"""The safe way to drop something: what depends on it first and by name, each as what it is."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from dbctl.migrate.rules.facts import sql_of
from dbctl.migrate.rules.fixes import numbered
from dbctl.migrate.rules.index_texts import place_of
from dbctl.migrate.rules.partition_indexes import is_parted
from dbctl.migrate.rules.python_text import accepting, execute, outside
from dbctl.migrate.rules.registry import Scene
from dbctl.postgres.catalog.model import Constraint, Index, Relation, Table
from dbctl.postgres.identifiers import quote_if_needed
from dbctl.postgres.sql.operations import Drop, DropColumn

_CASCADE = re.compile(r"\s+CASCADE\s*;?\s*\Z", re.IGNORECASE)
_UNUSED = "no running code has used it for a release"
_UNREAD = "no running code has read it for a release"
_NOT_RELIED_ON = "no running code relies on it"
_UNMAPPED = "no running code has mapped it for a release"
_ONLY_BRIEFLY = "an index of a partitioned table can't be dropped CONCURRENTLY, and the lock is brief"
# Of a constraint that is neither, nobody is told.
_TOLD = {"foreign key": "drop-constraint", "unique": "drop-constraint", "primary key": "drop-pk"}

_HELD = (
    ("materialized view", "drop-view", _UNREAD),
    ("view", "drop-view", _UNREAD),
    ("foreign table", "drop-table", _UNUSED),
)


def table_drop(operation: Drop, tables: Iterable[Table], scene: Scene) -> str:
    """DROP TABLE after the foreign keys and the views that it would take along, or that are in its way."""
    gone = list(scene.statement.dropped)
    if scene.statement.failure:
        meant = {table.relation.shown for table in tables}
        keys = [key for table in tables for key in table.references_to_it if key.references not in meant]
        gone += [f"table constraint {quote_if_needed(key.name)} on {_quoted(key.references)}" for key in keys]
    return _after_dependents(sql_of(operation, scene), gone, "drop-table", _UNUSED)


def view_drop(operation: Drop, scene: Scene) -> str:
    """DROP VIEW, or MATERIALIZED VIEW, after the views upon it."""
    return _after_dependents(sql_of(operation, scene), scene.statement.dropped, "drop-view", _UNREAD)


def schema_drop(schemas: Iterable[str], lost: Iterable[Relation]) -> str:
    """DROP SCHEMA after what it holds, kind by kind: what is left, such as functions and types, is in its way."""
    held: dict[str, list[str]] = {}
    for each in dict.fromkeys(lost):
        held.setdefault(each.kind, []).append(place_of(each.schema, each.name))
    drops = [
        accepting(hazard, reason, f"DROP {kind.upper()} {', '.join(held[kind])}")
        for kind, hazard, reason in _HELD
        if kind in held
    ]
    tables = [*held.get("table", ()), *held.get("partitioned table", ())]
    if tables:
        drops.append(accepting("drop-table", _UNUSED, f"DROP TABLE {', '.join(tables)}"))
    # One that belonged to a column went with its table.
    drops += [execute(f"DROP SEQUENCE IF EXISTS {name}") for name in held.get("sequence", ())]
    whole = execute(f"DROP SCHEMA {', '.join(map(quote_if_needed, schemas))}")
    return numbered(
        [*drops, f"# Functions and types that are left are in its way: drop them first.\n{whole}"]
    )


def column_drop(operation: DropColumn, table: Table, scene: Scene) -> str:
    """DROP COLUMN after what would go with it: views are made again without it, all else goes by name."""
    name = place_of(table.relation.schema, table.relation.name)
    sql = f"ALTER TABLE {name} DROP COLUMN {quote_if_needed(operation.column)}"
    views = table.dependent_views.get(operation.column, ()) if scene.statement.failure else ()
    dropped = scene.statement.dropped if operation.cascade else ()
    if dropped:
        return _after_dependents(f"{sql} CASCADE", dropped, "drop-column", _UNMAPPED)
    bodies = [_dependent_drop(each, name, table) for each in sharing(table, operation.column)]
    if views:
        again = (f'op.execute("""CREATE OR REPLACE VIEW {_quoted(view)} AS <query>""")' for view in views)
        left_out = f"# The same query without {operation.column}; views upon it stay as they are."
        bodies.insert(0, "\n".join((left_out, *again)))
    return numbered([*bodies, accepting("drop-column", _UNMAPPED, sql)])


def index_drop(index: Index, table: Table) -> str:
    """DROP INDEX CONCURRENTLY, where that can be."""
    name = place_of(table.relation.schema, index.name)
    if is_parted(table):
        return accepting("drop-index", _ONLY_BRIEFLY, f"DROP INDEX IF EXISTS {name}")
    return outside(f"DROP INDEX CONCURRENTLY IF EXISTS {name}")


def _dependent_drop(lost: Constraint | Index, table: str, owner: Table) -> str:
    if isinstance(lost, Index):
        return index_drop(lost, owner)
    sql = f"ALTER TABLE {table} DROP CONSTRAINT {quote_if_needed(lost.name)}"
    hazard = _TOLD.get(lost.kind)
    return accepting(hazard, _NOT_RELIED_ON, sql) if hazard else execute(sql)


def sharing(table: Table, column: str) -> Iterator[Constraint | Index]:
    """The constraints and indexes over the column and others, which would go with it silently."""
    for constraint in table.constraints:
        if column in constraint.columns and len(constraint.columns) > 1:
            yield constraint
    behind = {constraint.index for constraint in table.constraints}
    for index in table.indexes:
        if index.name not in behind and _shares(index, column):
            yield index


def _shares(index: Index, column: str) -> bool:
    """Whether the index is about the column and others too, in its keys, its INCLUDE or its WHERE."""
    columns = {*index.columns, *index.included} - {""}
    _, _, definition = index.definition.partition(" USING ")
    mentions = column in columns or re.search(rf'(?<![\w"]){re.escape(column)}(?!\w)', definition) is not None
    return mentions and bool(columns - {column})


def _after_dependents(sql: str, gone: Iterable[str], hazard: str, reason: str) -> str:
    """The statement without its CASCADE; with it, where that takes along what nobody drops by name."""
    keys: list[str] = []
    views: dict[str, list[str]] = {"MATERIALIZED VIEW": [], "VIEW": []}
    for each in gone:
        if each.startswith("table constraint "):
            name, _, table = each.removeprefix("table constraint ").rpartition(" on ")
            keys.append(
                accepting("drop-constraint", _NOT_RELIED_ON, f"ALTER TABLE {table} DROP CONSTRAINT {name}")
            )
        elif each.startswith(("view ", "materialized view ")):
            kind, _, view = each.rpartition("view ")
            views[f"{kind.upper()}VIEW"].append(view)
        else:
            return accepting(hazard, reason, sql)
    # In one statement the order among them does not matter.
    drops = [f"DROP {kind} {', '.join(names)}" for kind, names in views.items() if names]
    before = [accepting("drop-view", _UNREAD, each) for each in drops]
    return numbered([*keys, *before, accepting(hazard, reason, _CASCADE.sub("", sql))])


def _quoted(shown: str) -> str:
    return ".".join(map(quote_if_needed, shown.split(".", 1)))
