"""What a health check says, and what a report holds."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Status(StrEnum):
    """A check's answer, the best first. UNKNOWN: it could not look. SKIPPED: it does not apply here."""

    SKIPPED = "SKIPPED"
    OK = "OK"
    UNKNOWN = "UNKNOWN"
    WARNING = "WARNING"
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


@dataclass(frozen=True, slots=True)
class MigrationFacts:
    """The heads of the project's revision files; ``problem`` says why they could not be read."""

    heads: frozenset[str] = frozenset()
    known: frozenset[str] = frozenset()
    problem: str = ""
