"""What a report on the pool holds. Seconds and connections throughout."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum


class Verdict(StrEnum):
    """Why connections run short, if they do. UNKNOWN: what we can't see might be any of them."""

    FINE = "fine"
    LEAK = "leak"
    DEMAND = "demand"
    SATURATION = "saturation"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Setup:
    """The settings of the pool. ``processes_stated``: somebody wrote their number, it is no default."""

    size: int
    max_overflow: int
    timeout_seconds: float
    recycle_seconds: float
    pre_ping: bool
    pooler: str | None
    processes: int
    processes_stated: bool
    jobs: int
    leak_after_seconds: float

    @property
    def per_process(self) -> int:
        """The most that one process opens."""
        return self.size + self.max_overflow

    @property
    def capacity(self) -> int:
        """The most that all processes open."""
        return self.processes * self.per_process


@dataclass(frozen=True, slots=True)
class ProcessPool:
    """The pool of this process, from SQLAlchemy's counters. ``overflow`` is beyond ``size``, never negative."""

    size: int
    checked_in: int
    checked_out: int
    overflow: int


@dataclass(frozen=True, slots=True)
class Session:
    """A client's session (pg_stat_activity). Ages are as of its reading; None where we may not see them.

    ``moved``: it began another statement, or another state, between the two samples.
    """

    pid: int
    application: str
    role: str
    database: str
    here: bool
    own: bool
    hidden: bool
    state: str
    state_seconds: float | None
    transaction_seconds: float | None
    waits_for_lock: bool
    last_statement: str
    changed_at: str
    moved: bool = True


@dataclass(frozen=True, slots=True)
class SessionGroup:
    """The sessions in this database of one application and role that are in one state."""

    application: str
    role: str
    state: str
    sessions: int
    oldest_state_seconds: float | None
    oldest_transaction_seconds: float | None
    waiting_for_locks: int
    last_statement: str


@dataclass(frozen=True, slots=True)
class Limit:
    """So many sessions may ``name`` have, and has."""

    name: str
    limit: int
    used: int


@dataclass(frozen=True, slots=True)
class Slots:
    """The server's connection slots: ``usable`` are those of ordinary roles, ``limits`` what narrows them further."""

    max_connections: int
    reserved: int
    usable: int
    used: int
    limits: tuple[Limit, ...]

    @property
    def free(self) -> int:
        """How many more an ordinary role gets."""
        return max(0, self.usable - self.used)

    @property
    def tightest(self) -> Limit:
        """The limit that is reached first."""
        server = Limit("the server", self.usable, self.used)
        return min((server, *self.limits), key=lambda one: one.limit - one.used)


@dataclass(frozen=True, slots=True)
class Fleet:
    """All processes with full pools, and the jobs besides, against the lowest limit.

    ``fits`` is None behind a pooler, whose own limits count instead.
    """

    connections: int
    limit: int
    limited_by: str
    fits: bool | None


@dataclass(frozen=True, slots=True)
class Load:
    """Two readings of pg_stat_database: by Little's law, rate x mean hold time is how many are held at a time.

    Rough for a few seconds: a session adds to its counters once a second. The last four are None where too little happened in between, and before PostgreSQL 14.
    """

    seconds: float
    transactions: int
    transactions_per_second: float | None
    mean_hold_seconds: float | None
    held_on_average: float | None
    suggested_per_process: int | None


@dataclass(frozen=True, slots=True)
class PingCost:
    """What ``pool.pre_ping`` adds to each checkout, measured; ``round_trips`` is that in round trips."""

    enabled: bool
    round_trip_seconds: float
    ping_seconds: float
    round_trips: float


@dataclass(frozen=True, slots=True)
class Judgement:
    """A verdict with what it rests on, and what to do next."""

    verdict: Verdict
    message: str
    evidence: tuple[str, ...] = ()
    fix: str = ""


@dataclass(frozen=True, slots=True)
class PoolReport:
    """All about the pool. ``reached`` is false where no slot was left even for us: then there is only a verdict."""

    environment: str
    verdict: Verdict
    message: str
    evidence: tuple[str, ...]
    fix: str
    reached: bool
    settings: Setup
    process: ProcessPool | None = None
    sessions: tuple[SessionGroup, ...] = ()
    slots: Slots | None = None
    fleet: Fleet | None = None
    load: Load | None = None
    ping: PingCost | None = None

    @property
    def ok(self) -> bool:
        """Nothing is wrong, and nothing would be with all pools full."""
        return self.verdict is Verdict.FINE and not (self.fleet and self.fleet.fits is False)


@dataclass(frozen=True, slots=True)
class Bounds:
    """What a benchmark will take at most: connections of one process, seconds, tasks at a time."""

    connections: int
    seconds: float
    levels: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Level:
    """One level of concurrency: so many tasks, each checking out, asking SELECT 1, and giving back."""

    tasks: int
    seconds: float
    checkouts: int
    per_second: float
    wait_p50_seconds: float | None
    wait_p95_seconds: float | None
    wait_p99_seconds: float | None
    errors: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Benchmark:
    """The engine at rising concurrency. ``enough_tasks`` is the fewest with nearly the best throughput."""

    environment: str
    bounds: Bounds
    pre_ping: bool
    levels: tuple[Level, ...]
    enough_tasks: int | None
