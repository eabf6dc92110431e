"""Runs a DO block or a function once and takes it back, to learn what is hidden in it before it happens."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from dbctl.migrate.trace.asking import MADE_FUNCTIONS, document
from dbctl.migrate.trace.hidden import hidden_in_error, read_notes
from dbctl.migrate.trace.model import Hidden
from dbctl.migrate.trace.session import Session
from dbctl.postgres.sql.operations import (
    Call,
    Delete,
    DoBlock,
    Insert,
    Operation,
    Select,
    SetVariable,
    TableOperation,
    Update,
)

_CALLED = re.compile(r"(\w+)\"?\s*\(")
_MAKES_NONE = (Select, Insert, Update, Delete, TableOperation, SetVariable)
_SAVEPOINT = "dbctl_rehearsal"


class Rehearsal:
    """What is hidden in statements; remembers which functions are the users' own."""

    def __init__(self) -> None:
        self._made: dict[frozenset[str], bool] = {}

    def noticed(self, operations: Iterable[Operation]) -> None:
        """A statement has run, and may have made a function."""
        if not all(isinstance(operation, _MAKES_NONE) for operation in operations):
            self._made.clear()

    def hidden_in(
        self, session: Session, sql: str, parameters: Any, operations: tuple[Operation, ...]
    ) -> tuple[Hidden, ...]:
        """The statements inside this one. It runs twice then; all but sequences is taken back in between."""
        if not self._may_hide(session, sql, operations):
            return ()
        session.asking.run(f"SAVEPOINT {_SAVEPOINT}")
        try:
            session.asking.run(sql, parameters)
        except Exception as error:  # noqa: BLE001 - each driver has its own; it comes again when it counts
            hidden = hidden_in_error(error, session.source)
        else:
            hidden = read_notes(session.observe().notes, session.source).hidden
        session.asking.run(f"ROLLBACK TO SAVEPOINT {_SAVEPOINT}")
        session.asking.run(f"RELEASE SAVEPOINT {_SAVEPOINT}")
        # What was read and written is counted, though it was taken back.
        session.rolled_back_to_savepoint()
        session.observe()
        return hidden

    def _may_hide(self, session: Session, sql: str, operations: tuple[Operation, ...]) -> bool:
        if any(isinstance(operation, DoBlock | Call) for operation in operations):
            return True
        if not any(isinstance(operation, Select) for operation in operations):
            return False
        called = frozenset(_CALLED.findall(sql.lower()))
        if called and called not in self._made:
            answer = session.asking.ask(MADE_FUNCTIONS, names=",".join(sorted(called)))
            self._made[called] = bool(document(answer))
        return self._made.get(called, False)
