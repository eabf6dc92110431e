"""What a verify was asked and what it found: plain values for views, for JSON and for the formats of CI."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from dbctl.migrate.lint.model import Summary
from dbctl.migrate.rules.model import Finding, Hazard


@dataclass(frozen=True, slots=True)
class Verified:
    """A revision of the range that was run up, down and up again."""

    revision: str
    message: str
    file: Path
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Verification:
    """All that a verify has to say. ``hazards`` explains the ids met in ``findings``.

    ``as_a_whole``: all revisions were also run down and up in one go, which is done where nothing was found
    before. ``server_version`` is empty where nothing had to run. Paths are relative to the working directory
    ``folder`` where they are below it; ``repository`` is the top of its git, if it is in one.
    """

    findings: tuple[Finding, ...]
    revisions: tuple[Verified, ...]
    notes: tuple[str, ...]
    summary: Summary
    range: str
    hazards: tuple[Hazard, ...]
    server_version: str
    as_a_whole: bool
    duration_seconds: float = 0.0
    folder: Path = Path()
    repository: Path | None = None

    @property
    def is_clean(self) -> bool:
        """Whether nothing was found, or all of it accepted in the files."""
        return all(finding.accepted for finding in self.findings)


@dataclass(frozen=True, slots=True)
class Drift:
    """A thing that is not in the target as the migrations make it. ``target`` and ``migrations`` are SQL, empty where it is not there."""

    kind: str
    name: str
    target: str
    migrations: str


@dataclass(frozen=True, slots=True)
class Check:
    """Whether a database is where it should be.

    ``current`` is what the version table says, ``pending`` what is still to apply, ``unknown`` what the project
    does not have; ``drift`` is compared with what the revisions make that were applied there. ``invalid`` are
    indexes, ``not_valid`` constraints that nobody has validated, as SQL. ``not_compared`` is what differs between
    servers, in words.
    """

    database: str
    current: tuple[str, ...]
    heads: tuple[str, ...]
    pending: tuple[str, ...]
    unknown: tuple[str, ...]
    drift: tuple[Drift, ...]
    invalid: tuple[str, ...]
    not_valid: tuple[str, ...]
    notes: tuple[str, ...] = ()
    not_compared: tuple[str, ...] = ()
    duration_seconds: float = 0.0

    @property
    def is_clean(self) -> bool:
        """Whether all is as it should be."""
        return not (self.pending or self.unknown or self.drift or self.invalid or self.not_valid)
