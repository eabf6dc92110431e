"""What a report on PgBouncer holds. Seconds and connections throughout."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ClientPool:
    """The pool of a database and a user (SHOW POOLS). ``longest_wait_seconds`` is that of who waits now."""

    database: str
    user: str
    mode: str
    clients: int
    waiting: int
    longest_wait_seconds: float
    servers_busy: int
    servers_idle: int
    size: int | None


@dataclass(frozen=True, slots=True)
class Pinned:
    """A server connection that a client keeps while its transaction runs nothing, or runs long.

    From SHOW SERVERS and SHOW CLIENTS, joined with pg_stat_activity by the server's process id.
    """

    pid: int
    database: str
    user: str
    application: str
    client: str
    state: str
    state_seconds: float | None
    transaction_seconds: float | None
    statement: str


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that is wrong, or soon will be, with what to do next. ``about`` is a stable word."""

    about: str
    message: str
    fix: str


@dataclass(frozen=True, slots=True)
class Prepared:
    """What decides whether prepared statements work: PgBouncer's side, then the engine's caches.

    ``tracked`` is max_prepared_statements: None before 1.21, 0 is off. ``engine_caches`` are asyncpg's and
    SQLAlchemy's, in statements; ``safe`` is None where we could not see.
    """

    mode: str
    tracked: int | None
    engine_caches: tuple[int, int]
    safe: bool | None


@dataclass(frozen=True, slots=True)
class PoolerReport:
    """All about a PgBouncer. ``unseen`` says what it, or the server, did not show us, and why."""

    environment: str
    version: str
    pools: tuple[ClientPool, ...]
    pinned: tuple[Pinned, ...]
    prepared: Prepared
    clients: int | None
    max_clients: int | None
    findings: tuple[Finding, ...]
    unseen: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        """Nothing was found, and nothing hid from us."""
        return not self.findings and not self.unseen
