"""What migrations are made of and what a run of them did: plain values for views and for JSON."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from dbctl.migrate.rules.model import Finding


class Direction(StrEnum):
    """Which way a revision is run."""

    UP = "up"
    DOWN = "down"


@dataclass(frozen=True, slots=True)
class Revision:
    """A revision as its file describes it.

    ``down_revisions`` has several ids in a merge and none in a base; ``depends_on`` holds ids or labels.
    """

    id: str
    down_revisions: tuple[str, ...]
    depends_on: tuple[str, ...]
    branch_labels: tuple[str, ...]
    message: str
    path: Path
    is_head: bool = False


@dataclass(frozen=True, slots=True)
class Step:
    """A revision about to run: the ``number``-th of ``total``."""

    number: int
    total: int
    direction: Direction
    revision: str
    message: str
    path: Path


@dataclass(frozen=True, slots=True)
class Applied:
    """A revision that ran, and how long it took, its commit included."""

    revision: str
    message: str
    direction: Direction
    duration_seconds: float


@dataclass(frozen=True, slots=True)
class Run:
    """What a run changed: the version table's heads ``before`` and ``after``, and the revisions between."""

    before: tuple[str, ...]
    after: tuple[str, ...]
    applied: tuple[Applied, ...]
    duration_seconds: float


@dataclass(frozen=True, slots=True)
class Status:
    """Where a database stands against the revisions of a project.

    ``pending`` revisions are listed in an order in which they can run; ``unknown`` ones are in the database
    but not in the project: the database is ahead of the code.
    """

    database: str
    version_table: str
    current: tuple[str, ...]
    heads: tuple[str, ...]
    pending: tuple[Revision, ...]
    unknown: tuple[str, ...]
    at_head: bool


@dataclass(frozen=True, slots=True)
class Script:
    """The SQL that a run would send."""

    sql: str


@dataclass(frozen=True, slots=True)
class Created:
    """A revision file that was written, and what a lint found in it where there was one."""

    revision: str
    down_revisions: tuple[str, ...]
    message: str
    path: Path
    findings: tuple[Finding, ...] = ()
