"""Changes of rows that no event trigger sees: inside DO blocks and functions."""

from __future__ import annotations

import re
from collections.abc import Iterator

from dbctl.migrate.rules.batches import by_place
from dbctl.migrate.rules.data import DML_UNBATCHED
from dbctl.migrate.rules.facts import is_opaque, stored
from dbctl.migrate.rules.registry import Hit, Scene, statement_rule
from dbctl.migrate.trace.model import Statement
from dbctl.postgres.catalog.model import Relation
from dbctl.postgres.lock_modes import LockMode
from dbctl.postgres.sql import SqlNotParsed, parse
from dbctl.postgres.sql.operations import Delete, DoBlock, Insert, Operation, Update

_COPIES = re.compile(r"\bINSERT\s+INTO\b[^;]*?\bSELECT\b[^;]*", re.IGNORECASE)
_CHANGES = re.compile(r"\b(?:UPDATE|DELETE|MERGE|EXECUTE|PERFORM|CALL|CONFLICT)\b", re.IGNORECASE)
_LOOP = re.compile(r"\bEND\s+LOOP\b", re.IGNORECASE)
_UPDATES = re.compile(r"\b(?:UPDATE|DELETE\s+FROM)\b[^;]*", re.IGNORECASE)
_CHANGE_OF = "UPDATE {} SET …"


@statement_rule(DML_UNBATCHED)
def hidden_dml(scene: Scene) -> Iterator[Hit]:
    """Rows changed inside a DO block or a function, of a table that was read in full for it.

    A procedure that commits its batches itself is none.
    """
    statement = scene.statement
    if not is_opaque(statement) or not statement.operations:
        return
    if statement.mode == "autocommit" and "commit" in statement.sql.lower():
        return
    full = {scan.relation.oid for scan in statement.scanned}
    if _LOOP.search(statement.sql):
        full |= {each.relation.oid for each in statement.written if each.updated + each.deleted > 1}
    changed = {each.relation.oid: each.relation for each in statement.written if each.updated or each.deleted}
    strongest = {lock.relation.oid: lock for lock in sorted(statement.locks, key=lambda lock: lock.mode)}
    for oid, lock in strongest.items():
        if lock.mode is LockMode.ROW_EXCLUSIVE and stored(lock.relation) and not _only_inserts(statement):
            changed.setdefault(oid, lock.relation)
    for oid, relation in changed.items():
        if oid in full:
            names = {"table": relation.shown, "key": "ctid", "change": _CHANGE_OF.format(relation.shown)}
            yield Hit(
                (relation.shown,),
                names | {"left": "…"},
                "It happens inside a DO block or a function: one transaction for all.",
                fix=_batches_of(statement.sql, relation),
            )


@statement_rule(DML_UNBATCHED)
def hidden_copy(scene: Scene) -> Iterator[Hit]:
    """INSERT … SELECT inside a DO block, of a table that was read in full for it: by its index alone, maybe."""
    statement = scene.statement
    if not is_opaque(statement):
        return
    scanned = {scan.relation.oid for scan in statement.scanned}
    for copy in _COPIES.findall(statement.sql):
        for insert in _copies(copy):
            read = {name.name for name in insert.tables_read}
            is_all = insert.filter is not None and insert.filter.all_rows
            for relation in dict.fromkeys(lock.relation for lock in statement.locks):
                if stored(relation) and relation.name in read and (is_all or relation.oid in scanned):
                    names = {"table": relation.shown}
                    yield Hit(
                        (relation.shown,), names, "It happens inside a DO block: one transaction for all."
                    )


def _batches_of(sql: str, relation: Relation) -> str:
    """The change as it stands in the block, in batches; empty where it is part of a loop, or can't be read alone."""
    if _LOOP.search(sql):
        return ""
    changes = (each for text in _UPDATES.findall(sql) for each in _alone(text))
    found = (
        each for each in changes if isinstance(each, Update | Delete) and each.table.name == relation.name
    )
    return next(filter(None, map(by_place, found)), "")


def _only_inserts(statement: Statement) -> bool:
    """Whether it is a DO block that has no other word for a change than INSERT."""
    is_block = all(isinstance(operation, DoBlock) for operation in statement.operations)
    return is_block and not _CHANGES.search(statement.sql)


def _copies(sql: str) -> tuple[Insert, ...]:
    """An INSERT … SELECT without a LIMIT; nothing where it can't be read alone."""
    return tuple(
        operation
        for operation in _alone(sql)
        if isinstance(operation, Insert) and operation.source == "select" and not operation.limited
    )


def _alone(sql: str) -> tuple[Operation, ...]:
    """What a statement out of a block does; nothing where it can't be read alone."""
    try:
        (parsed,) = parse(sql)
    except (SqlNotParsed, ValueError):
        return ()
    return parsed.operations
