"""The rows that a traced downgrade deletes, and the values that it overwrites: as queries on the target as it is now."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from dbctl.migrate.loss.behind import tables_behind, tables_held, targets, writes_to
from dbctl.migrate.loss.model import Kind
from dbctl.migrate.loss.names import source
from dbctl.migrate.loss.shape import ColumnShape, Reference, Shape, TableShape
from dbctl.migrate.loss.triggers import Event, Trigger, set_columns
from dbctl.migrate.trace.model import RevisionTrace, Statement
from dbctl.postgres.identifiers import quote_identifier
from dbctl.postgres.sql import operations as do
from dbctl.postgres.sql.changed import doomed_rows, read_columns

_ALL = "*"
_UPSERT = re.compile(r"\bon\s+conflict\b.*\bdo\s+update\b", re.IGNORECASE | re.DOTALL)


@dataclass(frozen=True, slots=True)
class Change:
    """Rows of a table that are deleted, or of which ``column`` is overwritten (None: nobody knows which).

    ``rows`` is a query of them; empty where which they are is known only when the downgrade runs.
    """

    kind: Kind
    oid: int
    rows: str = ""
    column: ColumnShape | None = None


@dataclass(frozen=True, slots=True)
class Unseen:
    """What happens to rows that nobody sees: ``said`` in words, if the ``kind`` of change of that table means any row.

    Without a ``kind`` it happens in any case.
    """

    said: str
    revision: str
    kind: Kind | None = None
    oid: int = 0


@dataclass(slots=True)
class Changes:
    """Goes through the statements in their order: what an earlier one has changed, a later one finds changed.

    ``changed`` are the names of the columns, by table, that are no longer what they are on the target, ``moved``
    the tables that have other rows by then. ``shapes`` are the tables before and after the revision at hand, ``made``
    the relations that it makes itself. ``unseen`` grows with what triggers may do elsewhere.
    """

    start: Shape
    shapes: tuple[Shape, Shape] = ({}, {})
    changed: dict[int, set[str]] = field(default_factory=dict)
    moved: set[int] = field(default_factory=set)
    made: set[int] = field(default_factory=set)
    unseen: list[Unseen] = field(default_factory=list)
    revision: str = ""

    def of_revision(self, trace: RevisionTrace, before: Shape, after: Shape) -> Iterator[Change]:
        """What one revision changes, of what is there at the start."""
        self.shapes, self.revision = (before, after), trace.revision
        self.made = {oid for statement in trace.statements for oid in statement.created}
        for oid, table in self.start.items():
            now = before.get(oid)
            others = {one.name for number, one in table.columns.items() if not _is_as_was(one, now, number)}
            if others:
                self.changed.setdefault(oid, set()).update(others)
        for statement in trace.statements:
            found = list(dict.fromkeys(self._of_statement(statement)))
            found += [one for one in self._triggered(statement, found) if one not in found]
            yield from found
            for one in found:
                if one.kind == "deleted rows":
                    self.moved.add(one.oid)
                else:
                    self.changed.setdefault(one.oid, set()).add(one.column.name if one.column else _ALL)
            self.moved |= {one.relation.oid for one in statement.written if one.inserted}

    def _of_statement(self, statement: Statement) -> Iterator[Change]:
        written: dict[Kind, set[int]] = {"deleted rows": set(), "overwritten": set()}
        for operation in (
            *statement.operations,
            *(o for inner in statement.hidden for o in inner.operations),
        ):
            if isinstance(operation, do.Update) and (oid := statement.names.get(str(operation.table))):
                written["overwritten"].add(oid)
            for change in self._of_operation(statement, operation):
                written[change.kind].add(change.oid)
                yield change
        for one in statement.written:
            # By a trigger, a function or a DO block, or by a foreign key's action.
            oid = one.relation.oid
            if one.deleted and not _is_in(self.start, oid, written["deleted rows"]):
                yield from self._unknown("deleted rows", oid)
            if one.updated and not _is_in(self.start, oid, written["overwritten"]):
                yield from self._unknown("overwritten", oid)
        yield from self._behind(statement, written["deleted rows"] | written["overwritten"])

    def _behind(self, statement: Statement, seen: set[int]) -> Iterator[Change]:
        """What it does through views and functions, which rows of it nobody can tell."""
        named = dict(targets(statement))
        tables = self.start.keys() | self.shapes[0].keys() | self.shapes[1].keys() | self.made
        known = set(named.values())
        found = list(tables_behind(statement, self.start))
        views = [name for name, oid in named.items() if oid not in tables]
        if views:
            found += tables_held(statement, self.start)
            if not (found or writes_to(statement, self.start)):
                said = f"line {statement.line} of {self.revision} changes rows through {views[0]}, whose triggers are not seen"
                self.unseen.append(Unseen(said, self.revision))
        for kind, oid in found:
            if not _is_in(self.start, oid, known | seen):
                yield from self._unknown(kind, oid)

    def _triggered(self, statement: Statement, found: Iterable[Change]) -> Iterator[Change]:
        """What triggers set in the rows that are changed; what they may do to others is noted as unseen."""
        fired: dict[tuple[Event, int], set[str]] = {}
        for one in found:
            event: Event = "DELETE" if one.kind == "deleted rows" else "UPDATE"
            fired.setdefault((event, one.oid), set()).add(one.column.name if one.column else "")
        for operation in statement.operations:
            oid = statement.names.get(str(operation.table)) if isinstance(operation, do.Insert) else None
            if oid is not None:
                fired.setdefault(("INSERT", oid), set())
        for (event, oid), columns in fired.items():
            triggers = [one for one in self._triggers(oid) if _fires(one, event, columns)]
            for trigger in triggers:
                if trigger.reaches_out:
                    self.unseen.append(_unseen(self.revision, statement.line, trigger, event, oid))
            if event == "UPDATE":
                yield from self._set_besides(statement, oid, set(set_columns(triggers, columns)) - columns)

    def _set_besides(self, statement: Statement, oid: int, names: set[str]) -> Iterator[Change]:
        if _ALL in names:
            yield from self._unknown("overwritten", oid)
        updates = [
            one
            for one in statement.operations
            if isinstance(one, do.Update) and statement.names.get(str(one.table)) == oid
        ]
        rows = ""
        if len(updates) == 1 and self._holds_now(statement, updates[0], oid):
            rows = doomed_rows(updates[0], self._places(statement))
        for name in sorted(names - {_ALL}):
            column = self._column(oid, name)
            if column is not None and not column.is_generated:
                yield Change("overwritten", oid, rows, column)

    def _triggers(self, oid: int) -> Iterator[Trigger]:
        """Those of the table and of its partitions, before the revision or after it."""
        seen: set[tuple[int, Trigger]] = set()
        for shape in self.shapes:
            for number, table in shape.items():
                if _is_in(shape, number, {oid}):
                    seen |= {(number, one) for one in table.triggers}
        yield from sorted({one for _, one in seen}, key=lambda one: one.name)

    def _unknown(self, kind: Kind, oid: int) -> Iterator[Change]:
        if oid in self.start:
            yield Change(kind, oid)

    def _of_operation(self, statement: Statement, operation: do.Operation) -> Iterator[Change]:
        if isinstance(operation, do.Truncate):
            for oid in self._oids(statement, operation.tables):
                yield from _emptied(self.start, oid, cascade=operation.cascade)
        elif isinstance(operation, (do.Delete, do.Update, do.Merge, do.Insert)):
            for oid in self._oids(statement, (operation.table,)):
                yield from self._of_rows(statement, operation, oid)

    def _of_rows(
        self, statement: Statement, operation: do.Delete | do.Update | do.Merge | do.Insert, oid: int
    ) -> Iterator[Change]:
        if isinstance(operation, do.Delete):
            yield from self._deleted(statement, operation, oid)
        elif isinstance(operation, do.Update):
            yield from self._overwritten(statement, operation, oid)
        elif isinstance(operation, do.Merge):
            yield from (Change("deleted rows", oid), Change("overwritten", oid))
        elif _UPSERT.search(statement.sql):
            yield Change("overwritten", oid)

    def _oids(self, statement: Statement, names: Iterable[do.Name]) -> Iterator[int]:
        """The tables of the start among those named."""
        for name in names:
            oid = statement.names.get(str(name))
            if oid is not None and oid in self.start:
                yield oid

    def _deleted(self, statement: Statement, delete: do.Delete, oid: int) -> Iterator[Change]:
        rows = ""
        if self._holds_now(statement, delete, oid):
            rows = doomed_rows(delete, self._places(statement))
        yield from _with_references(self.start, oid, rows)

    def _overwritten(self, statement: Statement, update: do.Update, oid: int) -> Iterator[Change]:
        holds = self._holds_now(statement, update, oid)
        for name in update.columns:
            column = self._column(oid, name)
            if column is None or column.is_generated:
                continue
            rows = ""
            if holds and column.name == name:
                rows = doomed_rows(update, self._places(statement), name, column.type)
            yield Change("overwritten", oid, rows, column)

    def _column(self, oid: int, name: str) -> ColumnShape | None:
        """The column of the start that has this name while the revision runs, or from then on; None for a new one."""
        for shape in self.shapes:
            table = shape.get(oid)
            for number, column in table.columns.items() if table else ():
                if column.name == name and number in self.start[oid].columns:
                    return self.start[oid].columns[number]
        return None

    def _holds_now(self, statement: Statement, change: do.Delete | do.Update, oid: int) -> bool:
        """Whether the statement would mean the same rows now: of its own table others may be gone, not of the others."""
        others = {statement.names.get(str(name)) for name in change.tables_read} - {oid}
        reads_itself = change.table.name in {name.name for name in change.tables_read}
        if others & self.moved or (reads_itself and oid in self.moved):
            return False
        read = read_columns(change)
        return not any(self._differs(table, read) for table in {*others, oid})

    def _differs(self, oid: int | None, read: frozenset[str]) -> bool:
        changed = self.changed.get(oid, set()) if oid is not None else set()
        return bool(changed) and (_ALL in changed | read or bool(changed & read))

    def _places(self, statement: Statement) -> dict[str, tuple[str, str]]:
        return {
            name: (self.start[oid].schema, self.start[oid].name)
            for name, oid in statement.names.items()
            if oid in self.start
        }


def _fires(trigger: Trigger, event: Event, columns: set[str]) -> bool:
    return any(trigger.fires_on(event, column) for column in columns or {""})


def _unseen(revision: str, line: int | None, trigger: Trigger, event: Event, oid: int) -> Unseen:
    kinds: dict[Event, Kind] = {"DELETE": "deleted rows", "UPDATE": "overwritten"}
    said = (
        f"line {line} of {revision} fires the trigger {trigger.name}, whose function {trigger.function}()"
        " may change other rows, and which is not seen"
    )
    return Unseen(said, revision, kinds.get(event), oid)


def _is_as_was(column: ColumnShape, table: TableShape | None, number: int) -> bool:
    now = table.columns.get(number) if table else None
    return now is not None and (now.name, now.identity) == (column.name, column.identity)


def _is_in(start: Shape, oid: int | None, those: set[int]) -> bool:
    while oid is not None:
        if oid in those:
            return True
        oid = start[oid].parent if oid in start else None
    return False


def _emptied(
    start: Shape, oid: int, *, cascade: bool, seen: frozenset[int] = frozenset()
) -> Iterator[Change]:
    yield Change("deleted rows", oid, f"SELECT * FROM {source(start[oid])}")  # noqa: S608 - quoted names
    for reference in start[oid].references if cascade else ():
        if reference.table in start and reference.table not in seen | {oid}:
            yield from _emptied(start, reference.table, cascade=True, seen=seen | {oid})


def _with_references(
    start: Shape, oid: int, rows: str, seen: frozenset[int] = frozenset()
) -> Iterator[Change]:
    """Deleted rows, with what foreign keys delete or clear in turn."""
    table = start[oid]
    for own in (one for one in table.references if one.table == oid and one.action == "cascade"):
        rows = _as_deep_as_it_goes(table, own, rows) if rows else ""
    yield Change("deleted rows", oid, rows)
    for reference in table.references:
        if reference.table not in start:
            continue
        child = start[reference.table]
        query = _referring(child, reference, rows) if rows else ""
        if reference.action == "set":
            columns = (one for one in child.columns.values() if one.name in reference.columns)
            yield from (Change("overwritten", reference.table, query, one) for one in columns)
        elif reference.action == "cascade" and reference.table in seen:
            # A circle of several tables.
            yield Change("deleted rows", reference.table)
        elif reference.action == "cascade" and reference.table != oid:
            yield from _with_references(start, reference.table, query, seen=seen | {oid})


def _as_deep_as_it_goes(table: TableShape, own: Reference, rows: str) -> str:
    """The rows, and those of the same table that refer to them, and so on."""
    mine, theirs = _listed(own.columns, "t"), _listed(own.referenced, "t")
    gone = ", ".join(quote_identifier(name) for name in own.referenced)
    return (
        f"WITH RECURSIVE gone ({gone}) AS (SELECT {_listed(own.referenced, 'top')} FROM ({rows}) AS top "  # noqa: S608 - quoted names
        f"UNION SELECT {theirs} FROM {source(table)} AS t JOIN gone ON ({mine}) = ({_listed(own.referenced, 'gone')})) "
        f"SELECT t.* FROM {source(table)} AS t WHERE ({theirs}) IN (SELECT {gone} FROM gone)"
    )


def _listed(names: tuple[str, ...], of: str) -> str:
    return ", ".join(f"{of}.{quote_identifier(name)}" for name in names)


def _referring(child: TableShape, reference: Reference, rows: str) -> str:
    mine, theirs = _listed(reference.columns, "child"), _listed(reference.referenced, "parent")
    return (
        f"SELECT child.* FROM {source(child)} AS child "  # noqa: S608 - quoted names
        f"WHERE EXISTS (SELECT FROM ({rows}) AS parent WHERE ({mine}) = ({theirs}))"
    )
