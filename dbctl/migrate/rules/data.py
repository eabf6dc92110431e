"""Changes of rows: of a whole table at once, or under the locks of a schema change."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

from dbctl.migrate.rules.batches import in_batches, merge_in_parts
from dbctl.migrate.rules.facts import found, is_bounded, named, operations, shown, sql_of, stored
from dbctl.migrate.rules.fixes import qualified
from dbctl.migrate.rules.model import Hazard, Level
from dbctl.migrate.rules.registry import Hit, Scene, hazard, revision_rule, rule, statement_rule
from dbctl.migrate.trace.model import RevisionTrace, Statement
from dbctl.postgres.catalog.model import Table
from dbctl.postgres.identifiers import quote_if_needed
from dbctl.postgres.lock_modes import LockMode
from dbctl.postgres.sql.operations import (
    Delete,
    Filter,
    Insert,
    LockTable,
    Merge,
    Select,
    Update,
)

Change = Update | Delete | Insert | Merge

_LOCK_ALONE = "# What takes the lock stands in a revision of its own."
_BATCHES = (
    "with op.get_context().autocommit_block():\n"
    "    while op.get_bind().execute(sa.text(\n"
    '        "{change} WHERE {key} IN (SELECT {key} FROM {table} WHERE {left} LIMIT 1000)"\n'
    "    )).rowcount:\n"
    "        pass"
)

DML_UNBATCHED = hazard(
    Hazard(
        id="dml-unbatched",
        level=Level.DANGER,
        effect="blocking",
        why=(
            "One statement for all rows of a table: it holds every row's lock until the commit, bloats the "
            "table and lets replicas lag."
        ),
        safe=(_BATCHES,),
        lock=LockMode.ROW_EXCLUSIVE,
    )
)
DML_UNDER_DDL_LOCK = hazard(
    Hazard(
        id="dml-under-ddl-lock",
        level=Level.DANGER,
        effect="blocking",
        why="It works on many rows while an earlier statement's lock keeps everybody out until the commit.",
        safe=(_LOCK_ALONE, _BATCHES),
        lock=LockMode.ACCESS_EXCLUSIVE,
    )
)
EXPLICIT_LOCK = hazard(
    Hazard(
        id="explicit-lock",
        level=Level.CAUTION,
        effect="blocking",
        why="The lock stays until the revision is committed, whatever it was taken for.",
        safe=(
            (
                "# To keep two runs apart lock a number, not a table; to change rows lock those rows.\n"
                'op.execute("SELECT pg_advisory_xact_lock(4711)")'
            ),
        ),
        lock=LockMode.ACCESS_EXCLUSIVE,
    )
)


@rule(DML_UNBATCHED, Update, Delete, Insert, Merge)
def dml_unbatched(operation: Change, scene: Scene) -> Iterator[Hit]:
    """A change whose rows grow with a table that was there."""
    table = _grows_with(operation, scene)
    if table is not None:
        yield Hit(
            shown([table]),
            _names(operation, table),
            level=_level(operation, table, scene),
            fix=_fix(operation, table, scene),
        )


@revision_rule(DML_UNBATCHED)
def row_by_row(revision: RevisionTrace) -> Iterator[tuple[Statement, Hit]]:
    """A Python loop over a table's rows that changes each of them, in one transaction."""
    rows: dict[tuple[int, int], int] = {}
    changed: dict[tuple[int, int], int] = defaultdict(int)
    told: set[tuple[int, int]] = set()
    for statement in revision.statements:
        if statement.mode == "autocommit":
            continue
        for scan in statement.scanned:
            rows[statement.transaction, scan.relation.oid] = scan.rows
        for each in statement.written:
            key = (statement.transaction, each.relation.oid)
            changed[key] += each.updated + each.deleted
            alone = statement.executions > 1 or changed[key] > each.updated + each.deleted
            if key not in told and alone and changed[key] >= max(rows.get(key, 0), 2) and key in rows:
                told.add(key)
                table = each.relation.shown
                yield (
                    statement,
                    Hit((table,), {"table": table}, f"A loop changes the rows of {table} one by one."),
                )


@statement_rule(DML_UNDER_DDL_LOCK)
def dml_under_ddl_lock(scene: Scene) -> Iterator[Hit]:
    """A change or a query of many rows after AccessExclusiveLock in the same transaction."""
    if LockMode.ACCESS_EXCLUSIVE not in scene.statement.held.values():
        return
    for operation in operations(scene.statement):
        if isinstance(operation, Change):
            table, level = _grows_with(operation, scene), None
            names = _names(operation, table) if table else {}
            body = _fix(operation, table, scene) if table else ""
        elif isinstance(operation, Select):
            table, level = (
                next((t for t in found(scene, operation.tables) if scene.scans(t)), None),
                Level.CAUTION,
            )
            names, body = named(table) if table else {}, ""
        else:
            continue
        held = _held_exclusively(scene) if table is not None else ()
        if table is not None and held:
            why = f"AccessExclusiveLock on {', '.join(held)} is held meanwhile."
            fix = f"# revision 1\n{_LOCK_ALONE}\n\n# revision 2\n{body}" if body else ""
            tables = tuple(dict.fromkeys((*shown([table]), *held)))
            yield Hit(tables, names, why, level, of_transaction=True, fix=fix)
            return


@rule(EXPLICIT_LOCK, LockTable)
def lock_table(operation: LockTable, scene: Scene) -> Iterator[Hit]:
    """LOCK TABLE in a mode that writes wait for, of tables that were there."""
    tables = found(scene, operation.tables)
    if operation.mode.blocks_writes and tables:
        yield Hit(shown(tables), named(tables[0]))


@rule(EXPLICIT_LOCK, Select)
def lock_rows(operation: Select, scene: Scene) -> Iterator[Hit]:
    """SELECT … FOR UPDATE of as many rows as there are."""
    if operation.locks_rows:
        tables = [
            table for table in found(scene, operation.tables) if not is_bounded(operation.filter, table)
        ]
        if tables:
            yield Hit(shown(tables), named(tables[0]), "It locks every row that it finds.")


def _fix(operation: Change, table: Table, scene: Scene) -> str:
    if isinstance(operation, Merge):
        return merge_in_parts(sql_of(operation, scene))
    return in_batches(operation, table)


def _grows_with(operation: Change, scene: Scene) -> Table | None:
    """The table whose size decides how many rows a change touches; None if it is bounded or new."""
    match operation:
        case Insert():
            return _copied(operation, scene)
        case Merge():
            target = scene.table(operation.table)
            sources = [name for name in operation.tables_read if name != operation.table]
            return target if target and found(scene, sources) else None
        case _:
            table = scene.table(operation.table)
            if table is None or is_bounded(operation.filter, table):
                return None
            return table


def _copied(operation: Insert, scene: Scene) -> Table | None:
    """The table that an INSERT … SELECT reads in full; None for VALUES, LIMIT and what an index finds."""
    if operation.source != "select" or operation.limited:
        return None
    for table in found(scene, operation.tables_read):
        bounded = operation.filter is not None and is_bounded(operation.filter, table)
        read = scene.scans(table) or scene.statement.failure or not _is_by_value(operation.filter)
        if stored(table.relation) and not bounded and read:
            return table
    return None


def _level(operation: Change, table: Table, scene: Scene) -> Level | None:
    """Caution for rows that a WHERE picks by an index: there may be few.

    Scratch uses an index wherever it can, and no server does for LIKE '%x%' or <>: only = and a range count.
    """
    if isinstance(operation, Update | Delete) and _is_by_value(operation.filter):
        return None if scene.scans(table) else Level.CAUTION
    return None


def _is_by_value(filter_: Filter | None) -> bool:
    return filter_ is not None and bool(filter_.equals or filter_.ranged)


def _held_exclusively(scene: Scene) -> tuple[str, ...]:
    """The tables, there before the revision, that earlier statements of the transaction locked against reads."""
    return tuple(
        dict.fromkeys(
            lock.relation.shown
            for earlier in scene.same_transaction
            for lock in earlier.locks
            if lock.mode is LockMode.ACCESS_EXCLUSIVE and stored(lock.relation)
        )
    )


def _key(table: Table | None) -> str:
    indexes = table.indexes if table else ()
    return next((index.columns[0] for index in indexes if index.primary), "ctid")


def _names(operation: Change, table: Table) -> dict[str, str]:
    key, target = _key(table), qualified(operation.table)
    match operation:
        case Update(columns=(column, *_)):
            return named(
                table,
                key=key,
                change=f"{_words('UPDATE', target, 'SET', quote_if_needed(column))} = …",
                left=f"{quote_if_needed(column)} IS NULL",
            )
        case Delete():
            return named(table, key=key, change=_words("DELETE FROM", target), left="true")
        case _:
            change = _words("INSERT INTO", target, "SELECT * FROM", table.relation.shown)
            return named(table, key=key, change=change, left="…")


def _words(*words: str) -> str:
    return " ".join(words)
