"""The rules by the operation that they judge, and what they are told."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from functools import cache
from importlib import import_module
from itertools import takewhile
from pkgutil import iter_modules
from typing import Any

from dbctl.errors import SettingsError
from dbctl.migrate.rules.model import Hazard, Level
from dbctl.migrate.trace.model import RevisionTrace, Statement
from dbctl.postgres.catalog.model import Index, Relation, Table
from dbctl.postgres.lock_modes import LockMode
from dbctl.postgres.sql.operations import Name, Operation


@dataclass(frozen=True, slots=True)
class Hit:
    """A rule's answer: the tables that the hazard is about, and the names that its safe way is filled with.

    ``why`` says what is particular here and is put after the hazard's own reason. ``level`` is the hazard's
    own unless it is said here: the same thing can be worse, or less bad, than usual. ``of_transaction`` if it
    is about all locks that the transaction holds, not about those of the statement. ``fix`` is the safe way
    in full, where the hazard's own can't be filled with names alone. ``fails`` if this is why the statement
    fails, though the hazard is about something else as a rule.
    """

    tables: tuple[str, ...] = ()
    names: Mapping[str, str] = field(default_factory=dict)
    why: str = ""
    level: Level | None = None
    of_transaction: bool = False
    fix: str = ""
    fails: bool = False


@dataclass(frozen=True, slots=True)
class Scene:
    """What a rule looks at beside the operation: the traced statement, and what its revision did before it.

    ``min_version`` is the oldest major version that the project supports; ``server_version`` the target's
    own (server_version_num), 0 where there is no target. ``hidden`` if the operation ran inside another
    statement.
    """

    statement: Statement
    revision: RevisionTrace
    min_version: int = 13
    hidden: bool = False
    server_version: int = 0

    @property
    def earlier(self) -> Iterator[Statement]:
        """The revision's statements before this one, oldest first."""
        return takewhile(lambda s: s.number < self.statement.number, self.revision.statements)

    @property
    def same_transaction(self) -> Iterator[Statement]:
        """Those of ``earlier`` whose locks are still held."""
        return (s for s in self.earlier if s.transaction == self.statement.transaction)

    @property
    def later_in_transaction(self) -> Iterator[Statement]:
        """The statements after this one that are committed together with it."""
        mine = self.statement
        return (
            s
            for s in self.revision.statements
            if s.number > mine.number and s.transaction == mine.transaction
        )

    def table(self, name: Name) -> Table | None:
        """The table as it was just before the statement; None if it is new in this revision, or not there."""
        oid = self.statement.names.get(str(name))
        return None if oid is None else self.statement.before.get(oid)

    def index(self, name: Name) -> tuple[Table, Index] | None:
        """The index of that name and its table as they were just before; None as for ``table``."""
        for table in self.statement.before.values():
            index = table.index(name.name)
            if index is not None and name.schema in {"", table.relation.schema}:
                return table, index
        return None

    def rewrites(self, table: Table) -> bool:
        """Whether the statement gave the table a new file."""
        return _among(table.relation, self.statement.rewritten)

    def scans(self, table: Table) -> bool:
        """Whether the statement read the table in full."""
        return _among(table.relation, (scan.relation for scan in self.statement.scanned))

    def lock(self, table: Table) -> LockMode | None:
        """The strongest mode on the table after the statement, taken by it or held before."""
        oid = table.relation.oid
        taken = [lock.mode for lock in self.statement.locks if lock.relation.oid == oid]
        held = self.statement.held.get(oid)
        return max([*taken, held] if held else taken, default=None)


Judge = Callable[[Any, Scene], Iterator[Hit]]
JudgeStatement = Callable[[Scene], Iterator[Hit]]
JudgeRevision = Callable[[RevisionTrace], Iterator[tuple[Statement, Hit]]]


@dataclass(frozen=True, slots=True)
class Rule:
    """A hazard and the function that recognises it in an operation."""

    hazard: Hazard
    judge: Judge


@dataclass(frozen=True, slots=True)
class StatementRule:
    """A hazard and the function that recognises it in a statement, whatever its operations."""

    hazard: Hazard
    judge: JudgeStatement


@dataclass(frozen=True, slots=True)
class RevisionRule:
    """A hazard and the function that recognises it in a revision: the statement that brings it, and the hit."""

    hazard: Hazard
    judge: JudgeRevision


_RULES: dict[type[Operation], list[Rule]] = defaultdict(list)
_STATEMENT_RULES: list[StatementRule] = []
_REVISION_RULES: list[RevisionRule] = []
HAZARDS: dict[str, Hazard] = {}


def hazard(hazard: Hazard) -> Hazard:
    """Make a hazard known; each id once."""
    assert hazard.id not in HAZARDS, hazard.id  # noqa: S101 - a programmer's error
    HAZARDS[hazard.id] = hazard
    return hazard


def rule(hazard: Hazard, *operations: type[Operation]) -> Callable[[Judge], Judge]:
    """Register a function for the operations that it judges."""

    def register(judge: Judge) -> Judge:
        for operation in operations:
            _RULES[operation].append(Rule(hazard, judge))
        return judge

    return register


def statement_rule(hazard: Hazard) -> Callable[[JudgeStatement], JudgeStatement]:
    """Register a function that judges each statement as a whole, hidden operations included."""

    def register(judge: JudgeStatement) -> JudgeStatement:
        _STATEMENT_RULES.append(StatementRule(hazard, judge))
        return judge

    return register


def revision_rule(hazard: Hazard) -> Callable[[JudgeRevision], JudgeRevision]:
    """Register a function that judges what a revision's statements do together."""

    def register(judge: JudgeRevision) -> JudgeRevision:
        _REVISION_RULES.append(RevisionRule(hazard, judge))
        return judge

    return register


def rules_for(operation: Operation) -> tuple[Rule, ...]:
    """The rules that judge an operation of this type."""
    return tuple(_RULES.get(type(operation), ()))


def statement_rules() -> tuple[StatementRule, ...]:
    """The rules that judge any statement."""
    return tuple(_STATEMENT_RULES)


def revision_rules() -> tuple[RevisionRule, ...]:
    """The rules that judge any revision."""
    return tuple(_REVISION_RULES)


@cache
def load() -> Mapping[str, Hazard]:
    """Import every module of rules beside this one; all the hazards that there are, by id."""
    package = __name__.rpartition(".")[0]
    for module in iter_modules(import_module(package).__path__):
        import_module(f"{package}.{module.name}")
    return HAZARDS


def _among(relation: Relation, others: Any) -> bool:
    return any(other.oid == relation.oid for other in others)


def check_known(ids: Iterable[str], where: str) -> None:
    """Raise SettingsError (exit code 2) for one that is no hazard's id; ``where`` says who names it."""
    known = load()
    for id_ in ids:
        if id_ not in known:
            close = get_close_matches(id_, list(known), n=1)
            raise SettingsError(
                f"{where} names {id_}, which is no hazard",
                hint=f"did you mean {close[0]}?" if close else f"there are: {', '.join(sorted(known))}",
            )
