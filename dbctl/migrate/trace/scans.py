"""Which scans read a table in full: not those that stop early, and some that go by an index."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from dbctl.migrate.trace.model import Hidden, Scan
from dbctl.migrate.trace.names import Names
from dbctl.migrate.trace.observe import Changes
from dbctl.migrate.trace.running import Running
from dbctl.migrate.trace.session import Session
from dbctl.postgres.catalog.model import Relation
from dbctl.postgres.identifiers import quote_identifier
from dbctl.postgres.sql.operations import (
    AddConstraint,
    Call,
    CreateTable,
    Delete,
    DoBlock,
    Insert,
    Merge,
    Operation,
    Select,
    SetConstraints,
    Update,
)

_QUERIES = (Select, Insert, Update, Delete, Merge, CreateTable, DoBlock, Call, SetConstraints)


def full_scans(
    session: Session, running: Running, changes: Changes, names: Names, hidden: Iterable[Hidden] = ()
) -> list[Scan]:
    """The tables that a statement has read in full, and the rows read.

    DDL reads a table in full or not at all, be it by an index: the check of a foreign key is a query. A query
    may have stopped early, so the rows that it read are compared with those that are there. ``hidden`` ran inside.
    """
    operations = running.text.operations
    if not all(isinstance(operation, _QUERIES) for operation in operations):
        return list(_by_table((*changes.scanned, *_of_indexes(changes, names))))
    inner = [op for each in hidden for op in each.operations]
    unbounded = {running.names.get(name) for op in operations for name in _read_in_full(op)}
    unbounded |= {running.names.get(name) for op in inner for name in _checked(op)}
    by_index = [scan for scan in _of_indexes(changes, names) if scan.relation.oid in unbounded]
    candidates = list(_by_table((*changes.scanned, *by_index)))
    if not any(scan.rows for scan in candidates):
        return [scan for scan in candidates if scan in changes.scanned]
    written = {each.relation.oid: each for each in changes.written}
    full = []
    for scan in candidates:
        changed = written.get(scan.relation.oid)
        there = _count(session, names, scan.relation)
        there += changed.deleted - changed.inserted if changed else 0
        if scan.rows >= there:
            full.append(scan)
    # What we have just read ourselves is nobody's doing.
    session.observe()
    return full


def _of_indexes(changes: Changes, names: Names) -> Iterator[Scan]:
    for scan in changes.index_scans:
        if (table := names.get(scan.table)) and names.concerns(scan.table):
            # A look-up for each row is many scans of one entry.
            yield Scan(table.relation, scan.rows)


def _by_table(scans: Iterable[Scan]) -> Iterator[Scan]:
    found: dict[int, Scan] = {}
    for scan in scans:
        if scan.relation.oid not in found or found[scan.relation.oid].rows < scan.rows:
            found[scan.relation.oid] = scan
    yield from found.values()


def _read_in_full(operation: Operation) -> Iterator[str]:
    """The names of tables that a query without a WHERE reads, wherever an index serves it well."""
    if isinstance(operation, Select) and operation.filter.all_rows and not operation.filter.limited:
        yield from map(str, operation.tables)
    elif isinstance(operation, Insert) and operation.filter and operation.filter.all_rows:
        yield from map(str, operation.tables_read)


def _checked(operation: Operation) -> Iterator[str]:
    """The names of tables that a foreign key is checked on, be it by an index on both sides."""
    if isinstance(operation, AddConstraint) and operation.constraint.references:
        yield str(operation.table)
        yield str(operation.constraint.references)


def _count(session: Session, names: Names, relation: Relation) -> int:
    """The rows that are there now. The statement has read the table, so no lock is taken that it has not."""
    known = names.get(relation.oid)
    if known is None:
        return 0
    now = known.relation
    table = f"{quote_identifier(now.schema)}.{quote_identifier(now.name)}"
    return session.asking.number(f"SELECT count(*) FROM ONLY {table}")  # noqa: S608 - the name is quoted
