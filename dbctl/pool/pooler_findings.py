"""What is wrong with a PgBouncer, judged from what its console said."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dbctl.pool.pooler_model import ClientPool, Finding, Pinned, Prepared

# Shorter waits are what a pooler is for.
_WAIT_SECONDS = 1.0
_FULL_SHARE = 0.9
# The statements that asyncpg and SQLAlchemy each keep by default.
_CACHES = (100, 100)
_STARTUP = ("statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout")
# Columns of SHOW DATABASES and SHOW USERS, from 1.24 on: how many clients are there, and may be.
_CLIENT_LIMITS = (
    ("current_client_connections", "max_client_connections"),
    ("current_client_connections", "max_user_client_connections"),
)


@dataclass(frozen=True, slots=True)
class Seen:
    """What was read; rows by their columns' names, which differ between versions."""

    pools: tuple[ClientPool, ...]
    pinned: tuple[Pinned, ...]
    prepared: Prepared
    clients: int | None
    max_clients: int | None
    databases: Sequence[Mapping[str, Any]]
    users: Sequence[Mapping[str, Any]]
    config: Mapping[str, str]
    engine_is_pooled: bool
    leak_after_seconds: float


def prepared_statements(mode: str, config: Mapping[str, str], *, pooled: bool) -> Prepared:
    """Whether the engine's prepared statements live behind a pooler in this mode.

    By transaction they do where nobody prepares by name, or where PgBouncer (1.21 and later) keeps track.
    """
    stated = config.get("max_prepared_statements")
    tracked = int(stated) if stated else None
    caches = (0, 0) if pooled else _CACHES
    safe = {"session": True, "transaction": pooled or bool(tracked), "statement": False}.get(mode)
    return Prepared(mode, tracked, caches, safe)


def find_all(seen: Seen) -> Iterator[Finding]:
    """All findings, what hurts now first."""
    yield from _waiting(seen)
    yield from _pins(seen)
    yield from _closed(seen)
    yield from _limits(seen)
    yield from _prepared(seen)
    yield from _startup(seen)


def _waiting(seen: Seen) -> Iterator[Finding]:
    for pool in seen.pools:
        if pool.waiting and pool.longest_wait_seconds >= _WAIT_SECONDS:
            kept = [one for one in seen.pinned if one.database == pool.database and _is_kept(one, seen)]
            yield Finding(
                "waiting",
                f"{pool.waiting} clients of {pool.database}/{pool.user} wait for a server connection, the first for"
                f" {pool.longest_wait_seconds:.0f} s; {pool.servers_busy} are busy of a pool of {pool.size}",
                "let go of what keeps them, below"
                if kept
                else "hold transactions shorter, or raise pool_size of that database in PgBouncer",
            )


def _is_kept(one: Pinned, seen: Seen) -> bool:
    return one.state.startswith("idle in transaction") and (one.state_seconds or 0) >= seen.leak_after_seconds


def _pins(seen: Seen) -> Iterator[Finding]:
    for one in seen.pinned:
        if _is_kept(one, seen):
            yield Finding(
                "pinned",
                f"{one.application or one.user} at {one.client or 'an unknown client'} keeps server process {one.pid}"
                f" idle in transaction for {one.state_seconds:.0f} s; its last statement: {one.statement}",
                f"end its transaction, or on the server: SELECT pg_terminate_backend({one.pid})",
            )


def _closed(seen: Seen) -> Iterator[Finding]:
    for row in seen.databases:
        for state, command in (("paused", "RESUME"), ("disabled", "ENABLE")):
            if row.get(state):
                name = row["name"]
                yield Finding(
                    state, f"database {name} is {state}", f"in PgBouncer's console: {command} {name}"
                )


def _limits(seen: Seen) -> Iterator[Finding]:
    if seen.clients is not None and seen.max_clients and seen.clients >= _FULL_SHARE * seen.max_clients:
        yield Finding(
            "clients",
            f"{seen.clients} of {seen.max_clients} clients are connected",
            "raise max_client_conn in PgBouncer and its limit of open files, or lower pool.size",
        )
    for kind, rows in (("database", seen.databases), ("user", seen.users)):
        for row in rows:
            for current, most in _CLIENT_LIMITS:
                used, limit = row.get(current), row.get(most)
                if used and limit and used >= _FULL_SHARE * limit:
                    yield Finding(
                        "clients",
                        f"{used} of {limit} clients of {kind} {row['name']}",
                        f"raise {most} in PgBouncer",
                    )
    waiting = {pool.database for pool in seen.pools if pool.waiting}
    for row in seen.databases:
        used, limit = row.get("current_connections"), row.get("max_connections")
        if row["name"] in waiting and used and limit and used >= limit:
            yield Finding(
                "servers",
                f"database {row['name']} has all of the {limit} server connections that it may have, and clients wait",
                "raise max_db_connections in PgBouncer, as far as the server's slots allow",
            )


def _prepared(seen: Seen) -> Iterator[Finding]:
    prepared = seen.prepared
    if prepared.safe is not False:
        return
    if prepared.mode == "statement":
        yield Finding(
            "pool_mode",
            "PgBouncer pools by statement: it refuses transactions, and the engine works in nothing else",
            'set pool_mode = transaction in PgBouncer, and pool.pooler = "pgbouncer"',
        )
        return
    tracked = (
        "PgBouncer knows none before 1.21" if prepared.tracked is None else "max_prepared_statements is 0"
    )
    yield Finding(
        "prepared_statements",
        f"the engine keeps {prepared.engine_caches[0]} + {prepared.engine_caches[1]} prepared statements in sessions"
        f" that change with each transaction, and {tracked}",
        'set pool.pooler = "pgbouncer"'
        + ("" if prepared.tracked is None else ", or max_prepared_statements = 200 in PgBouncer"),
    )


def _startup(seen: Seen) -> Iterator[Finding]:
    ignored = {name.strip() for name in seen.config.get("ignore_startup_parameters", "").split(",")}
    refused = [name for name in _STARTUP if name not in ignored]
    if seen.engine_is_pooled or not seen.config or not refused:
        return
    yield Finding(
        "startup_parameters",
        f"PgBouncer refuses connections that set {', '.join(refused)}, as the engine's do",
        'set pool.pooler = "pgbouncer", which sets them in each transaction'
        if seen.prepared.mode != "session"
        else f"add them to ignore_startup_parameters in PgBouncer: {', '.join(refused)}",
    )
