"""A statement between its two events: what was known before, what is written down after."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

from dbctl.migrate.trace.hidden import Notes
from dbctl.migrate.trace.model import Domain, Failure, Statement
from dbctl.migrate.trace.observe import Changes, Observation
from dbctl.migrate.trace.second_session import SecondSession
from dbctl.migrate.trace.session import Session
from dbctl.postgres.catalog.model import Table
from dbctl.postgres.lock_modes import LockMode
from dbctl.postgres.sql import Parsed, SqlNotParsed, parse
from dbctl.postgres.sql.operations import Call, DoBlock, LockTable, Operation, TransactionControl

_COMMITS = re.compile(r"\b(commit|rollback)\b", re.IGNORECASE)


@dataclass(slots=True)
class Observed:
    """What was seen of a statement: modes held before it, what it did, what event triggers noted."""

    held: Mapping[int, LockMode] = field(default_factory=dict)
    changes: Changes = field(default_factory=Changes)
    notes: Notes = field(default_factory=Notes)


@dataclass(frozen=True, slots=True)
class Text:
    """What the server gets: ``parsed`` has one entry for each statement in it, none if nobody knows its syntax."""

    sql: str
    parsed: tuple[Parsed, ...]

    @property
    def operations(self) -> tuple[Operation, ...]:
        """What it does, by its words."""
        return tuple(operation for each in self.parsed for operation in each.operations)

    @property
    def controls(self) -> tuple[TransactionControl, ...]:
        """BEGIN, COMMIT … in it."""
        return tuple(op for op in self.operations if isinstance(op, TransactionControl))

    @property
    def may_run_in_transaction(self) -> bool:
        """Whether BEGIN may stand before it; what nobody can read is not touched."""
        return bool(self.parsed) and all(each.may_run_in_transaction for each in self.parsed)

    @property
    def is_wrappable(self) -> bool:
        """Whether it does the same between BEGIN and COMMIT as alone: LOCK fails alone, procedures may commit."""
        commits = any(isinstance(op, DoBlock) for op in self.operations) and _COMMITS.search(self.sql)
        alone = any(isinstance(op, LockTable | Call) for op in self.operations)
        return self.may_run_in_transaction and not commits and not alone


@dataclass(slots=True)
class Running:
    """A statement that was sent. ``before`` is None where nothing could be asked or needed to be."""

    session: Session
    text: Text
    file: Path
    line: int
    parameters: tuple[str, ...]
    executions: int
    is_autocommit: bool
    transaction: int
    before: Observation | None = None
    names: dict[str, int] = field(default_factory=dict)
    tables: dict[int, Table] = field(default_factory=dict)
    domains: dict[str, Domain] = field(default_factory=dict)
    ends_block: bool = False
    second: SecondSession | None = None
    started: float = 0.0

    def seconds(self) -> float:
        """How long it has been running."""
        return time.perf_counter() - self.started

    def written(
        self,
        number: int,
        observed: Observed,
        seconds: float,
        failure: Failure | None,
    ) -> Statement:
        """The statement for the trace."""
        changes, notes = observed.changes, observed.notes
        return Statement(
            number=number,
            sql=self.text.parsed[0].sql if len(self.text.parsed) == 1 else self.text.sql.strip(),
            parameters=self.parameters,
            executions=self.executions,
            file=self.file,
            line=self.line,
            mode="autocommit" if self.is_autocommit else "transaction",
            transaction=self.transaction,
            duration_seconds=seconds,
            operations=self.text.operations,
            hidden=notes.hidden,
            held=observed.held,
            locks=tuple(changes.locks),
            rewritten=tuple(changes.rewritten),
            rewrite_reasons=notes.reasons,
            scanned=tuple(changes.scanned),
            built=tuple(changes.built),
            rebuilt=tuple(changes.rebuilt),
            dropped=notes.dropped,
            written=tuple(changes.written),
            created=frozenset(changes.created),
            before=self.tables,
            names=self.names,
            domains=self.domains,
            failure=failure,
        )


@lru_cache(maxsize=512)
def read_text(sql: str) -> Text:
    """A text as PostgreSQL's parser understands it."""
    try:
        return Text(sql, parse(sql))
    except SqlNotParsed:
        return Text(sql, ())


def sets_of(parameters: Any) -> list[Any]:
    """The sets of parameters that a statement is executed with, one after the other."""
    if isinstance(parameters, list) or (
        isinstance(parameters, tuple) and parameters and isinstance(parameters[0], dict | tuple | list)
    ):
        return list(parameters)
    return [parameters]


def shapes(parameters: Any) -> tuple[str, ...]:
    """The types of one set of parameters; their values are nobody's business."""
    values = parameters.values() if isinstance(parameters, dict) else parameters or ()
    return tuple(type(value).__name__ for value in values)
