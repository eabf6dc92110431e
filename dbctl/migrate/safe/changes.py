"""What autogenerate found, one change after the other, each with what undoes it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from alembic.operations import ops
from alembic.operations.ops import MigrateOperation, ModifyTableOps, OpContainer


@dataclass(frozen=True, slots=True)
class Placed:
    """An operation, and the container that it stands in: what batch mode is written for."""

    operation: MigrateOperation
    container: ModifyTableOps | None = None

    def alone(self) -> MigrateOperation:
        """It as an operation of its own, in a container like the one that it stood in."""
        if self.container is None:
            return self.operation
        return ModifyTableOps(self.container.table_name, [self.operation], schema=self.container.schema)


@dataclass(frozen=True, slots=True)
class Change:
    """An operation of the upgrade and those of the downgrade that undo it, none where a hook took them away."""

    up: Placed
    downs: tuple[Placed, ...]

    @property
    def operation(self) -> MigrateOperation:
        """What the upgrade does."""
        return self.up.operation


def read_changes(upgrade: OpContainer, downgrade: OpContainer) -> list[Change]:
    """The changes in the upgrade's order.

    Autogenerate's downgrade is the upgrade's mirror image; a project's hook may have added and removed things.
    """
    ups, downs = list(_placed(upgrade)), list(_placed(downgrade))
    owners = _owners(ups, downs)
    return [
        Change(up, tuple(down for down, owner in zip(downs, owners, strict=True) if owner == number))
        for number, up in enumerate(ups)
    ]


def _placed(container: OpContainer, inside: ModifyTableOps | None = None) -> Iterator[Placed]:
    for operation in container.ops:
        if isinstance(operation, ModifyTableOps):
            yield from _placed(operation, operation)
        else:
            yield Placed(operation, inside)


def _owners(ups: Sequence[Placed], downs: Sequence[Placed]) -> list[int]:
    """For each operation of the downgrade the number of the upgrade's that it undoes."""
    keys = [_key(up.operation) for up in ups]
    undone = [_key(down.operation) for down in downs]
    if undone == keys[::-1]:
        return list(reversed(range(len(ups))))
    owners: list[int] = []
    free = set(range(len(ups)))
    # What undoes nothing that we know of goes with what it comes after; the first with what is undone first.
    last = len(ups) - 1
    for key in undone:
        last = next((number for number in sorted(free) if key and keys[number] == key), last)
        free.discard(last)
        owners.append(last)
    return owners


def _key(operation: MigrateOperation) -> tuple[str | None, ...]:
    """The same for an operation and its reverse; empty for those that are not Alembic's own."""
    if isinstance(operation, ops.AddConstraintOp | ops.DropConstraintOp):
        return _constraint_key(operation)
    kind, name = _kind_and_name(operation)
    schema, table = getattr(operation, "schema", None), getattr(operation, "table_name", None)
    return (kind, schema, table, name) if kind else ()


def _kind_and_name(operation: MigrateOperation) -> tuple[str, str | None]:
    match operation:
        case ops.AddColumnOp():
            found: tuple[str, str | None] = "column", operation.column.name
        case ops.DropColumnOp():
            found = "column", operation.column_name
        case ops.AlterColumnOp():
            found = "alter", operation.column_name
        case ops.CreateIndexOp() | ops.DropIndexOp():
            found = "index", _text(operation.index_name)
        case ops.CreateTableOp() | ops.DropTableOp():
            found = "table", None
        case ops.CreateTableCommentOp() | ops.DropTableCommentOp():
            found = "comment", None
        case _:
            found = "", None
    return found


def _constraint_key(operation: ops.AddConstraintOp | ops.DropConstraintOp) -> tuple[str | None, ...]:
    dropped = isinstance(operation, ops.DropConstraintOp)
    made = getattr(operation, "_reverse", None) if dropped else operation
    schema, table = constraint_place(operation)
    columns = getattr(made, "columns", None) or getattr(made, "local_cols", None) or ()
    name = _text(operation.constraint_name)  # type: ignore[union-attr]
    return ("constraint", schema, table, name, *([] if name else map(str, columns)))


def constraint_place(operation: MigrateOperation) -> tuple[str | None, str]:
    """Schema and name of the table that a constraint belongs to."""
    if isinstance(operation, ops.CreateForeignKeyOp):
        return operation.kw.get("source_schema"), operation.source_table
    return operation.schema, operation.table_name  # type: ignore[attr-defined]


def _text(name: object) -> str | None:
    return str(name) if isinstance(name, str) else None
