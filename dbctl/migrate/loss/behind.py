"""The tables that a statement changes though it does not name them: behind a view, in a function, in a WITH."""

from __future__ import annotations

from collections.abc import Iterator

from dbctl.migrate.loss.model import Kind
from dbctl.migrate.loss.shape import Shape
from dbctl.migrate.trace.model import Statement
from dbctl.postgres.lock_modes import LockMode
from dbctl.postgres.sql import operations as do

_BOTH: tuple[Kind, ...] = ("deleted rows", "overwritten")
_THROUGH = (do.Update, do.Delete, do.Merge)
_MAY_CHANGE_MORE = (*_THROUGH, do.Insert, do.Select, do.Call)


def tables_behind(statement: Statement, start: Shape) -> Iterator[tuple[Kind, int]]:
    """What a statement may do to tables that it does not name, by the locks that it took to write there.

    PostgreSQL takes those before it looks for rows: there need not be any. What only got new rows is left out.
    """
    if not any(isinstance(one, _MAY_CHANGE_MORE) for one in statement.operations):
        return
    kinds = _kinds(statement)
    only_more = {one.relation.oid for one in statement.written if not (one.updated or one.deleted)}
    for lock in statement.locks:
        oid = lock.relation.oid
        if lock.mode is LockMode.ROW_EXCLUSIVE and oid in start and oid not in only_more:
            yield from ((kind, oid) for kind in kinds)


def writes_to(statement: Statement, start: Shape) -> bool:
    """Whether it took a lock to write to any table."""
    return any(one.relation.oid in start and one.mode >= LockMode.ROW_EXCLUSIVE for one in statement.locks)


def tables_held(statement: Statement, start: Shape) -> Iterator[tuple[Kind, int]]:
    """For a statement on a view: the tables that the transaction could write to already, so that no lock tells."""
    kinds = _kinds(statement)
    for oid, mode in statement.held.items():
        if oid in start and mode >= LockMode.ROW_EXCLUSIVE:
            yield from ((kind, oid) for kind in kinds)


def targets(statement: Statement) -> Iterator[tuple[str, int]]:
    """What a statement changes rows of by its words: names and oids, of tables and of views."""
    for operation in statement.operations:
        if isinstance(operation, (*_THROUGH, do.Insert)):
            oid = statement.names.get(str(operation.table))
            if oid is not None:
                yield str(operation.table), oid


def _kinds(statement: Statement) -> tuple[Kind, ...]:
    """What such a statement does to the rows of the table behind it."""
    through = {type(one) for one in statement.operations if isinstance(one, _THROUGH)}
    if through == {do.Delete}:
        return ("deleted rows",)
    if through == {do.Update}:
        return ("overwritten",)
    return _BOTH
