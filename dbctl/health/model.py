"""What a health check says, and what a report holds."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Protocol

Value = float | str | None


class Status(StrEnum):
    """A check's answer, the best first.

    SKIPPED: it does not apply here. NOT_ENOUGH_DATA: a rate, and no earlier sample to compare with.
    UNKNOWN: it could not look, which is worse than a warning.
    """

    SKIPPED = "SKIPPED"
    OK = "OK"
    NOT_ENOUGH_DATA = "NOT_ENOUGH_DATA"
    WARNING = "WARNING"
    UNKNOWN = "UNKNOWN"
    CRITICAL = "CRITICAL"

    @property
    def severity(self) -> int:
        """0 for the best."""
        return list(Status).index(self)


@dataclass(frozen=True, slots=True)
class CheckResult:
    """One check's answer: what was measured, against which thresholds, since when, and what to do next.

    ``unit`` is a word such as ``s``, ``bytes``, ``%``, empty for a count; ``warning`` and ``critical`` are in it
    too. ``check`` is filled in by the run, ``database`` where it asked more than one. ``falling``: it is a finding at the
    thresholds and below.
    """

    status: Status
    message: str
    check: str = ""
    value: Value = None
    unit: str = ""
    warning: Value = None
    critical: Value = None
    since: datetime | None = None
    objects: tuple[str, ...] = ()
    fix: str = ""
    database: str = ""
    falling: bool = False

    @property
    def threshold(self) -> Value:
        """The one that was crossed, or the next to be crossed."""
        first, second = self.warning, self.critical
        return (
            second
            if self.status is Status.CRITICAL and second is not None
            else (second if first is None else first)
        )

    def record(self) -> dict[str, object]:
        """What programs are promised of it."""
        names = ("check", "status", "value", "threshold", "since", "objects", "message", "fix")
        where = {"database": self.database} if self.database else {}
        return {name: getattr(self, name) for name in names} | where

    @property
    def found(self) -> bool:
        """Whether somebody must do something about it: a warning or worse, or that it could not look."""
        return self.status.severity >= Status.WARNING.severity


@dataclass(frozen=True, slots=True)
class Item:
    """One object that a check found something about: its name, how bad, and what mends it.

    ``name`` is what people silence by pattern: the quoted, schema-qualified name of a relation, a role, a slot …
    """

    name: str
    status: Status
    note: str = ""
    value: Value = None
    since: datetime | None = None
    fix: str = ""


@dataclass(frozen=True, slots=True)
class Findings:
    """A check's answer as a list of objects, so that some of them can be silenced: what is left decides.

    ``kind`` names one object and several, such as ("invalid index", "invalid indexes"); ``otherwise`` is the
    answer where no object is left.
    """

    items: tuple[Item, ...]
    kind: tuple[str, str]
    otherwise: CheckResult
    unit: str = ""
    warning: Value = None
    critical: Value = None


@dataclass(frozen=True, slots=True)
class Report:
    """All answers, the worst first, and the worst of them as the report's own status.

    What is SKIPPED or lacks data does not make a database less well. ``seconds`` is how long it took; ``notes`` are
    about the run: an expiry date that is over, a file that could not be read.
    """

    status: Status
    environment: str
    target: str
    at: datetime
    reached: bool
    seconds: float
    checks: tuple[CheckResult, ...]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Described:
    """A check as it is listed: what it says in a line, and why it matters; see ``registry.Check``."""

    check: str
    topic: str
    what: str
    why: str
    profiles: tuple[str, ...]
    reads: tuple[str, ...]
    needs: str
    since: int
    rate: bool


@dataclass(frozen=True, slots=True)
class MonitoringRole:
    """SQL that makes a role for monitoring, and further grants with the checks that each of them opens."""

    role: str
    statements: tuple[str, ...]
    further: tuple[tuple[str, tuple[str, ...]], ...]


class Revisions(Protocol):
    """The project's revision files, as far as a check asks them."""

    @property
    def heads(self) -> Sequence[str]:
        """The ids that no other revision follows."""

    def pending(self, current: Iterable[str]) -> Sequence[object]:
        """What a database at the revisions ``current`` lacks."""

    def unknown(self, current: Iterable[str]) -> Sequence[str]:
        """Those of ``current`` that the project does not have."""


@dataclass(frozen=True, slots=True)
class MigrationFacts:
    """The project's revisions. None: this is no Alembic project or, with a ``problem``, they can't be read."""

    revisions: Revisions | None
    problem: str = ""
    maker: Callable[[str], str] = lambda _: ""
    """The last revision whose file has the word, such as an index's name; "" where none has."""


@dataclass(frozen=True, slots=True)
class DriftFacts:
    """What the database has otherwise than its revisions make it, by name; ``problem``: why nobody could compare."""

    objects: tuple[str, ...] = ()
    problem: str = ""


@dataclass(frozen=True, slots=True)
class BackupFacts:
    """The newest good backup of the database, as the storage tells. Seconds; None: there is none.

    ``place`` is where they lie; ``expected``: the environment is one that must have some.
    """

    status: Status
    message: str
    place: str
    number: int
    age_seconds: float | None = None
    limit_seconds: float | None = None
    expected: bool = False
    problem: str = ""
