"""Keys by which logical replication finds a row: without one, UPDATE and DELETE fail or cost too much."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from dbctl.migrate.rules import recipes
from dbctl.migrate.rules.altered import ran
from dbctl.migrate.rules.created import with_key
from dbctl.migrate.rules.facts import found, named, operations, shown, sql_of
from dbctl.migrate.rules.fixes import fill, listed, numbered
from dbctl.migrate.rules.model import Hazard, Level
from dbctl.migrate.rules.new_columns import ADD_PRIMARY_KEY_COLUMN
from dbctl.migrate.rules.python_text import execute
from dbctl.migrate.rules.registry import Hit, Scene, hazard, rule
from dbctl.postgres.catalog.model import Index, Table
from dbctl.postgres.lock_modes import LockMode
from dbctl.postgres.sql.operations import (
    AddColumn,
    AddConstraint,
    ChangePublication,
    CreateTable,
    Drop,
    DropColumn,
    DropConstraint,
    SetReplicaIdentity,
)

_ALL = "*"

DROP_PK = hazard(
    Hazard(
        id="drop-pk",
        level=Level.CAUTION,
        effect="replication",
        why=(
            "Without a primary key rows can come twice, ON CONFLICT over it fails, and under a publication UPDATE "
            "and DELETE fail with 55000."
        ),
        safe=(
            recipes.UNIQUE_INDEX,
            (
                "# dbctl: accept drop-pk because {index} takes its place in the same transaction\n"
                'op.execute("ALTER TABLE {table} REPLICA IDENTITY USING INDEX {index}")\n'
                'op.execute("ALTER TABLE {table} DROP CONSTRAINT {constraint}")'
            ),
        ),
        lock=LockMode.ACCESS_EXCLUSIVE,
    )
)
REPLICA_IDENTITY = hazard(
    Hazard(
        id="replica-identity",
        level=Level.CAUTION,
        effect="replication",
        why=(
            "With FULL each UPDATE and DELETE writes the whole old row into WAL and subscribers search for it by "
            "all its columns; with NOTHING, or without the index, both fail with 55000 under a publication."
        ),
        safe=(
            'op.execute("ALTER TABLE {table} REPLICA IDENTITY DEFAULT")  # the primary key, if there is one',
        ),
        lock=LockMode.ACCESS_EXCLUSIVE,
    )
)
TABLE_WITHOUT_PK = hazard(
    Hazard(
        id="table-without-pk",
        level=Level.DANGER,
        effect="replication",
        why="The table has no primary key and is published: each UPDATE and DELETE on it fails with 55000.",
        safe=(
            'op.create_table("{new_table}", sa.Column("id", sa.BigInteger, sa.Identity(), primary_key=True))',
        ),
    )
)


@rule(DROP_PK, DropConstraint)
def drop_pk(operation: DropConstraint, scene: Scene) -> Iterator[Hit]:
    """DROP CONSTRAINT of a primary key that no other one replaces in the same transaction."""
    table = scene.table(operation.table)
    constraint = table.constraint(operation.name) if table else None
    if table is None or constraint is None or constraint.kind != "primary key":
        return
    if not ran(scene) or _gets_key(scene, table):
        return
    level = Level.DANGER if table.publications and table.replica_identity == "default" else None
    names = named(
        table,
        constraint=operation.name,
        index=f"{table.relation.name}_identity",
        columns=listed(constraint.columns),
    )
    yield Hit((table.relation.shown,), names, _published(table), level)


@rule(REPLICA_IDENTITY, SetReplicaIdentity)
def replica_identity(operation: SetReplicaIdentity, scene: Scene) -> Iterator[Hit]:
    """REPLICA IDENTITY FULL or NOTHING, or DEFAULT where there is no primary key."""
    table = scene.table(operation.table)
    if table is None or operation.identity in {"index", table.replica_identity}:
        return
    if operation.identity == "default" and any(index.primary for index in table.indexes):
        return
    level = Level.DANGER if table.publications and operation.identity != "full" else None
    yield Hit((table.relation.shown,), named(table), _published(table), level)


@rule(REPLICA_IDENTITY, Drop, DropConstraint, DropColumn)
def drop_identity(operation: Drop | DropConstraint | DropColumn, scene: Scene) -> Iterator[Hit]:
    """The index that is a table's replica identity goes."""
    for table, index in _lost(operation, scene):
        if index.replica_identity and ran(scene):
            level = Level.DANGER if table.publications else None
            why = f"{index.name} is the replica identity of {table.relation.shown}. {_published(table)}"
            yield Hit((table.relation.shown,), named(table, index=index.name), why.strip(), level)


@rule(TABLE_WITHOUT_PK, CreateTable)
def new_table_without_pk(operation: CreateTable, scene: Scene) -> Iterator[Hit]:
    """A new table without a key where a publication takes all tables in."""
    name = operation.table
    schema = name.schema or "public"
    publishes = scene.revision.publishing.get(_ALL) or scene.revision.publishing.get(schema)
    if not publishes or name.temporary or operation.unlogged or scene.table(name) is not None:
        return
    if operation.partition_of or operation.like or operation.inherits or _declares_key(operation):
        return
    if not _gets_key_later(operation, scene):
        shown_name = str(name).removeprefix("public.")
        fix = with_key(sql_of(operation, scene))
        yield Hit((shown_name,), {"new_table": name.name}, f"Publication {publishes} takes it in.", fix=fix)


@rule(TABLE_WITHOUT_PK, ChangePublication)
def published_without_pk(operation: ChangePublication, scene: Scene) -> Iterator[Hit]:
    """Tables without a key that a publication takes in, all there are with FOR ALL TABLES."""
    tables = found(scene, operation.tables)
    keyless = [table.relation.shown for table in tables if _is_keyless(table)]
    if operation.all_tables:
        schemas = operation.schemas
        keyless += [name for name in scene.revision.keyless if not schemas or _schema(name) in schemas]
    if keyless:
        known = next((table for table in tables if _is_keyless(table)), None)
        fix = _identified(known, scene) if known else ""
        yield Hit(tuple(dict.fromkeys(keyless)), {"new_table": f"{keyless[0]}_new"}, fix=fix)


def _identified(table: Table, scene: Scene) -> str:
    """The table with a key by which its rows are found, before it is published: one that it has, or a new one."""
    column = "id" if "id" not in table.columns else "row_id"
    names = named(table, column=column, sequence=f"{table.relation.name}_{column}_seq")
    names |= {"index": f"{table.relation.name}_pkey", "columns": column}
    given = Hit(shown([table]), names)
    unique = next((index for index in table.indexes if _tells_apart(index, table)), None)
    if unique:
        way = ('op.execute("ALTER TABLE {table} REPLICA IDENTITY USING INDEX {index}")',)
        first = fill(way, replace(given, names={**names, "index": unique.name}))
        return numbered([first, execute(scene.statement.sql)])
    bodies = [fill((body,), given) for body in ADD_PRIMARY_KEY_COLUMN.safe]
    return numbered([*bodies, execute(scene.statement.sql)])


def _tells_apart(index: Index, table: Table) -> bool:
    """Whether it may be the replica identity: unique, whole, checked at once, over columns without NULL."""
    deferrable = {constraint.index for constraint in table.constraints if constraint.deferrable}
    whole = index.unique and index.valid and not index.partial and "" not in index.columns
    return (
        whole and index.name not in deferrable and all(table.columns[name].not_null for name in index.columns)
    )


def _lost(operation: Drop | DropConstraint | DropColumn, scene: Scene) -> Iterator[tuple[Table, Index]]:
    """The indexes that a drop takes, and their tables."""
    if isinstance(operation, Drop):
        if operation.kind == "index":
            places = (scene.index(name) for name in operation.names)
            yield from (place for place in places if place is not None)
        return
    table = scene.table(operation.table)
    if table is None:
        return
    if isinstance(operation, DropColumn):
        yield from ((table, index) for index in table.indexes if operation.column in index.columns)
        return
    constraint = table.constraint(operation.name)
    index = table.index(constraint.index) if constraint else None
    if constraint and index and constraint.kind in {"unique", "primary key"}:
        yield table, index


def _gets_key(scene: Scene, table: Table) -> bool:
    """Whether the statement, or one after it in its transaction, makes another primary key."""
    return any(
        isinstance(operation, AddConstraint)
        and operation.constraint.kind == "primary key"
        and statement.names.get(str(operation.table)) == table.relation.oid
        for statement in (scene.statement, *scene.later_in_transaction)
        for operation in operations(statement)
    )


def _is_keyless(table: Table) -> bool:
    has_key = any(index.primary or index.replica_identity for index in table.indexes)
    return not has_key and table.replica_identity != "full" and table.relation.kind == "table"


def _schema(shown_name: str) -> str:
    schema, dot, _ = shown_name.partition(".")
    return schema if dot else "public"


def _declares_key(operation: CreateTable) -> bool:
    own = (constraint for column in operation.columns for constraint in column.constraints)
    return any(constraint.kind == "primary key" for constraint in (*own, *operation.constraints))


def _gets_key_later(made: CreateTable, scene: Scene) -> bool:
    """Whether the revision gives the new table a key, or another replica identity, after all."""
    later = (s for s in scene.revision.statements if s.number > scene.statement.number)
    return any(
        (
            isinstance(operation, SetReplicaIdentity)
            or (isinstance(operation, AddConstraint) and operation.constraint.kind == "primary key")
            or (
                isinstance(operation, AddColumn)
                and any(constraint.kind == "primary key" for constraint in operation.column.constraints)
            )
        )
        and operation.table.name == made.table.name
        for statement in later
        for operation in operations(statement)
    )


def _published(table: Table) -> str:
    return f"Published by {', '.join(table.publications)}." if table.publications else ""
