"""What migrations are made of and what a run of them did: plain values for views and for JSON."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from pathlib import Path

from dbctl.migrate.backfilling.model import Progress
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
    """A revision that ran, and how long it took, its commit included.

    ``retries`` are the attempts before that did not get their locks; no lock of its DDL was held, waiting for
    it included, for longer than ``locked_seconds``.
    """

    revision: str
    message: str
    direction: Direction
    duration_seconds: float
    retries: int = 0
    locked_seconds: float = 0


@dataclass(frozen=True, slots=True)
class Run:
    """What a run changed: the version table's heads ``before`` and ``after``, and the revisions between.

    ``plan_seconds`` is what its plan took before that, None where none was made.
    """

    before: tuple[str, ...]
    after: tuple[str, ...]
    applied: tuple[Applied, ...]
    duration_seconds: float
    aftermath: Aftermath | None = None
    plan_seconds: float | None = None


@dataclass(frozen=True, slots=True)
class Aftermath:
    """What was looked at after a run: names with their schema, as SQL writes them.

    ``not_validated`` are constraints, with their tables; ``analyzed`` tables whose statistics were made anew.
    """

    invalid_indexes: tuple[str, ...] = ()
    not_validated: tuple[str, ...] = ()
    analyzed: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


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


@dataclass(frozen=True, slots=True)
class Blocking:
    """A session in our way (pg_stat_activity); ``query`` is cut, its literals masked. None: not to be seen."""

    pid: int
    role: str
    application: str
    state: str
    age_seconds: float | None
    query: str


@dataclass(frozen=True, slots=True)
class Waiting:
    """A statement of ours waits for locks of others."""

    revision: str
    blockers: tuple[Blocking, ...]


@dataclass(frozen=True, slots=True)
class Retrying:
    """A revision did not get its locks, was rolled back, and is run again after ``pause_seconds``."""

    revision: str
    attempt: int
    pause_seconds: float
    left_seconds: float
    reason: str


@dataclass(frozen=True, slots=True)
class Resumed:
    """A revision that an earlier run left half applied goes on after its statements 1 to ``done``."""

    revision: str
    done: int
    at: datetime
    by: str
    started: bool = False


@dataclass(frozen=True, slots=True)
class Repaired:
    """An index that a CONCURRENTLY had left INVALID was dropped, to be built again."""

    revision: str
    index: str


@dataclass(frozen=True, slots=True)
class Building:
    """How far CREATE INDEX or REINDEX has come (pg_stat_progress_create_index).

    ``done`` of ``total`` are blocks, or tuples, of the present phase; ``waits_for`` is the session whose lock or
    old snapshot it waits for.
    """

    revision: str
    table: str
    phase: str
    done: int
    total: int
    waits_for: Blocking | None = None


@dataclass(frozen=True, slots=True)
class Filling:
    """How far a backfill of the revision has come."""

    revision: str
    progress: Progress


@dataclass(frozen=True, slots=True)
class Stopping:
    """We were told to stop, and the project's code is at something that can't be cancelled."""

    revision: str


Event = Waiting | Retrying | Resumed | Repaired | Building | Filling | Stopping


@dataclass(frozen=True, slots=True)
class Ran:
    """A row of the table dbctl_history. ``outcome`` is applied, failed, busy or stopped."""

    at: datetime
    revision: str
    direction: str
    outcome: str
    duration_seconds: float
    retries: int
    by_role: str
    from_host: str
    dbctl_version: str
