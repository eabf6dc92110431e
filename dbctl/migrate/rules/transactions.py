"""What the statements of one transaction do together: locks that add up, and events that are still pending."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from dbctl.migrate.rules.facts import column_is_new, is_held_up, operations, stored
from dbctl.migrate.rules.model import Hazard, Level
from dbctl.migrate.rules.registry import Hit, Scene, hazard, revision_rule, statement_rule
from dbctl.migrate.trace.model import RevisionTrace, Statement
from dbctl.postgres.catalog.model import Relation, Table
from dbctl.postgres.lock_modes import LockMode
from dbctl.postgres.sql.operations import (
    AddColumn,
    AddConstraint,
    AddEnumValue,
    CreateIndex,
    CreateMaterializedView,
    CreateTable,
    Delete,
    Drop,
    Insert,
    LockTable,
    Merge,
    Name,
    Operation,
    RefreshMaterializedView,
    Reindex,
    Select,
    SetConstraints,
    TableOperation,
    Truncate,
    Update,
    ValidateConstraint,
)

_DATA = (Insert, Update, Delete, Merge, Select)
# They lock their table with less than AccessExclusiveLock: under one that is held they do more harm than alone.
_MILD = (CreateIndex, Reindex, RefreshMaterializedView)

# Each in a transaction of its own; what else is to be said of them, their own findings say.
_APART = ('op.execute("""{first}""")', 'op.execute("""{second}""")')

MULTI_TABLE_LOCKS = hazard(
    Hazard(
        id="multi-table-locks",
        level=Level.CAUTION,
        effect="blocking",
        why=(
            "The transaction locks several tables one after the other: it can deadlock with the application, "
            "and while it waits for one it blocks the others."
        ),
        safe=_APART,
        lock=LockMode.ACCESS_EXCLUSIVE,
    )
)
DDL_UNDER_EXCLUSIVE = hazard(
    Hazard(
        id="ddl-under-exclusive",
        level=Level.DANGER,
        effect="blocking",
        why="It reads or writes a whole table while an earlier statement's AccessExclusiveLock keeps everybody out.",
        safe=_APART,
        lock=LockMode.ACCESS_EXCLUSIVE,
    )
)
PENDING_TRIGGER_EVENTS = hazard(
    Hazard(
        id="pending-trigger-events",
        level=Level.DANGER,
        effect="failing",
        why="Rows changed in this transaction wait for a deferred constraint's check: ALTER TABLE fails with 55006.",
        safe=(
            (
                'op.execute("SET CONSTRAINTS ALL IMMEDIATE")\n'
                "# Checked at once from here on, so nothing is pending when the table is altered.\n"
                'op.execute("ALTER TABLE {table} ADD COLUMN {column} integer")'
            ),
        ),
    )
)
ENUM_ADD_VALUE_TXN = hazard(
    Hazard(
        id="enum-add-value-txn",
        level=Level.DANGER,
        effect="failing",
        why="A value added to an enum can't be used in the transaction that adds it: it fails with 55P04.",
        safe=(
            (
                "with op.get_context().autocommit_block():\n"
                "    op.execute(\"ALTER TYPE {type} ADD VALUE IF NOT EXISTS '{value}'\")"
            ),
        ),
        versions="13-18 (from 17 not for a type made in the same transaction)",
    )
)


_ONE_BY_ONE = "# Name one table a statement, and give each statement a revision of its own."


@revision_rule(MULTI_TABLE_LOCKS)
def multi_table_locks(revision: RevisionTrace) -> Iterator[tuple[Statement, Hit]]:
    """Locks that writes wait for, on two tables that were there, taken by different statements."""
    roots = _roots(revision)
    transaction, locked = -1, dict[str, Statement]()
    told: set[int] = set()
    for statement in revision.statements:
        if statement.transaction != transaction:
            transaction, locked = statement.transaction, {}
        new = [
            root
            for lock in statement.locks
            if lock.mode.blocks_writes and stored(lock.relation)
            if (root := roots.get(lock.relation.shown, lock.relation.shown)) not in locked
        ]
        if not locked and transaction not in told and _names_several(statement, new):
            told.add(transaction)
            yield statement, Hit(tuple(new), of_transaction=True, fix=_ONE_BY_ONE)
        elif locked and new and transaction not in told and not _completes(statement, revision):
            told.add(transaction)
            yield statement, _together(statement, [*locked, *new], next(reversed(locked.values())))
        locked.update(dict.fromkeys(new, statement))


def _completes(statement: Statement, revision: RevisionTrace) -> bool:
    """Whether it is the foreign key of a column added before: the second half of Alembic's ADD COLUMN."""
    added = {
        (str(operation.table), operation.column.name)
        for earlier in revision.statements[: statement.number - 1]
        for operation in operations(earlier)
        if isinstance(operation, AddColumn)
    }
    return bool(statement.operations) and all(
        isinstance(operation, AddConstraint)
        and operation.constraint.kind == "foreign key"
        and added.issuperset((str(operation.table), column) for column in operation.constraint.columns)
        for operation in statement.operations
    )


def _names_several(statement: Statement, new: Iterable[str]) -> bool:
    """Whether it locks, empties or takes the indexes of several tables that could go one by one."""
    return len(tuple(new)) > 1 and any(len(_listed(operation)) > 1 for operation in statement.operations)


def _listed(operation: Operation) -> tuple[Name, ...]:
    match operation:
        case LockTable(tables=names):
            return names
        case Truncate(tables=names, cascade=False):
            return names
        case Drop(kind="index", names=names):
            return names
        case _:
            return ()


def _together(statement: Statement, tables: Iterable[str], earlier: Statement) -> Hit:
    names = {"first": earlier.sql, "second": statement.sql}
    return Hit(tuple(dict.fromkeys(tables)), names, of_transaction=True)


@statement_rule(DDL_UNDER_EXCLUSIVE)
def ddl_under_exclusive(scene: Scene) -> Iterator[Hit]:
    """A rewrite, an index build or a full read after AccessExclusiveLock in the same transaction."""
    statement = scene.statement
    worked = _worked(statement)
    if not worked or all(
        isinstance(operation, (*_DATA, Truncate, Drop)) for operation in statement.operations
    ):
        return
    held = {
        lock.relation.shown: earlier
        for earlier in scene.same_transaction
        for lock in earlier.locks
        if lock.mode is LockMode.ACCESS_EXCLUSIVE and stored(lock.relation)
    }
    own = _own(worked, scene)
    waiting = [name for name in held if name not in own]
    if waiting:
        names = {"first": held[waiting[0]].sql, "second": statement.sql}
        why = f"{', '.join(waiting)} stays locked for as long as it takes."
        yield Hit(tuple(dict.fromkeys((*worked, *waiting))), names, why, of_transaction=True)


@statement_rule(PENDING_TRIGGER_EVENTS)
def pending_trigger_events(scene: Scene) -> Iterator[Hit]:
    """55006 from the server; or a change of rows whose deferred checks are pending when the table is altered."""
    if scene.statement.failure is not None:
        if is_held_up(scene):
            tables = tuple(table.relation.shown for table in scene.statement.before.values())[:1]
            yield Hit(tables, {"column": "added"})
        return
    if scene.statement.mode == "autocommit":
        return
    for name in _altered(scene.statement):
        table = scene.table(name)
        if table is not None and _can_defer(table) and _has_pending(table, scene):
            yield Hit((table.relation.shown,), {"column": "added"})


@statement_rule(ENUM_ADD_VALUE_TXN)
def enum_add_value_txn(scene: Scene) -> Iterator[Hit]:
    """55P04 from the server."""
    failure = scene.statement.failure
    if failure is None or failure.sqlstate != "55P04":
        return
    added = [o for s in scene.same_transaction for o in operations(s) if isinstance(o, AddEnumValue)]
    yield Hit(names={"type": str(added[-1].type), "value": added[-1].value} if added else {})


def _roots(revision: RevisionTrace) -> dict[str, str]:
    """The partitioned table that a partition belongs to, as far as the trace read it."""
    roots: dict[str, str] = {}
    for statement in revision.statements:
        for table in statement.before.values():
            roots.update(dict.fromkeys(table.partitions, table.relation.shown))
            if table.partition_of:
                roots[table.relation.shown] = table.partition_of
    return roots


def _worked(statement: Statement) -> tuple[str, ...]:
    """The tables that it rewrites, indexes or reads in full."""
    relations: list[Relation] = [*statement.rewritten, *(scan.relation for scan in statement.scanned)]
    names = [relation.shown for relation in relations if stored(relation)]
    names += [index.table for index in (*statement.built, *statement.rebuilt) if index.table]
    return tuple(dict.fromkeys(names))


def _own(worked: tuple[str, ...], scene: Scene) -> set[str]:
    """The tables that it locks with AccessExclusiveLock itself, or whose narrower hazard says all."""
    own: set[str] = set()
    done = tuple(operations(scene.statement))
    for operation in done:
        if isinstance(operation, AddConstraint) and operation.constraint.kind == "foreign key":
            own |= _added_with_column(operation, scene)
        elif isinstance(operation, ValidateConstraint):
            own |= _added_and_validated(operation, scene)
        elif not isinstance(operation, _MILD) and not _copies(operation):
            own |= set(worked)
    for table in scene.statement.before.values():
        family = {table.relation.shown, *table.partitions} | ({table.partition_of} - {""})
        if family & own:
            own |= family
    return own


def _copies(operation: Operation) -> bool:
    """Whether it only reads what was there, into a table of its own."""
    return isinstance(operation, CreateMaterializedView) or (
        isinstance(operation, CreateTable) and operation.as_query
    )


def _added_with_column(operation: AddConstraint, scene: Scene) -> set[str]:
    """The table of a foreign key over a column that the revision adds: add-col-fk says it."""
    table = scene.table(operation.table)
    new = table and all(column_is_new(scene, table, column) for column in operation.constraint.columns)
    return {table.relation.shown} if table and new else set()


def _added_and_validated(operation: ValidateConstraint, scene: Scene) -> set[str]:
    """The tables of a constraint that the same transaction added: validate-same-txn says it."""
    table = scene.table(operation.table)
    if table is None:
        return set()
    here = any(
        isinstance(other, AddConstraint)
        and other.constraint.name == operation.name
        and earlier.names.get(str(other.table)) == table.relation.oid
        for earlier in scene.same_transaction
        for other in operations(earlier)
    )
    constraint = table.constraint(operation.name)
    parent = {constraint.references} if constraint and constraint.references else set()
    return {table.relation.shown, *parent} if here else set()


def _altered(statement: Statement) -> Iterator[Name]:
    """The tables that it alters, empties or drops."""
    for operation in operations(statement):
        if isinstance(operation, TableOperation):
            yield operation.table
        elif isinstance(operation, Truncate):
            yield from operation.tables
        elif isinstance(operation, Drop) and operation.kind == "table":
            yield from operation.names


def _can_defer(table: Table) -> bool:
    return any(constraint.initially_deferred for constraint in (*table.constraints, *table.references_to_it))


def _has_pending(table: Table, scene: Scene) -> bool:
    """Whether earlier statements of the transaction leave checks of deferred constraints for its end.

    One that changed rows on scratch is left out: this statement passed after it, so nothing was pending.
    """
    pending = False
    for earlier in scene.same_transaction:
        seen = any(each.relation.oid == table.relation.oid for each in earlier.written)
        for operation in operations(earlier):
            if isinstance(operation, SetConstraints) and not operation.deferred:
                pending = False
            elif isinstance(operation, Insert | Update | Delete | Merge) and not seen:
                is_ours = earlier.names.get(str(operation.table)) == table.relation.oid
                pending = pending or (is_ours and _defers(operation, table))
    return pending


def _defers(operation: Insert | Update | Delete | Merge, table: Table) -> bool:
    """Whether a deferred constraint has to be checked after the change."""
    own = {column for c in table.constraints if c.initially_deferred for column in c.columns}
    others = {
        column for c in table.references_to_it if c.initially_deferred for column in c.referenced_columns
    }
    match operation:
        case Insert():
            return bool(own)
        case Update(columns=columns):
            return bool((own | others) & set(columns))
        case Delete():
            return bool(others)
        case _:
            return bool(own | others)
