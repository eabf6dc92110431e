"""What of a revision's statements is an act, to be done once, and what is a question, to be put each time."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import lru_cache

from dbctl.migrate.trace.running import Text, read_text
from dbctl.postgres.masking import mask_literals
from dbctl.postgres.sql.operations import (
    Call,
    CreateIndex,
    CreateTable,
    Delete,
    DetachPartition,
    DoBlock,
    Drop,
    Insert,
    LockTable,
    Merge,
    Name,
    Operation,
    Other,
    Reindex,
    Select,
    SetConstraints,
    SetVariable,
    TransactionControl,
    Update,
)
from dbctl.postgres.sql.placeholders import numbered

_SHOWN_CHARACTERS = 80
# What belongs to a session or a transaction is gone with it: a lock, a setting, a cursor.
_PASSING = (Select, SetVariable, SetConstraints, TransactionControl, LockTable)
_PASSING_KINDS = {
    "VariableShowStmt",
    "ExplainStmt",
    "FetchStmt",
    "DeclareCursorStmt",
    "ClosePortalStmt",
    "PrepareStmt",
    "DeallocateStmt",
    "ListenStmt",
    "UnlistenStmt",
    "DiscardStmt",
    "LoadStmt",
}
_RETURNING = re.compile(r"\breturning\b", re.IGNORECASE)
# Outside of a transaction they leave traces where they fail: an INVALID index, a partition half detached.
_IN_PARTS = (CreateIndex, Drop, Reindex, DetachPartition)
_DATA = (Insert, Update, Delete, Merge, Call, DoBlock)


@dataclass(frozen=True, slots=True)
class Act:
    """A statement with its values. ``returns_rows``: it changes data and gives rows back."""

    sql: str
    digest: str
    text: Text

    @property
    def operations(self) -> tuple[Operation, ...]:
        """What it does, by its words; empty where nobody can read it."""
        return self.text.operations

    @property
    def controls(self) -> tuple[str, ...]:
        """BEGIN, COMMIT … in it."""
        return tuple(one.action for one in self.text.controls)

    @property
    def is_passing(self) -> bool:
        """Whether it leaves nothing in the database."""
        return bool(self.operations) and all(_is_passing(one) for one in self.operations)

    @property
    def is_data(self) -> bool:
        """Whether it may change rows, which nothing would refuse a second time."""
        return not self.operations or any(isinstance(one, _DATA) for one in self.operations)

    @property
    def returns_rows(self) -> bool:
        """Whether a program may want rows of it that can't be had again."""
        return "returning" in self.sql.lower() and bool(
            _RETURNING.search(mask_literals(self.sql, len(self.sql)))
        )

    @property
    def is_wrappable(self) -> bool:
        """Whether it does the same between BEGIN and COMMIT as alone."""
        return self.text.is_wrappable

    @property
    def may_commit(self) -> bool:
        """Whether it may have committed something before it failed."""
        return not self.operations or any(isinstance(one, Call | DoBlock) for one in self.operations)

    @property
    def may_leave_something(self) -> bool:
        """Whether it may have done a part of its work although it failed."""
        return any(isinstance(one, _IN_PARTS) for one in self.operations)

    @property
    def shown(self) -> str:
        """Its text on a line, for people."""
        return mask_literals(self.sql, _SHOWN_CHARACTERS)


@dataclass(slots=True)
class Memory:
    """The temporary tables of a revision: gone with the session that made them, they are made and filled again."""

    temporary: set[str] = field(default_factory=set)

    def is_to_be_noted(self, act: Act) -> bool:
        """Whether a statement that is about to run is an act on what stays."""
        self.temporary |= _made(act)
        return not act.is_passing and not self.temporary & _tables(act)


def read_act(sql: str, digest: str, formats: str) -> Act:
    """A statement as SQLAlchemy sends it; ``formats`` is the driver's paramstyle, empty where it formats nothing."""
    return Act(sql, digest, _read(sql, formats))


@lru_cache(maxsize=512)
def _read(sql: str, formats: str) -> Text:
    return read_text(numbered(sql, formats))


def _is_passing(operation: Operation) -> bool:
    if isinstance(operation, Other):
        return operation.kind in _PASSING_KINDS
    return isinstance(operation, _PASSING)


def _made(act: Act) -> set[str]:
    """The temporary tables that it makes."""
    made = (one.table for one in act.operations if isinstance(one, CreateTable))
    return {name.name for name in made if name.temporary or name.schema == "pg_temp"}


def _tables(act: Act) -> set[str]:
    """The tables that its operations are about, by their bare names."""
    tables = (getattr(one, "table", None) for one in act.operations)
    return {name.name for name in tables if isinstance(name, Name)}
