"""What a traced downgrade takes away: by the catalog before and after it, and by the rows that it changes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from dbctl.migrate.loss.changes import Changes, Unseen
from dbctl.migrate.loss.model import Kind
from dbctl.migrate.loss.shape import ColumnShape, Shape, TableShape
from dbctl.migrate.trace.model import RevisionTrace, Statement
from dbctl.postgres.sql import operations as do

# No value of the first is without its equal in the second.
_WIDER: Mapping[str, frozenset[str]] = {
    "smallint": frozenset({"integer", "bigint", "numeric", "real", "double precision"}),
    "integer": frozenset({"bigint", "numeric", "double precision"}),
    "bigint": frozenset({"numeric"}),
    "real": frozenset({"double precision"}),
    "date": frozenset({"timestamp without time zone", "timestamp with time zone"}),
    "json": frozenset({"jsonb"}),
}


@dataclass(frozen=True, slots=True)
class Doomed:
    """A loss to be counted. ``table`` and ``column`` are as the target has them now.

    ``becomes`` is the type that the column would have, ``using`` the expression of the change, empty where it
    has none. ``rows`` is a query of the rows that are deleted or changed; empty where which they are is known only
    then. What is overwritten without a ``column`` may be any of them.
    """

    revision: str
    kind: Kind
    oid: int
    table: TableShape
    column: ColumnShape | None = None
    becomes: ColumnShape | None = None
    using: str = ""
    rows: str = ""


def find_doomed(
    start: Shape, steps: Sequence[tuple[RevisionTrace, Shape, Shape]]
) -> tuple[tuple[Doomed, ...], tuple[Unseen, ...]]:
    """All that the steps (a trace, the shapes before and after it) take away of what is there at ``start``.

    The second part is what triggers may do besides, to which rows nobody can tell.
    """
    changes = Changes(start)
    found: list[Doomed] = []
    for trace, before, after in steps:
        found += _of_step(start, trace, before, after)
        for one in dict.fromkeys(changes.of_revision(trace, before, after)):
            found.append(Doomed(trace.revision, one.kind, one.oid, start[one.oid], one.column, rows=one.rows))
    # What is dropped in the end is lost as a whole, whatever happens to it before.
    gone = {one.oid for one in found if one.kind == "dropped table"}
    left = {(one.oid, one.column) for one in found if one.kind == "dropped column"}
    return tuple(one for one in found if not _is_covered(start, one, gone, left)), tuple(changes.unseen)


def _is_covered(start: Shape, one: Doomed, gone: set[int], left: set[tuple[int, ColumnShape | None]]) -> bool:
    if one.kind == "dropped table":
        return False
    return _is_in(start, one.oid, gone) or (one.kind == "overwritten" and (one.oid, one.column) in left)


def _is_in(start: Shape, oid: int | None, gone: set[int]) -> bool:
    while oid is not None:
        if oid in gone:
            return True
        oid = start[oid].parent if oid in start else None
    return False


def _of_step(start: Shape, trace: RevisionTrace, before: Shape, after: Shape) -> Iterator[Doomed]:
    for oid, table in start.items():
        if oid not in before:
            continue
        if oid not in after:
            # With its whole the part is counted.
            if table.parent is None or table.parent in after or table.parent not in before:
                yield Doomed(trace.revision, "dropped table", oid, table)
            continue
        yield from _of_columns(table, oid, trace, before, after)


def _of_columns(
    table: TableShape, oid: int, trace: RevisionTrace, before: Shape, after: Shape
) -> Iterator[Doomed]:
    if table.parent is not None and table.parent in after and after[oid].parent is not None:
        # A partition has the columns of its parent, which is counted with all of its rows.
        return
    rewritten = {one.oid for statement in trace.statements for one in statement.rewritten}
    for number, column in table.columns.items():
        earlier, later = before[oid].columns.get(number), after[oid].columns.get(number)
        if earlier is None or column.is_generated:
            continue
        if later is None:
            yield Doomed(trace.revision, "dropped column", oid, table, column)
        elif _may_lose(earlier, later) and (oid in rewritten or table.is_partitioned):
            using = _using(trace, oid, earlier.name)
            yield Doomed(trace.revision, "changed type", oid, table, column, later, using)


def _may_lose(earlier: ColumnShape, later: ColumnShape) -> bool:
    if earlier.identity == later.identity or later.type == "text":
        return False
    if earlier.labels and later.labels:
        return not set(earlier.labels) <= set(later.labels)
    return later.type not in _WIDER.get(earlier.type, ())


def _using(trace: RevisionTrace, oid: int, column: str) -> str:
    for statement in trace.statements:
        for operation in _operations(statement):
            if not (isinstance(operation, do.AlterType) and operation.column == column):
                continue
            if operation.using and statement.names.get(str(operation.table)) == oid:
                return operation.using.sql
    return ""


def _operations(statement: Statement) -> Iterator[do.Operation]:
    yield from statement.operations
    for inner in statement.hidden:
        yield from inner.operations
