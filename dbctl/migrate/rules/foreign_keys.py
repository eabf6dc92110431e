"""Foreign keys: whom they lock, what they read, and what is missing for them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace

from dbctl.migrate.rules import recipes
from dbctl.migrate.rules.altered import are_new, fails_with, new_column, new_type, ran
from dbctl.migrate.rules.columns import added, default_of, whole
from dbctl.migrate.rules.facts import named, operations
from dbctl.migrate.rules.fixes import fill, listed
from dbctl.migrate.rules.index_texts import free_name
from dbctl.migrate.rules.model import Hazard, Level
from dbctl.migrate.rules.registry import Hit, Scene, hazard, rule
from dbctl.migrate.rules.widths import catalog_type
from dbctl.postgres.catalog.model import Table
from dbctl.postgres.identifiers import quote_if_needed
from dbctl.postgres.lock_modes import LockMode
from dbctl.postgres.sql.operations import AddColumn, AddConstraint, Column, Constraint, CreateIndex, Type

_REFERENCES = re.compile(
    r'\bREFERENCES\s+(?:"[^"]+"|[\w$.])+(?:\s*\([^)]*\))?((?:\s+(?:MATCH|ON|DELETE|UPDATE|CASCADE|RESTRICT|NO|ACTION'
    r"|SET|NULL|DEFAULT|NOT|DEFERRABLE|INITIALLY|DEFERRED|IMMEDIATE|FULL|SIMPLE)\b(?!\s+VALID))*)",
    re.IGNORECASE,
)

# Interchangeable for the operators that compare them.
_ALIKE = [{"text", "varchar"}]

ADD_COLUMN_FK = hazard(
    Hazard(
        id="add-col-fk",
        level=Level.DANGER,
        effect="blocking",
        why=(
            "The new column locks its table against reads and writes, and its foreign key the parent against "
            "writes, both until the revision is committed; where the key is validated, both tables are read meanwhile."
        ),
        safe=(
            'op.execute("""ALTER TABLE {table} ADD COLUMN {columns} {type}""")',
            recipes.CREATE_INDEX,
            *recipes.FOREIGN_KEY,
        ),
        lock=LockMode.ACCESS_EXCLUSIVE,
    )
)
ADD_FK = hazard(
    Hazard(
        id="add-fk",
        level=Level.DANGER,
        effect="blocking",
        why="Every row is looked up in the parent, and meanwhile neither table can be written.",
        safe=recipes.FOREIGN_KEY,
        lock=LockMode.SHARE_ROW_EXCLUSIVE,
    )
)
FK_NO_INDEX = hazard(
    Hazard(
        id="fk-no-index",
        level=Level.CAUTION,
        effect="blocking",
        why=(
            "No index serves the foreign key's columns: each DELETE in the parent, and each UPDATE of its key, "
            "reads this whole table."
        ),
        safe=(recipes.CREATE_INDEX, *recipes.FOREIGN_KEY),
        lock=LockMode.SHARE_ROW_EXCLUSIVE,
    )
)
FK_TYPE_MISMATCH = hazard(
    Hazard(
        id="fk-type-mismatch",
        level=Level.CAUTION,
        effect="breaking code",
        why=(
            "The column and the key that it refers to have different types: one of them runs out of values first, "
            "and every comparison casts."
        ),
        safe=(
            'op.execute("""ALTER TABLE {table} ADD COLUMN {column}_new {parent_type}""")',
            recipes.COPY_TO_NEW_COLUMN,
            (
                "with op.get_context().autocommit_block():\n"
                '    op.execute("CREATE INDEX CONCURRENTLY {index} ON {table} ({new_columns})")'
            ),
            (
                'op.execute("""ALTER TABLE {table} ADD CONSTRAINT {constraint}\n'
                '    FOREIGN KEY ({new_columns}) REFERENCES {parent} ({parent_columns}){options} NOT VALID""")'
            ),
            'op.execute("ALTER TABLE {table} VALIDATE CONSTRAINT {constraint}")',
        ),
        lock=LockMode.SHARE_ROW_EXCLUSIVE,
    )
)


@rule(ADD_COLUMN_FK, AddColumn)
def column_with_fk(operation: AddColumn, scene: Scene) -> Iterator[Hit]:
    """Inline REFERENCES; nothing is read where the column has no default."""
    table = added(operation, scene)
    for constraint in operation.column.constraints:
        if table and constraint.kind == "foreign key" and constraint.enforced and ran(scene):
            level = Level.DANGER if operation.column.default else Level.CAUTION
            yield _with_column(_hit(constraint, scene, table, level=level), operation.column)


@rule(ADD_COLUMN_FK, AddConstraint)
def fk_of_new_column(operation: AddConstraint, scene: Scene) -> Iterator[Hit]:
    """A key that is validated, of columns that the revision added: what Alembic makes of an inline one."""
    table = scene.table(operation.table)
    if table and _is_validated(operation, scene) and are_new(scene, table, operation.constraint.columns):
        found = _hit(operation.constraint, scene, table)
        yield _with_column(found, new_column(scene, table, found.names["column"]))


@rule(ADD_FK, AddConstraint)
def add_fk(operation: AddConstraint, scene: Scene) -> Iterator[Hit]:
    """A key without NOT VALID, of columns that were there."""
    table = scene.table(operation.table)
    if table and _is_validated(operation, scene) and not are_new(scene, table, operation.constraint.columns):
        yield _hit(operation.constraint, scene, table)


@rule(ADD_FK, AddConstraint)
def fk_of_partitioned(operation: AddConstraint, scene: Scene) -> Iterator[Hit]:
    """NOT VALID on a partitioned table, which fails until 18: there the key can only be added with its scan."""
    table = scene.table(operation.table)
    constraint = operation.constraint
    if table and constraint.kind == "foreign key" and not constraint.valid and fails_with(scene, "42809"):
        why = (
            "Until PostgreSQL 18 it can't be NOT VALID on a partitioned table: the revision fails with 42809."
        )
        yield replace(_hit(constraint, scene, table), why=why)


@rule(FK_NO_INDEX, AddConstraint, AddColumn)
def fk_no_index(operation: AddConstraint | AddColumn, scene: Scene) -> Iterator[Hit]:
    """A key whose columns lead no index, neither now nor at the revision's end."""
    for table, constraint in _keys(operation, scene):
        if not _is_indexed(constraint, scene, table):
            yield _hit(constraint, scene, table, with_parent=False)


@rule(FK_TYPE_MISMATCH, AddConstraint, AddColumn)
def fk_type_mismatch(operation: AddConstraint | AddColumn, scene: Scene) -> Iterator[Hit]:
    """A key whose column has another type than the one it refers to."""
    for table, constraint in _keys(operation, scene):
        parent = scene.table(constraint.references) if constraint.references else None
        if parent is None:
            continue
        pairs = zip(constraint.columns, referenced_columns(constraint, parent), strict=False)
        for column, referenced in pairs:
            type_, parent_type = _type(scene, table, column), _type(scene, parent, referenced)
            if referenced in parent.columns and type_ and parent_type and not are_alike(type_, parent_type):
                why = f"{column} is {type_.name}, {parent.relation.shown}.{referenced} is {parent_type.name}."
                names = _names(constraint, scene, table, parent)
                names |= _widened(constraint, column, parent.columns[referenced].type, table)
                yield Hit((table.relation.shown,), names, why)


def _keys(operation: AddConstraint | AddColumn, scene: Scene) -> Iterator[tuple[Table, Constraint]]:
    """The foreign keys that a statement puts on a table that was there."""
    if isinstance(operation, AddColumn):
        table = added(operation, scene)
        constraints: tuple[Constraint, ...] = operation.column.constraints
    else:
        table = scene.table(operation.table)
        constraints = (operation.constraint,)
    for constraint in constraints:
        if table and constraint.kind == "foreign key" and ran(scene):
            yield table, constraint


def _is_validated(operation: AddConstraint, scene: Scene) -> bool:
    constraint = operation.constraint
    return constraint.kind == "foreign key" and constraint.valid and constraint.enforced and ran(scene)


def _is_indexed(constraint: Constraint, scene: Scene, table: Table) -> bool:
    """Whether the columns, in any order, are the first ones of a whole index."""
    wanted = set(constraint.columns)
    there = [index.columns for index in table.indexes if index.valid and not index.partial]
    mine = scene.statement
    later = (s for s in scene.revision.statements if s.number >= mine.number)
    coming = [
        operation.columns
        for statement in later
        for operation in operations(statement)
        if isinstance(operation, CreateIndex)
        and not operation.is_partial
        and statement.names.get(str(operation.table)) == table.relation.oid
    ]
    return any(set(columns[: len(wanted)]) == wanted for columns in (*there, *coming)) or _makes_key(
        scene, table, wanted
    )


def _makes_key(scene: Scene, table: Table, columns: set[str]) -> bool:
    """Whether the statement itself puts a primary or unique key on the columns."""
    for operation in operations(scene.statement):
        constraints: tuple[Constraint, ...] = ()
        if isinstance(operation, AddConstraint) and scene.table(operation.table) is table:
            constraints = (operation.constraint,)
        elif isinstance(operation, AddColumn) and scene.table(operation.table) is table:
            constraints = operation.column.constraints
        for each in constraints:
            if each.kind in {"primary key", "unique"} and set(each.columns[: len(columns)]) == columns:
                return True
    return False


def referenced_columns(constraint: Constraint, parent: Table) -> tuple[str, ...]:
    """The parent's columns: its primary key's, if none are named."""
    if constraint.referenced_columns:
        return constraint.referenced_columns
    return next((index.columns for index in parent.indexes if index.primary), ())


def _type(scene: Scene, table: Table, column: str) -> Type | None:
    if column in table.columns:
        return catalog_type(table.columns[column].type)
    return new_type(scene, table, column)


def are_alike(one: Type, other: Type) -> bool:
    """Whether the operators that compare them need no cast."""
    return one.name == other.name or any({one.name, other.name} <= alike for alike in _ALIKE)


def _hit(
    constraint: Constraint,
    scene: Scene,
    table: Table,
    *,
    level: Level | None = None,
    with_parent: bool = True,
) -> Hit:
    parent = scene.table(constraint.references) if constraint.references else None
    tables = [table.relation.shown]
    if parent and with_parent and parent.relation.shown != table.relation.shown:
        tables.append(parent.relation.shown)
    return Hit(tuple(tables), _names(constraint, scene, table, parent), level=level)


def _with_column(found: Hit, column: Column | None) -> Hit:
    """The hit with the column's default and NOT NULL in its fix, where the key is of one column."""
    if column is None or found.names["columns"] != listed([column.name]):
        return found
    found = replace(found, names={**found.names, **default_of(column)})
    return replace(found, fix=fill(whole(column, recipes.CREATE_INDEX, *recipes.FOREIGN_KEY), found))


def _widened(constraint: Constraint, column: str, parent_type: str, table: Table) -> dict[str, str]:
    new = [f"{each}_new" if each == column else each for each in constraint.columns]
    return {
        "new_columns": listed(new),
        "index": free_name(table, f"{table.relation.name}_{'_'.join(new)}_idx"),
        "column": column,
        "parent_type": parent_type,
        "value": f"CAST({quote_if_needed(column)} AS {parent_type})",
    }


def _names(constraint: Constraint, scene: Scene, table: Table, parent: Table | None) -> dict[str, str]:
    columns = "_".join(constraint.columns)
    type_ = _type(scene, table, constraint.columns[0]) if constraint.columns else None
    referenced = referenced_columns(constraint, parent) if parent else constraint.referenced_columns
    return named(
        table,
        columns=listed(constraint.columns),
        column=constraint.columns[0] if constraint.columns else "",
        type=type_.name if type_ else "bigint",
        constraint=constraint.name or f"{table.relation.name}_{columns}_fkey",
        index=free_name(table, f"{table.relation.name}_{columns}_idx"),
        parent=str(constraint.references),
        parent_columns=listed(referenced),
        options=_options(scene.statement.sql),
    )


def _options(sql: str) -> str:
    """What stands behind the key that is referred to: ON DELETE …, DEFERRABLE …; nothing where it isn't clear."""
    found = _REFERENCES.findall(sql)
    return found[0].rstrip() if len(found) == 1 else ""
