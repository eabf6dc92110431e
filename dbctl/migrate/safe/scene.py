"""What the pieces of a change are made from: the catalog's facts, and what the other changes do."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from alembic.ddl.impl import DefaultImpl
from alembic.operations import ops
from alembic.operations.ops import MigrateOperation
from alembic.util import sqla_compat
from sqlalchemy import Table
from sqlalchemy.sql.elements import conv

from dbctl.migrate.safe.changes import Change, constraint_place
from dbctl.migrate.safe.facts import Facts, TableKey
from dbctl.migrate.safe.names import free_name


@dataclass(slots=True)
class Scene:
    """``temporary`` are the tables that the same autogenerate makes or drops: nobody else uses them.

    ``leaving`` and ``arriving`` are the names of indexes and constraints that go and come, with their schemas;
    ``replaced`` are foreign keys that go, each under the operation that puts another one in its place.
    """

    facts: Facts
    impl: DefaultImpl
    temporary: frozenset[TableKey]
    leaving: frozenset[TableKey]
    arriving: frozenset[TableKey]
    replaced: dict[int, Change] = field(default_factory=dict)

    def is_in_use(self, table: TableKey) -> bool:
        """Whether it was there before and stays: what waits for it waits for the application."""
        return table not in self.temporary

    def key(self, operation: MigrateOperation) -> TableKey:
        """The table that an operation is about."""
        return self.facts.key(*constraint_place(operation))

    def used(self, *tables: TableKey) -> frozenset[TableKey]:
        """Those of the tables that were there before."""
        return frozenset(table for table in tables if self.is_in_use(table))

    def name_for_good(
        self, operation: ops.AddConstraintOp, change: Change, columns: Sequence[str], label: str
    ) -> str:
        """Give a constraint and what drops it the name that it will have in the database."""
        name = conv(self._final_name(operation, columns, label))
        operation.constraint_name = name  # type: ignore[attr-defined]
        for down in change.downs:
            if isinstance(down.operation, ops.DropConstraintOp):
                down.operation.constraint_name = name
        return name

    def _final_name(self, operation: ops.AddConstraintOp, columns: Sequence[str], label: str) -> str:
        """Its own name, as SQLAlchemy cuts it, else PostgreSQL's choice."""
        given = sqla_compat._get_constraint_final_name(operation.to_constraint(), self.impl.dialect)  # noqa: SLF001
        if given is not None:
            return str(given)
        table = self.key(operation)
        taken = self.facts.names_in(table)
        replaced = self.replaced.get(id(operation))
        going = {getattr(replaced.operation, "constraint_name", None)} if replaced else set()
        name = free_name(table[1], columns, label, taken - going)
        taken.add(name)
        return name


def make_scene(facts: Facts, impl: DefaultImpl, changes: Sequence[Change]) -> Scene:
    """The scene of changes that are made together."""
    temporary: set[TableKey] = set()
    leaving: set[TableKey] = set()
    arriving: set[TableKey] = set()
    for change in changes:
        match change.operation:
            case ops.CreateTableOp() | ops.DropTableOp() as table:
                temporary.add(facts.key(table.schema, table.table_name))
            case ops.DropIndexOp(schema=schema, index_name=name):
                leaving.add(facts.key(schema, str(name)))
            case ops.DropConstraintOp(schema=schema, constraint_name=name, constraint_type="unique"):
                leaving.add(facts.key(schema, str(name)))
            case ops.CreateIndexOp(schema=schema, index_name=name):
                arriving.add(facts.key(schema, str(name)))
            case ops.CreateUniqueConstraintOp(schema=schema, constraint_name=name):
                arriving.add(facts.key(schema, str(name)))
    replaced = dict(_replaced(facts, changes))
    return Scene(facts, impl, frozenset(temporary), frozenset(leaving), frozenset(arriving), replaced)


def _replaced(facts: Facts, changes: Sequence[Change]) -> Iterator[tuple[int, Change]]:
    """Foreign keys that go, and the ones over the same columns or of the same name that come."""
    free = [change for change in changes if _drops_foreign_key(change.operation)]
    for change in changes:
        new = change.operation
        if isinstance(new, ops.CreateForeignKeyOp):
            old = next((one for one in free if _takes_place_of(new, one.operation, facts)), None)
            if old is not None:
                free.remove(old)
                yield id(new), old


def _drops_foreign_key(operation: MigrateOperation) -> bool:
    return isinstance(operation, ops.DropConstraintOp) and operation.constraint_type == "foreignkey"


def _takes_place_of(new: ops.CreateForeignKeyOp, old: MigrateOperation, facts: Facts) -> bool:
    if facts.key(*constraint_place(new)) != facts.key(*constraint_place(old)):
        return False
    made = getattr(old, "_reverse", None)
    same_columns = made is not None and list(made.local_cols) == list(new.local_cols)
    return same_columns or getattr(old, "constraint_name", None) == new.constraint_name


def referred(table: Table, facts: Facts) -> Iterator[TableKey]:
    """The tables that a table's foreign keys refer to, whether they are known or not."""
    for key in table.foreign_keys:
        schema, _, name = key.target_fullname.rpartition(".")[0].rpartition(".")
        yield facts.key(schema or None, name)
