"""What a traced downgrade takes away: by the catalog before and after it, and by the rows that it deletes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from dbctl.migrate.loss.model import Kind
from dbctl.migrate.loss.names import source
from dbctl.migrate.loss.shape import ColumnShape, Shape, TableShape
from dbctl.migrate.trace.model import RevisionTrace, Statement
from dbctl.postgres.identifiers import quote_identifier
from dbctl.postgres.sql import operations as do
from dbctl.postgres.sql.deleted import doomed_rows

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
    has none. ``rows`` is a query of the rows that are deleted; empty where which they are is known only then.
    """

    revision: str
    kind: Kind
    oid: int
    table: TableShape
    column: ColumnShape | None = None
    becomes: ColumnShape | None = None
    using: str = ""
    rows: str = ""


def find_doomed(start: Shape, steps: Sequence[tuple[RevisionTrace, Shape, Shape]]) -> tuple[Doomed, ...]:
    """All that the steps (a trace, the shapes before and after it) take away of what is there at ``start``."""
    found = [one for trace, before, after in steps for one in _of_step(start, trace, before, after)]
    gone = {one.oid for one in found if one.kind == "dropped table"}
    # What is dropped in the end is lost as a whole, whatever happens to it before.
    return tuple(one for one in found if one.kind == "dropped table" or not _is_in(start, one.oid, gone))


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
    yield from _deleted(start, trace)


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


def _deleted(start: Shape, trace: RevisionTrace) -> Iterator[Doomed]:
    for statement in trace.statements:
        rows = dict(_deleted_rows(start, statement))
        for written in statement.written:
            # By a trigger or a function.
            oid = written.relation.oid
            if written.deleted and not _is_in(start, oid, set(rows)):
                rows[oid] = ""
        for oid, query in rows.items():
            if oid in start:
                yield Doomed(trace.revision, "deleted rows", oid, start[oid], rows=query)


def _deleted_rows(start: Shape, statement: Statement) -> Iterator[tuple[int, str]]:
    """What a statement says that it deletes, as queries, with what foreign keys delete in turn."""
    for operation in _operations(statement):
        if isinstance(operation, do.Delete):
            oid = statement.names.get(str(operation.table))
            if oid is not None and oid in start:
                yield from _with_cascades(start, oid, doomed_rows(operation))
        elif isinstance(operation, do.Truncate):
            for name in operation.tables:
                oid = statement.names.get(str(name))
                if oid is not None and oid in start:
                    yield from _emptied(start, oid, cascade=operation.cascade)


def _emptied(
    start: Shape, oid: int, *, cascade: bool, seen: frozenset[int] = frozenset()
) -> Iterator[tuple[int, str]]:
    yield oid, f"SELECT * FROM {source(start[oid])}"  # noqa: S608 - quoted names
    for reference in start[oid].references if cascade else ():
        if reference.table in start and reference.table not in seen | {oid}:
            yield from _emptied(start, reference.table, cascade=True, seen=seen | {oid})


def _with_cascades(
    start: Shape, oid: int, rows: str, seen: frozenset[int] = frozenset()
) -> Iterator[tuple[int, str]]:
    yield oid, rows
    for reference in start[oid].references:
        if not reference.deletes or reference.table not in start or reference.table in seen | {oid}:
            continue
        child = start[reference.table]
        mine = ", ".join(f"child.{quote_identifier(name)}" for name in reference.columns)
        theirs = ", ".join(f"parent.{quote_identifier(name)}" for name in reference.referenced)
        query = (
            f"SELECT child.* FROM {source(child)} AS child "  # noqa: S608 - quoted names
            f"WHERE EXISTS (SELECT FROM ({rows}) AS parent WHERE ({mine}) = ({theirs}))"
        )
        yield from _with_cascades(start, reference.table, query if rows else "", seen=seen | {oid})


def _operations(statement: Statement) -> Iterator[do.Operation]:
    yield from statement.operations
    for inner in statement.hidden:
        yield from inner.operations
