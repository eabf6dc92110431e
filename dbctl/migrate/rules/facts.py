"""What several rules ask of a statement: which operations it has, what its transaction holds, how many rows it means."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from dbctl.migrate.rules.registry import Scene
from dbctl.migrate.trace.model import Statement
from dbctl.postgres.catalog.model import Relation, Table
from dbctl.postgres.identifiers import quote_if_needed
from dbctl.postgres.lock_modes import LockMode
from dbctl.postgres.sql.alike import is_key_of
from dbctl.postgres.sql.operations import (
    AddColumn,
    Call,
    CreateEnum,
    DoBlock,
    Drop,
    Filter,
    Name,
    Operation,
    Other,
    Select,
)

_STORED = {"table", "partitioned table", "materialized view", "foreign table"}
_OPAQUE = (DoBlock, Call, Select)


def operations(statement: Statement) -> Iterator[Operation]:
    """All that it does, what ran inside it included."""
    yield from statement.operations
    for hidden in statement.hidden:
        yield from hidden.operations


def sql_of(operation: Operation, scene: Scene) -> str:
    """The text of the statement that does it: of the inner one, where it ran inside another."""
    inner = scene.statement.hidden if scene.hidden else ()
    return next(
        (each.sql for each in inner if any(one is operation for one in each.operations)), scene.statement.sql
    )


def is_opaque(statement: Statement) -> bool:
    """Whether its text does not tell what it does: DO, CALL, a function in a SELECT, syntax not known."""
    return all(isinstance(operation, _OPAQUE) for operation in statement.operations)


def stored(relation: Relation) -> bool:
    """Whether it holds rows of its own, or its partitions do: no view, index or sequence."""
    return relation.kind in _STORED


def emptied(statement: Statement) -> tuple[Relation, ...]:
    """The tables that a TRUNCATE inside an opaque statement emptied.

    Event triggers see none, and it gives a table a new file for no reason that a rewrite has, with no row in it;
    CLUSTER, which they do not see either, reads the rows.
    """
    if not statement.operations or not is_opaque(statement) or "cluster" in statement.sql.lower():
        return ()
    read = {scan.relation.oid for scan in statement.scanned if scan.rows}
    return tuple(
        relation
        for relation in statement.rewritten
        if relation.kind == "table"
        and relation.oid not in statement.rewrite_reasons
        and relation.oid not in read
    )


def by_identity(statement: Statement) -> dict[str, Relation]:
    """What it locks, by the name that an event trigger gives to an object: schema and all, quoted where it must be."""
    locked = (lock.relation for lock in statement.locks)
    return {f"{quote_if_needed(each.schema)}.{quote_if_needed(each.name)}": each for each in locked}


def found(scene: Scene, names: Iterable[Name]) -> tuple[Table, ...]:
    """Those of the names that were there before the revision."""
    tables = (scene.table(name) for name in names)
    return tuple(table for table in tables if table is not None)


def shown(tables: Iterable[Table]) -> tuple[str, ...]:
    """The names of tables, as people write them."""
    return tuple(dict.fromkeys(table.relation.shown for table in tables))


def named(table: Table, **names: str) -> dict[str, str]:
    """The names that a safe way is filled with: the table, and what else is given."""
    return {"table": table.relation.shown, "schema": table.relation.schema, **names}


def column_is_new(scene: Scene, table: Table, column: str) -> bool:
    """Whether an earlier statement of the revision added the column."""
    return any(
        isinstance(operation, AddColumn)
        and operation.column.name == column
        and statement.names.get(str(operation.table)) == table.relation.oid
        for statement in scene.earlier
        for operation in operations(statement)
    )


def index_is_new(scene: Scene, table: Table, index: str) -> bool:
    """Whether an earlier statement of the revision made the index."""
    return any(
        built.is_index and built.name == index and built.table == table.relation.shown
        for statement in scene.earlier
        for built in statement.built
    )


def type_is_new(scene: Scene, name: Name) -> bool:
    """Whether an earlier statement of the revision made the enum type."""
    return any(
        isinstance(operation, CreateEnum) and operation.type.name == name.name
        for statement in scene.earlier
        for operation in operations(statement)
    )


def schema_is_new(scene: Scene, name: str) -> bool:
    """Whether an earlier statement of the revision made the schema."""
    return any(
        isinstance(operation, Other)
        and operation.kind == "CreateSchemaStmt"
        and re.search(rf'(?<![\w"]){re.escape(name)}(?!\w)|"{re.escape(name)}"', statement.sql) is not None
        for statement in scene.earlier
        for operation in operations(statement)
    )


def dropped_earlier(scene: Scene, kind: str, name: str) -> bool:
    """Whether an earlier statement of the revision drops what has this name."""
    return any(
        isinstance(operation, Drop)
        and operation.kind == kind
        and any(n.name == name for n in operation.names)
        for statement in scene.earlier
        for operation in operations(statement)
    )


def unique_keys(table: Table) -> Iterator[frozenset[str]]:
    """The sets of columns that tell the rows apart."""
    for index in table.indexes:
        if index.unique and index.valid and not index.partial and "" not in index.columns:
            yield frozenset(index.columns)


def is_held_up(scene: Scene) -> bool:
    """Whether the server does not even begin: rows changed before wait for their deferred checks."""
    failure = scene.statement.failure
    return failure is not None and failure.sqlstate == "55006" and "pending trigger events" in failure.message


def is_bounded(filter_: Filter, table: Table) -> bool:
    """Whether a WHERE means a number of rows that does not grow with the table."""
    if filter_.limited:
        return True
    fixed = set(filter_.equals)
    for key in unique_keys(table):
        if key <= fixed:
            return True
        # (tenant, id) with tenant = 1 and id between 1 and 1000.
        if key <= fixed | set(filter_.bounded):
            return True
    return bool(filter_.equal_nodes) and any(
        is_key_of(index.definition, fixed, filter_.equal_nodes)
        for index in table.indexes
        if index.unique and index.valid and not index.partial and "" in index.columns
    )


def newly(statement: Statement, mode: LockMode) -> tuple[Relation, ...]:
    """The tables on which it newly takes the mode or a stronger one."""
    return tuple(
        lock.relation
        for lock in statement.locks
        if lock.mode >= mode
        and stored(lock.relation)
        and lock.relation.oid not in {oid for oid, held in statement.held.items() if held >= mode}
    )
