"""What in a traced statement grows with a table, in the numbers of the target's tables."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from dbctl.migrate.plan.model import TableFacts, Work
from dbctl.migrate.trace.model import Statement
from dbctl.postgres.catalog.model import Relation, Table
from dbctl.postgres.lock_modes import LockMode
from dbctl.postgres.sql import operations as do

Changes = Literal["updates", "deletes", "inserts"]
_CHANGES: Mapping[type[do.Operation], Changes] = {
    do.Update: "updates",
    do.Delete: "deletes",
    do.Insert: "inserts",
}
_NUMBERS = (
    "int",
    "bigint",
    "smallint",
    "numeric",
    "real",
    "double",
    "date",
    "timestamp",
    "boolean",
    "uuid",
    "oid",
)


@dataclass(frozen=True, slots=True)
class Known:
    """The target's facts by the oids of scratch: a table that is renamed keeps its oid."""

    facts: Mapping[int, TableFacts]

    def of(self, relation: Relation) -> TableFacts | None:
        """Facts of a table that is on the target; None for one that a revision of the plan made."""
        return self.facts.get(relation.oid)

    def name(self, relation: Relation) -> str:
        """What the target calls it now."""
        facts = self.of(relation)
        return facts.name if facts else relation.shown


def find_works(statement: Statement, known: Known, unbatched: Collection[str] = ()) -> tuple[Work, ...]:
    """In no particular order; empty where the statement is brief however big the tables are.

    ``unbatched`` are tables of which a rule says that rows are changed without a bound.
    """
    rewritten = {} if _only_truncates(statement) else {one.oid: one for one in statement.rewritten}
    indexed = {table.relation.oid: index for index, table in _built(statement)}
    works = [_rewrite(relation, known) for relation in rewritten.values()]
    works += [
        _index(index, table, statement, known)
        for index, table in _built(statement)
        if table.relation.oid not in rewritten
    ]
    for scan in statement.scanned:
        if scan.relation.oid not in rewritten and scan.relation.oid not in indexed:
            works.append(_scan(scan.relation, known))
    written = list(_writes(statement, known, unbatched))
    # An UPDATE of all rows reads them too, in the same pass.
    passed = {work.table for work in written}
    return (*(one for one in works if one and not (one.kind == "scan" and one.table in passed)), *written)


def waits_for(statement: Statement) -> tuple[LockMode | None, bool]:
    """For whom a CONCURRENTLY waits beside its lock: holders of locks that conflict with the mode, old snapshots."""
    for operation in statement.operations:
        if not getattr(operation, "concurrently", False):
            continue
        if isinstance(operation, do.CreateIndex):
            return LockMode.SHARE, True
        if isinstance(operation, do.Reindex):
            return LockMode.ACCESS_EXCLUSIVE, True
        if isinstance(operation, do.Drop | do.DetachPartition):
            return LockMode.ACCESS_EXCLUSIVE, False
    return None, False


def _only_truncates(statement: Statement) -> bool:
    """TRUNCATE gives a table a new file, an empty one."""
    done = statement.operations
    return bool(done) and all(isinstance(one, do.Truncate) for one in done)


def _built(statement: Statement) -> Iterator[tuple[Relation, Table]]:
    """Indexes built or rebuilt, with the table that each belongs to."""
    tables = {table.relation.shown: table for table in statement.before.values()}
    for index in (*statement.built, *statement.rebuilt):
        if index.table in tables:
            yield index, tables[index.table]


def _has_storage(facts: TableFacts | None) -> bool:
    return facts is not None and facts.kind != "partitioned table"


def _rewrite(relation: Relation, known: Known) -> Work | None:
    facts = known.of(relation)
    if facts is None or not _has_storage(facts):
        return None
    return Work(
        "rewrite",
        facts.name,
        facts.table_bytes,
        facts.rows,
        index_bytes=facts.index_bytes,
        indexes=facts.indexes,
    )


def _scan(relation: Relation, known: Known) -> Work | None:
    facts = known.of(relation)
    if facts is None or not _has_storage(facts):
        return None
    return Work("scan", facts.name, facts.table_bytes, facts.rows)


def _index(index: Relation, table: Table, statement: Statement, known: Known) -> Work | None:
    facts = known.of(table.relation)
    if facts is None or not _has_storage(facts):
        return None
    return Work(
        "index",
        facts.name,
        facts.table_bytes,
        facts.rows,
        name=index.name,
        of_text=_of_text(index, table, statement),
    )


def _of_text(index: Relation, table: Table, statement: Statement) -> bool:
    """Whether a key is a text, or an expression that may be one: slower to sort than a number."""
    found = table.index(index.name)
    if found is not None:
        columns = found.columns
    else:
        columns = next((keys for keys in _declared(statement) if keys), ())
    return any(not _is_number(table, name) for name in columns)


def _declared(statement: Statement) -> Iterator[tuple[str, ...]]:
    for operation in statement.operations:
        if isinstance(operation, do.CreateIndex):
            yield operation.columns
        elif isinstance(operation, do.AddConstraint):
            yield operation.constraint.columns


def _is_number(table: Table, name: str) -> bool:
    column = table.columns.get(name)
    return column is not None and column.type.startswith(_NUMBERS)


def _writes(statement: Statement, known: Known, unbatched: Collection[str]) -> Iterator[Work]:
    """What may change or remove every row of a table: it reads a table in full, and no LIMIT stops it.

    An index that serves the filter on scratch bounds nothing: it may be of no use for the target's rows.
    """
    scanned = {scan.relation.oid for scan in statement.scanned}
    seen: set[int] = set()
    for oid, changes in (*_by_operation(statement), *_by_rows(statement)):
        if oid in seen or (facts := known.facts.get(oid)) is None:
            continue
        source = oid if changes != "inserts" else next(iter(scanned - {oid}), None)
        if source in scanned and source in known.facts:
            seen.add(oid)
            yield _write(facts, known.facts[source], changes)
        elif changes != "inserts" and facts.name in unbatched:
            seen.add(oid)
            yield _write(facts, facts, changes)


def _by_operation(statement: Statement) -> Iterator[tuple[int, Changes]]:
    """As the SQL says: on scratch a table may have no row to change."""
    hidden = (operation for inner in statement.hidden for operation in inner.operations)
    for operation in (*statement.operations, *hidden):
        if isinstance(operation, do.Update | do.Delete | do.Insert):
            limited = operation.filter is not None and operation.filter.limited
            oid = statement.names.get(str(operation.table))
            if oid is not None and not limited:
                yield oid, _CHANGES[type(operation)]


def _by_rows(statement: Statement) -> Iterator[tuple[int, Changes]]:
    """As the server counted: what a trigger or a function did is in no SQL."""
    filters = [getattr(one, "filter", None) for one in statement.operations]
    if any(one is not None and one.limited for one in filters):
        return
    for written in statement.written:
        changes: Changes = "updates" if written.updated else "deletes" if written.deleted else "inserts"
        yield written.relation.oid, changes


def _write(facts: TableFacts, source: TableFacts, changes: Changes) -> Work:
    # A DELETE marks rows and writes no new ones.
    size = 0 if changes == "deletes" else source.table_bytes
    index_bytes = facts.index_bytes if changes == "updates" else 0
    return Work("write", facts.name, size, source.rows, index_bytes=index_bytes, indexes=facts.indexes)
