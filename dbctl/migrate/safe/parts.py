"""The pieces that changes come apart into, and which of them may share a revision."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import IntEnum, auto

from alembic.operations.ops import MigrateOperation, ModifyTableOps

from dbctl.migrate.safe.facts import TableKey
from dbctl.migrate.safe.operations import CommentOp


class Phase(IntEnum):
    """The order in which pieces run: what is new comes first, what others still use goes last."""

    PLAIN = auto()
    BUILD = auto()
    MAKE_ROOM = auto()
    ATTACH = auto()
    CHECK = auto()
    CONSTRAIN = auto()
    VALIDATE = auto()
    SET_NOT_NULL = auto()
    REMOVE = auto()


@dataclass(frozen=True, slots=True)
class Part:
    """Operations that belong into one transaction, and those that undo them.

    ``ahead`` goes before whatever else the transaction does. ``locks`` are the tables that were there and that
    it locks against writes, ``mildly`` if reads go on meanwhile; ``alone`` if it or what undoes it runs outside
    of transactions, so that a revision with anything else in it could be left half applied.
    """

    phase: Phase
    up: tuple[MigrateOperation, ...]
    down: tuple[MigrateOperation, ...]
    locks: frozenset[TableKey] = frozenset()
    ahead: tuple[MigrateOperation, ...] = ()
    mildly: bool = False
    alone: bool = False


@dataclass(slots=True)
class Group:
    """The parts of one revision."""

    parts: list[Part]

    def takes(self, part: Part) -> bool:
        """Whether the part does no harm here.

        A transaction that waits for a second table blocks the first; one that waits for more of a table than
        it has deadlocks with whoever reads it and is about to write.
        """
        last = self.parts[-1]
        if part.alone or last.alone or part.phase is not last.phase:
            return False
        locking = [one for one in self.parts if one.locks]
        if not locking or not part.locks:
            return True
        locked = frozenset[TableKey]().union(*(one.locks for one in locking))
        return part.locks <= locked and (part.mildly or not any(one.mildly for one in locking))

    @property
    def up(self) -> list[MigrateOperation]:
        """The body of its upgrade."""
        ahead = [operation for part in self.parts for operation in part.ahead]
        return _joined([*ahead, *(operation for part in self.parts for operation in part.up)])

    @property
    def down(self) -> list[MigrateOperation]:
        """The body of its downgrade."""
        return _joined(operation for part in reversed(self.parts) for operation in part.down)


def group_parts(parts: Sequence[Part]) -> list[Group]:
    """The revisions that the parts, in their order, have to be split into."""
    groups: list[Group] = []
    for part in parts:
        if groups and groups[-1].takes(part):
            groups[-1].parts.append(part)
        else:
            groups.append(Group([part]))
    return groups


def _joined(operations: Iterable[MigrateOperation]) -> list[MigrateOperation]:
    """With the operations on one table, if they follow each other, in one container: one batch.

    What has been said before is not said again.
    """
    joined: list[MigrateOperation] = []
    said: set[str] = set()
    for operation in operations:
        last = joined[-1] if joined else None
        if isinstance(operation, CommentOp):
            joined += [operation] if operation.words not in said else []
            said.add(operation.words)
        elif (
            isinstance(operation, ModifyTableOps)
            and isinstance(last, ModifyTableOps)
            and (operation.schema, operation.table_name) == (last.schema, last.table_name)
        ):
            joined[-1] = ModifyTableOps(last.table_name, [*last.ops, *operation.ops], schema=last.schema)
        else:
            joined.append(operation)
    return joined
