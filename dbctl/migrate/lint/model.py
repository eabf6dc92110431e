"""What a lint was asked and what it found: plain values for views, for JSON and for the formats of CI."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from dbctl.migrate.rules.model import Finding, Hazard, Level
from dbctl.postgres.lock_modes import LockMode

History = Literal["empty", "replayed", "cached"]


@dataclass(frozen=True, slots=True)
class Locked:
    """A table or view that was there before the revision, and the strongest mode on it."""

    table: str
    mode: LockMode


@dataclass(frozen=True, slots=True)
class Traced:
    """A statement and what the server did for it; ``rewrites`` and ``scans`` are names of tables.

    ``locks`` are those that it took, ``held`` what earlier statements of its transaction had taken. ``failure``
    is the server's message, ``hidden`` the SQL that ran inside a DO block or a function.
    """

    number: int
    sql: str
    file: Path | None
    line: int | None
    mode: Literal["transaction", "autocommit"]
    executions: int
    locks: tuple[Locked, ...]
    rewrites: tuple[str, ...]
    scans: tuple[str, ...]
    hidden: tuple[str, ...]
    rows_written: int
    duration_seconds: float
    failure: str = ""
    held: tuple[Locked, ...] = ()


@dataclass(frozen=True, slots=True)
class Linted:
    """A revision of the range. ``failure`` is the error that ended it, else empty; ``notes`` what can't be judged.

    ``unused_accepts`` are those notes that are about comments which accept nothing.
    """

    revision: str
    message: str
    file: Path
    statements: tuple[Traced, ...]
    duration_seconds: float
    failure: str = ""
    failed_line: int | None = None
    notes: tuple[str, ...] = ()
    unused_accepts: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Summary:
    """How many findings of each level count, and how many were accepted in their files."""

    danger: int
    caution: int
    notice: int
    accepted: int


@dataclass(frozen=True, slots=True)
class Report:
    """All that a lint has to say. ``hazards`` explains the ids met in ``findings``.

    ``history`` is how the revisions before the range got onto scratch, ``history_revisions`` how many they
    are; ``server_version`` is empty where nothing had to be traced. Paths are relative to the working
    directory ``folder`` where they are below it; ``repository`` is the top of its git, if it is in one.
    """

    findings: tuple[Finding, ...]
    revisions: tuple[Linted, ...]
    notes: tuple[str, ...]
    summary: Summary
    range: str
    hazards: tuple[Hazard, ...]
    server_version: str
    history: History
    history_revisions: int
    duration_seconds: float = 0.0
    durations_seconds: Mapping[str, float] = field(default_factory=dict)
    folder: Path = Path()
    repository: Path | None = None

    def reaches(self, level: str) -> bool:
        """Whether a finding that nobody accepted is of this level or a worse one."""
        counting = list(Level)[: list(Level).index(Level(level)) + 1]
        return any(finding.level in counting and not finding.accepted for finding in self.findings)
