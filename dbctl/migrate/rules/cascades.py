"""What a CASCADE takes along of tables that are not themselves dropped: views, indexes, defaults."""

from __future__ import annotations

from collections.abc import Iterator

from dbctl.migrate.rules.drops import DROP_INDEX, DROP_VIEW
from dbctl.migrate.rules.facts import by_identity, operations
from dbctl.migrate.rules.nulls import DROP_DEFAULT
from dbctl.migrate.rules.registry import Hit, Scene, statement_rule
from dbctl.postgres.catalog.model import Relation
from dbctl.postgres.sql.operations import Drop, DropColumn

# Of these their own rules say what goes along.
_TOLD = {"table", "foreign table", "view", "materialized view", "schema"}
_VIEWS = ("view", "materialized view")


@statement_rule(DROP_VIEW)
def views_taken_along(scene: Scene) -> Iterator[Hit]:
    """Views that go with a function, type or extension that they use."""
    for kind, gone, relation in _taken_along(scene):
        if kind in _VIEWS and relation:
            yield Hit((relation.shown,), {"table": gone}, f"CASCADE takes {kind} {gone} along.")


@statement_rule(DROP_INDEX)
def indexes_taken_along(scene: Scene) -> Iterator[Hit]:
    """Indexes that go with a function, operator or extension that they use."""
    for kind, gone, relation in _taken_along(scene):
        if kind == "index" and relation and relation.table:
            yield Hit((relation.table,), {"index": gone}, f"CASCADE takes index {gone} along.")


@statement_rule(DROP_DEFAULT)
def defaults_taken_along(scene: Scene) -> Iterator[Hit]:
    """Defaults that go with the sequence or function that they call."""
    locked = by_identity(scene.statement)
    for kind, gone, _ in _taken_along(scene):
        table, _, column = gone.removeprefix("for ").rpartition(".")
        if kind == "default value" and table in locked:
            why = f"CASCADE takes the default of {column} along."
            yield Hit((locked[table].shown,), {"table": table, "column": column}, why)


def _taken_along(scene: Scene) -> Iterator[tuple[str, str, Relation | None]]:
    """The kind of each object that a CASCADE drops, its name, and what it is if it was locked."""
    done = tuple(operations(scene.statement))
    if any(isinstance(o, DropColumn) or (isinstance(o, Drop) and o.kind in _TOLD) for o in done):
        return
    locked = by_identity(scene.statement)
    for each in scene.statement.dropped:
        for kind in (*_VIEWS, "index", "default value"):
            if each.startswith(f"{kind} "):
                gone = each.removeprefix(f"{kind} ")
                yield kind, gone, locked.get(gone)
