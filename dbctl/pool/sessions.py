"""Who is connected, and how many more may be: read from the server, as far as our role may see."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from dbctl.pool.model import Limit, Session, SessionGroup, Slots
from dbctl.pool.verdict import UNTRACKED
from dbctl.postgres.masking import mask_literals

HIDDEN = "not visible"
# Without pg_monitor, of other roles' sessions the kind and the state are NULL; autovacuum has no role. While
# track_activities is off the state is "disabled", which says as little.
_SESSIONS = text(
    """
    SELECT pid, application_name AS application, coalesce(usename, '') AS role, coalesce(datname, '') AS database,
           datname IS NOT DISTINCT FROM current_database() AS here, pid = pg_backend_pid() AS own,
           backend_type IS NULL OR coalesce(state, '') = 'disabled' AS hidden, coalesce(state, 'connecting') AS state,
           CAST(extract(epoch FROM clock_timestamp() - state_change) AS float8) AS state_seconds,
           CAST(extract(epoch FROM clock_timestamp() - xact_start) AS float8) AS transaction_seconds,
           wait_event_type IS NOT DISTINCT FROM 'Lock' AS waits_for_lock, coalesce(query, '') AS last_statement,
           concat(backend_start, ' ', state_change, ' ', query_start) AS changed_at
    FROM pg_stat_activity
    WHERE backend_type = 'client backend' OR (backend_type IS NULL AND usesysid IS NOT NULL)
    """
)
# reserved_connections is there from 16 on. Limits of roles and databases do not bind superusers.
_SERVER = text(
    """
    SELECT current_user AS role, current_database() AS database,
           current_setting('max_connections')::int AS max_connections,
           current_setting('superuser_reserved_connections')::int
             + coalesce(current_setting('reserved_connections', true), '0')::int AS reserved
    """
)
_LIMITS = text(
    """
    SELECT 'role' AS kind, rolname AS name, rolconnlimit AS most FROM pg_roles
    WHERE rolconnlimit >= 0 AND NOT rolsuper AND rolname = ANY (:roles)
    UNION ALL
    SELECT 'database', datname, datconnlimit FROM pg_database
    WHERE datconnlimit >= 0 AND datname = current_database()
    """
)


@dataclass(frozen=True, slots=True)
class Server:
    """What the server says of itself and of us."""

    role: str
    slots: Slots


async def read_sessions(connection: AsyncConnection) -> list[Session]:
    """The sessions of all clients (pg_stat_activity), our own among them; literals masked."""
    rows = (await connection.execute(_SESSIONS)).mappings()
    return [_session(dict(row)) for row in rows]


def _session(row: dict[str, Any]) -> Session:
    if row["hidden"]:
        state = UNTRACKED if row["state"] == UNTRACKED else HIDDEN
        return Session(**{**row, "state": state, "last_statement": ""})
    statement = "" if row["own"] else mask_literals(row["last_statement"])
    return Session(**{**row, "last_statement": statement})


def compared(before: Iterable[Session], after: Iterable[Session]) -> list[Session]:
    """The later sample; a session that did nothing since the earlier one has not ``moved``."""
    then = {(one.pid, one.changed_at) for one in before}
    return [replace(one, moved=(one.pid, one.changed_at) not in then) for one in after]


async def read_server(connection: AsyncConnection, sessions: list[Session]) -> Server:
    """Slots (pg_settings) and limits (pg_roles, pg_database) against the sessions that were read."""
    told = (await connection.execute(_SERVER)).mappings().one()
    roles = sorted({told["role"], *(one.role for one in sessions if one.here)})
    found = (await connection.execute(_LIMITS, {"roles": roles})).mappings()
    limits = tuple(Limit(f"{one['kind']} {one['name']}", one["most"], _used(sessions, one)) for one in found)
    usable = told["max_connections"] - told["reserved"]
    return Server(
        told["role"], Slots(told["max_connections"], told["reserved"], usable, len(sessions), limits)
    )


def _used(sessions: list[Session], limit: Any) -> int:
    name, kind = limit["name"], limit["kind"]
    return sum((one.role if kind == "role" else one.database) == name for one in sessions)


def grouped(sessions: Iterable[Session]) -> tuple[SessionGroup, ...]:
    """Those in this database by application, role and state, the largest group first."""
    groups: dict[tuple[str, str, str], list[Session]] = defaultdict(list)
    for one in sessions:
        if one.here:
            groups[one.application, one.role, one.state].append(one)
    made = [_group(*key, members) for key, members in groups.items()]
    return tuple(sorted(made, key=lambda one: (-one.sessions, one.application, one.state)))


def _group(application: str, role: str, state: str, members: list[Session]) -> SessionGroup:
    oldest = max(members, key=lambda one: one.state_seconds or 0)
    return SessionGroup(
        application=application,
        role=role,
        state=state,
        sessions=len(members),
        oldest_state_seconds=_rounded(oldest.state_seconds),
        oldest_transaction_seconds=_rounded(max(one.transaction_seconds or 0 for one in members) or None),
        waiting_for_locks=sum(one.waits_for_lock for one in members),
        last_statement=oldest.last_statement,
    )


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 3)
