"""Foreign keys of tables made in the revision: what they lack from the first row on."""

from __future__ import annotations

from collections.abc import Iterator

from dbctl.migrate.rules.facts import operations
from dbctl.migrate.rules.fixes import listed, qualified
from dbctl.migrate.rules.foreign_keys import FK_NO_INDEX, FK_TYPE_MISMATCH, are_alike, referenced_columns
from dbctl.migrate.rules.python_text import execute
from dbctl.migrate.rules.registry import Hit, Scene, rule
from dbctl.migrate.rules.widths import catalog_type
from dbctl.postgres.identifiers import quote_if_needed
from dbctl.postgres.sql.operations import AddConstraint, Constraint, CreateIndex, CreateTable, Name


@rule(FK_NO_INDEX, CreateTable)
def new_key_without_index(operation: CreateTable, scene: Scene) -> Iterator[Hit]:
    """A key into a table that was there, whose columns lead no index of the revision.

    Later revisions can't help who reads this one alone: the index costs nothing while the table is new.
    """
    for key in _keys(operation, scene):
        if not _is_indexed(key, operation, scene):
            when = "# While the table is new the index costs nothing: in the revision that makes it."
            yield Hit((str(operation.table),), fix=f"{when}\n{_index_for(key, operation)}")


@rule(FK_TYPE_MISMATCH, CreateTable)
def new_key_of_another_type(operation: CreateTable, scene: Scene) -> Iterator[Hit]:
    """A key of a new table whose column has another type than the one it refers to."""
    types = {column.name: column.type for column in operation.columns}
    for key in _keys(operation, scene):
        parent = scene.table(key.references) if key.references else None
        pairs = zip(key.columns, referenced_columns(key, parent), strict=False) if parent else ()
        for column, referenced in pairs:
            theirs = parent.columns.get(referenced) if parent else None
            if theirs is None or column not in types:
                continue
            if not are_alike(types[column], catalog_type(theirs.type)):
                why = f"{column} is {types[column].name}, {key.references}.{referenced} is {theirs.type}."
                fix = f"# Give {column} the type of {key.references}.{referenced}: {theirs.type}."
                yield Hit((str(operation.table),), why=why, fix=fix)


def indexes_for(operation: CreateTable, scene: Scene) -> Iterator[str]:
    """The calls that make the indexes which its keys lack."""
    lacking = [key for key in _keys(operation, scene) if not _is_indexed(key, operation, scene)]
    yield from (_index_for(key, operation) for key in lacking)


def _index_for(key: Constraint, operation: CreateTable) -> str:
    """The call that makes the index which the key of a new table lacks."""
    index = quote_if_needed(f"{operation.table.name}_{'_'.join(key.columns)}_idx")
    return execute(f"CREATE INDEX {index} ON {qualified(operation.table)} ({listed(key.columns)})")


def _keys(operation: CreateTable, scene: Scene) -> Iterator[Constraint]:
    inline = (key for column in operation.columns for key in column.constraints)
    for key in (*operation.constraints, *inline):
        if key.kind == "foreign key" and key.references and key.columns and scene.table(key.references):
            yield key


def _is_indexed(key: Constraint, operation: CreateTable, scene: Scene) -> bool:
    """Whether the columns, in any order, are the first ones of a key or an index of the table."""
    if operation.partition_of or operation.like or operation.inherits:
        return True
    wanted = set(key.columns)
    return any(set(columns[: len(wanted)]) == wanted for columns in _indexed(operation, scene))


def _indexed(operation: CreateTable, scene: Scene) -> Iterator[tuple[str, ...]]:
    own = (*operation.constraints, *(c for column in operation.columns for c in column.constraints))
    yield from (each.columns for each in own if each.kind in {"primary key", "unique"})
    for statement in scene.revision.statements:
        for other in operations(statement):
            if isinstance(other, CreateIndex) and _is_same(other.table, operation.table):
                yield () if other.is_partial else other.columns
            elif isinstance(other, AddConstraint) and _is_same(other.table, operation.table):
                yield other.constraint.columns if other.constraint.kind in {"primary key", "unique"} else ()


def _is_same(one: Name, other: Name) -> bool:
    return one.name == other.name and (not one.schema or not other.schema or one.schema == other.schema)
