"""What a plan says: plain values for views, for JSON and for the file of --out.

None stands for what is not known: a role may read some of the facts only.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Literal

from dbctl.migrate.rules.model import Finding
from dbctl.postgres.lock_modes import LockMode

FORMAT_VERSION = 1
Blocked = Literal["reads", "writes", "DDL"]
State = Literal["small", "empty"]
WorkKind = Literal["rewrite", "scan", "index", "write"]
SessionKind = Literal[
    "session",
    "idle in transaction",
    "pg_dump",
    "autovacuum to prevent wraparound",
    "autovacuum",
    "prepared transaction",
]


@dataclass(frozen=True, slots=True)
class Rates:
    """What one core of the scratch server did with a small table of its own.

    ``scan``, ``rewrite`` are bytes of the table a second; the others rows a second: an index over numbers,
    one over texts, an UPDATE of all rows.
    """

    scan_bytes_per_second: float
    rewrite_bytes_per_second: float
    number_index_rows_per_second: float
    text_index_rows_per_second: float
    update_rows_per_second: float


@dataclass(frozen=True, slots=True)
class Estimate:
    """How long a statement is likely to take. ``is_brief`` where nothing in it grows with the table.

    ``seconds`` is None where the table's size is not known; ``low`` and ``high`` are how far off it may be.
    """

    seconds: float | None
    low_seconds: float | None = None
    high_seconds: float | None = None
    is_brief: bool = False


@dataclass(frozen=True, slots=True)
class TableFacts:
    """A table of the target (pg_class, pg_stat_all_tables, pg_constraint); its partitions are counted in.

    ``table_bytes`` is heap and TOAST together. ``sizes_are_estimates`` where they are pages of the last
    vacuum, because another session locks the table. Reads are scans begun, writes are rows, a second;
    ``rates_over_seconds`` is how far apart the two readings were, else they are averages ``rates_since``.
    ``is_ours`` if our role owns it, ``is_empty`` if there is surely no row in it.
    """

    name: str
    kind: str
    table_bytes: int | None
    toast_bytes: int | None
    index_bytes: int | None
    rows: int | None
    sizes_are_estimates: bool
    reads_per_second: float | None = None
    writes_per_second: float | None = None
    rates_over_seconds: float | None = None
    rates_since: datetime | None = None
    referenced_by: tuple[str, ...] = ()
    partitions: int = 0
    indexes: int = 0
    publications: tuple[str, ...] = ()
    subscriptions: tuple[str, ...] = ()
    tablespace: str = ""
    is_ours: bool = True
    is_empty: bool = False

    @property
    def total_bytes(self) -> int | None:
        """With its indexes."""
        if self.table_bytes is None or self.index_bytes is None:
            return None
        return self.table_bytes + self.index_bytes


@dataclass(frozen=True, slots=True)
class TableLock:
    """A mode on a table that was there before the plan."""

    table: str
    mode: LockMode


@dataclass(frozen=True, slots=True)
class HeldLock:
    """A lock of a revision, and how long it is likely to be held: until its transaction ends."""

    table: str
    mode: LockMode
    seconds: float | None


@dataclass(frozen=True, slots=True)
class Work:
    """What in a statement grows with a table. ``bytes`` and ``rows`` are the table's, of the target.

    ``of_text`` for an index with a key that is no number; ``indexes_bytes`` and ``indexes`` go with a rewrite.
    """

    kind: WorkKind
    table: str
    bytes: int | None
    rows: int | None
    name: str = ""
    index_bytes: int | None = 0
    indexes: int = 0
    of_text: bool = False


@dataclass(frozen=True, slots=True)
class PlannedStatement:
    """A statement in the order in which dbctl would run it.

    ``locks`` are those that it takes, ``held`` those that its transaction took before; ``blocks`` is what waits
    behind either. A CONCURRENTLY ``waits_for`` holders of modes that conflict with that one, and for old snapshots.
    ``queued_per_second`` are the statements that would wait behind its locks, by the rates of now.
    ``disk_bytes`` is what it needs at once beside what is there; None where it is not known.
    """

    number: int
    sql: str
    file: Path | None
    line: int | None
    mode: str
    transaction: int
    executions: int
    locks: tuple[TableLock, ...]
    blocks: tuple[Blocked, ...]
    work: tuple[Work, ...]
    estimate: Estimate
    disk_bytes: int | None
    queued_per_second: float | None
    held: tuple[TableLock, ...] = ()
    waits_for_snapshots: bool = False
    waits_for: LockMode | None = None

    @property
    def strongest(self) -> LockMode | None:
        """The strongest mode that it takes on a table."""
        return max((lock.mode for lock in self.locks), default=None)


@dataclass(frozen=True, slots=True)
class PlannedRevision:
    """A revision and what it would do. ``failure`` is how it failed on the copy, else empty.

    A finding's ``details`` hold ``facts`` (the target's numbers in a sentence) and, where they made it
    harmless, ``lowered`` and ``level_before``; ``relies_on`` are the tables that made them so, and what they are.
    """

    revision: str
    message: str
    path: Path
    sha256: str
    statements: tuple[PlannedStatement, ...]
    findings: tuple[Finding, ...]
    held: tuple[HeldLock, ...]
    disk_bytes: int | None
    failure: str = ""
    notes: tuple[str, ...] = ()
    unused_accepts: tuple[str, ...] = ()
    relies_on: tuple[tuple[str, State], ...] = ()


@dataclass(frozen=True, slots=True)
class Session:
    """Somebody in the database (pg_stat_activity, pg_prepared_xacts); ``query`` is cut, its literals masked.

    ``holds`` are modes on tables of the plan, ``waits_for`` those on which it waits itself.
    """

    kind: SessionKind
    pid: int | None
    role: str
    application: str
    state: str
    age_seconds: float | None
    query: str
    has_snapshot: bool
    holds: tuple[TableLock, ...] = ()
    name: str = ""


@dataclass(frozen=True, slots=True)
class Blocker:
    """A session that would keep statements waiting if the plan began now: ``statements`` are revision:number."""

    session: Session
    statements: tuple[str, ...]
    tables: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Replica:
    """A server or subscriber that follows (pg_stat_replication)."""

    name: str
    state: str
    sync_state: str
    lag_bytes: int | None
    lag_seconds: float | None


@dataclass(frozen=True, slots=True)
class Slot:
    """A replication slot, and the WAL that is kept for it (pg_replication_slots)."""

    name: str
    kind: str
    is_active: bool
    kept_bytes: int | None


@dataclass(frozen=True, slots=True)
class Disk:
    """Room on the target's disk: ``free_bytes`` only where the server's folder is on this machine for certain."""

    needed_bytes: int | None
    free_bytes: int | None
    database_bytes: int | None
    why_not_known: str = ""


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """What the plan depends on: hashes of files and of the target's catalog, by name.

    ``catalog`` has the plan's relations (schema.name, quoted where need be); ``objects`` all functions,
    types, extensions and event triggers together; ``environment`` is env.py's.
    """

    revisions: Mapping[str, str]
    environment: str
    catalog: Mapping[str, str]
    objects: str
    settings: Mapping[str, str]
    server_major: int
    current: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Plan:
    """What `migrate up` would do to one database now, in its order, and whether that is safe.

    ``target`` are the heads afterwards. ``dangers`` are the findings and failures that refuse it, a line each.
    ``left_out`` are tables that the role may not read, so the copy lacks them.
    """

    format_version: int
    dbctl_version: str
    created_at: datetime
    environment: str
    database: str
    place: str
    role: str
    server_version: str
    server_major: int
    is_standby: bool
    settings: Mapping[str, str]
    current: tuple[str, ...]
    target: tuple[str, ...]
    revisions: tuple[PlannedRevision, ...]
    tables: tuple[TableFacts, ...] = ()
    blockers: tuple[Blocker, ...] = ()
    oldest_transaction: Session | None = None
    replicas: tuple[Replica, ...] | None = ()
    slots: tuple[Slot, ...] | None = ()
    disk: Disk | None = None
    rates: Rates | None = None
    left_out: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    not_known: tuple[str, ...] = ()
    dangers: tuple[str, ...] = ()
    fingerprint: Fingerprint | None = None
    duration_seconds: float = 0
    small_table_bytes: int = field(default=0)

    @property
    def is_refused(self) -> bool:
        """Whether it has dangers that nobody accepted."""
        return bool(self.dangers)
