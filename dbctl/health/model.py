"""What a health check says, and what a report holds."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol


class Status(StrEnum):
    """A check's answer, the best first. UNKNOWN: it could not look. SKIPPED: it does not apply here."""

    SKIPPED = "SKIPPED"
    OK = "OK"
    WARNING = "WARNING"
    UNKNOWN = "UNKNOWN"
    CRITICAL = "CRITICAL"

    @property
    def severity(self) -> int:
        """0 for the best."""
        return list(Status).index(self)


@dataclass(frozen=True, slots=True)
class CheckResult:
    """One check's answer: what was measured, against which threshold, and what to do next."""

    check: str
    status: Status
    message: str
    value: float | str | None = None
    threshold: float | str | None = None
    objects: tuple[str, ...] = ()
    fix: str = ""


@dataclass(frozen=True, slots=True)
class Report:
    """All answers, the worst first, and the worst of them as the report's own status."""

    status: Status
    environment: str
    reached: bool
    seconds: float
    checks: tuple[CheckResult, ...]


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
