"""Which tables a statement is about, and the catalog's facts of them just before it runs."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress

from dbctl.migrate.trace.asking import READ_DOMAINS, READ_TABLES, READ_TYPE_USERS, document
from dbctl.migrate.trace.model import Domain, Hidden
from dbctl.migrate.trace.names import Names
from dbctl.migrate.trace.observe import Changes, Observation
from dbctl.migrate.trace.session import Session
from dbctl.postgres.catalog.model import Table
from dbctl.postgres.catalog.read import tables_of
from dbctl.postgres.identifiers import quote_if_needed
from dbctl.postgres.lock_modes import LockMode
from dbctl.postgres.sql import Parsed, SqlNotParsed, parse
from dbctl.postgres.sql.builtin_types import BUILT_IN
from dbctl.postgres.sql.operations import (
    AddColumn,
    AddConstraint,
    AddDomainConstraint,
    AddEnumValue,
    AttachPartition,
    CreateIndex,
    CreateTable,
    Delete,
    DetachPartition,
    Drop,
    DropConstraint,
    Insert,
    LockTable,
    Merge,
    Name,
    Operation,
    Other,
    Rename,
    Select,
    SetConstraints,
    SetSchema,
    SetVariable,
    TableOperation,
    TransactionControl,
    Truncate,
    Update,
    ValidateConstraint,
    ValidateDomainConstraint,
)

_ON_ROWS = (Select, Insert, Update, Delete, Merge, LockTable, SetVariable, SetConstraints, TransactionControl)
# They change nothing but what they lock.
_ON_LOCKED = (TableOperation, CreateIndex)
# What they do is done to each partition, which may be partitioned itself.
_ON_PARTITIONS = (CreateIndex, AddConstraint)
_OF_DDL = frozenset(mode for mode in LockMode if mode.blocks_ddl)
_NEEDLESS = (SetVariable, TransactionControl)
_NEEDLESS_OTHERS = {"GrantStmt", "GrantRoleStmt", "CreateFunctionStmt", "CreateSchemaStmt"}
_TYPES = {"type", "domain", "enum value", "attribute"}


class Facts:
    """The tables' facts, each read once until a statement may have changed them."""

    def __init__(self, names: Names) -> None:
        self._names = names
        self._cache: dict[int, Table] = {}

    def before(self, session: Session, parsed: Iterable[Parsed]) -> tuple[dict[str, int], dict[int, Table]]:
        """What the names in statements mean, and the tables that they are about, by oid."""
        names: dict[str, int] = {}
        tables: dict[int, Table] = {}
        for each in parsed:
            names |= self._resolved(each.names, session)
            tables |= self._tables(session, map(self._table_of, names.values()))
            tables |= self._tables(session, self._more(session, each, names, tables))
        return names, tables

    def before_hidden(
        self, session: Session, hidden: Iterable[Hidden]
    ) -> tuple[dict[str, int], dict[int, Table]]:
        """The same of statements inside another."""
        parsed: list[Parsed] = []
        for each in hidden:
            with suppress(SqlNotParsed):
                parsed += parse(each.sql)
        return self.before(session, parsed)

    def outdate(
        self, operations: Iterable[Operation], hidden: Iterable[Hidden], changes: Changes, after: Observation
    ) -> None:
        """Forget what a statement may have changed."""
        all_operations = [*operations, *(op for each in hidden for op in each.operations)]
        if not all(isinstance(op, (*_ON_ROWS, *_ON_LOCKED)) for op in all_operations):
            self._cache.clear()
        touched = {lock.relation.oid for lock in changes.locks} | {
            written.relation.oid for written in changes.written
        }
        if not all(isinstance(op, _ON_ROWS) for op in all_operations):
            touched |= {oid for oid, seen in after.relations.items() if seen.strongest in _OF_DDL}
        for oid in touched:
            self._cache.pop(oid, None)

    def forget_all(self) -> None:
        """Any may have changed."""
        self._cache.clear()

    def _more(
        self, session: Session, parsed: Parsed, names: Mapping[str, int], tables: Mapping[int, Table]
    ) -> Iterator[int]:
        def table(name: Name) -> Table | None:
            return tables.get(names.get(str(name), 0))

        for operation in parsed.operations:
            yield from filter(None, map(self._names.shown, _related(operation, table)))
            if isinstance(operation, _ON_PARTITIONS) and (parent := table(operation.table)):
                yield from self._below(session, parent)
            if isinstance(operation, Truncate) and operation.cascade:
                yield from self._referring(session, filter(None, map(table, operation.tables)))
        if types := [name for op in parsed.operations for name in _types(op)]:
            wanted = json.dumps([[name.schema, name.name] for name in types])
            yield from document(session.asking.ask(READ_TYPE_USERS, types=wanted)) or ()

    def _referring(self, session: Session, tables: Iterable[Table]) -> Iterator[int]:
        """The tables that refer to these, and those that refer to them."""
        seen: set[int] = set()
        while tables:
            children = {key.references for table in tables for key in table.references_to_it}
            oids = set(filter(None, map(self._names.shown, children))) - seen
            seen |= oids
            yield from oids
            tables = self._tables(session, oids).values()

    def _below(self, session: Session, table: Table) -> Iterator[int]:
        """The partitions of a table, and theirs."""
        tables: Iterable[Table] = [table]
        while tables:
            oids = set(filter(None, (self._names.shown(name) for each in tables for name in each.partitions)))
            yield from oids
            tables = self._tables(session, oids).values()

    def _resolved(self, names: Iterable[Name], session: Session) -> dict[str, int]:
        found = ((str(name), self._names.find(name, session.path)) for name in names)
        return {name: oid for name, oid in found if oid is not None}

    def _table_of(self, oid: int) -> int:
        known = self._names.get(oid)
        return known.table or oid if known else oid

    def _tables(self, session: Session, oids: Iterable[int]) -> dict[int, Table]:
        wanted = {oid for oid in oids if self._names.concerns(oid)}
        if missing := wanted - self._cache.keys():
            self._cache |= tables_of(session.asking.ask(READ_TABLES, oids=",".join(map(str, missing))))
        return {oid: self._cache[oid] for oid in wanted if oid in self._cache}


def domains_of(session: Session, operations: Iterable[Operation]) -> dict[str, Domain]:
    """The domains among the types of columns that are added, by the types' names as written."""
    types = {op.column.type.name for op in operations if isinstance(op, AddColumn)} - BUILT_IN
    if not types:
        return {}
    wanted = json.dumps([".".join(map(quote_if_needed, name.split("."))) for name in sorted(types)])
    rows = document(session.asking.ask(READ_DOMAINS, types=wanted)) or ()
    found = {name: Domain(default, constrained) for name, default, constrained in rows}
    return {
        name: found[quoted]
        for name in types
        if (quoted := ".".join(map(quote_if_needed, name.split(".")))) in found
    }


def needs_facts(operations: Iterable[Operation]) -> bool:
    """Whether anybody asks for tables: not for SET (which may have to come before any query), COMMENT, GRANT."""
    listed = list(operations)
    return not listed or any(
        not isinstance(operation, _NEEDLESS)
        and not (isinstance(operation, Other) and operation.kind in _NEEDLESS_OTHERS)
        for operation in listed
    )


def sets_path(operation: Operation) -> bool:
    """Whether names may mean something else after it."""
    return isinstance(operation, SetVariable) and operation.name.lower() in {"search_path", "role", "all"}


def outdates_names(operations: Iterable[Operation], hidden: Iterable[Hidden]) -> bool:
    """Whether names changed without a lock on what they name: those of schemas."""
    return any(
        isinstance(op, Rename) and op.kind == "schema"
        for op in (*operations, *(op for each in hidden for op in each.operations))
    )


def _related(operation: Operation, table: Callable[[Name], Table | None]) -> Iterator[str]:
    """More tables by their shown names: the default partition, the parent of a foreign key."""
    if isinstance(operation, AttachPartition | DetachPartition):
        found = table(operation.table)
        yield found.default_partition if found else ""
    elif isinstance(operation, CreateTable) and operation.partition_of:
        found = table(operation.partition_of)
        yield found.default_partition if found else ""
    elif isinstance(operation, DropConstraint | ValidateConstraint):
        found = table(operation.table)
        constraint = found.constraint(operation.name) if found else None
        yield constraint.references if constraint else ""


def _types(operation: Operation) -> Iterator[Name]:
    """The types and domains that it changes."""
    if isinstance(operation, AddDomainConstraint | ValidateDomainConstraint):
        yield operation.domain
    elif isinstance(operation, AddEnumValue):
        yield operation.type
    elif isinstance(operation, Rename | SetSchema) and operation.kind in _TYPES:
        yield operation.object
    elif (isinstance(operation, Drop) and operation.kind in _TYPES) or (
        isinstance(operation, Other) and operation.kind in {"AlterDomainStmt", "AlterTypeStmt"}
    ):
        yield from operation.names
