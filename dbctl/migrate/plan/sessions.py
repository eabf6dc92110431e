"""Who is at work in the target now, and what they hold on the tables of a plan."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping
from typing import Any

from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncSession

from dbctl.migrate.plan.model import Session, SessionKind, TableLock
from dbctl.postgres.lock_modes import LockMode
from dbctl.postgres.masking import mask_literals

# Without the rights of pg_read_all_stats all but pid and names are NULL for the sessions of other roles.
_SESSIONS = """
SELECT pid, coalesce(usename, '') AS role, coalesce(application_name, '') AS application,
       coalesce(state, '') AS state, coalesce(backend_type, '') AS backend_type, coalesce(query, '') AS query,
       CAST(extract(epoch FROM clock_timestamp() - xact_start) AS float) AS age_seconds,
       backend_xmin IS NOT NULL OR backend_xid IS NOT NULL AS has_snapshot
  FROM pg_stat_activity
 WHERE datname = current_database() AND pid <> pg_backend_pid()
"""
_PREPARED = """
SELECT gid, owner AS role, CAST(transaction AS text) AS xid,
       CAST(extract(epoch FROM clock_timestamp() - prepared) AS float) AS age_seconds
  FROM pg_prepared_xacts WHERE database = current_database()
"""
# A prepared transaction has no process: its own id stands in another of its locks.
_LOCKS = """
WITH held AS MATERIALIZED (SELECT * FROM pg_locks WHERE granted AND locktype IN ('relation', 'transactionid'))
SELECT l.pid, CAST(x.transactionid AS text) AS xid, l.relation, l.mode
  FROM held AS l
  LEFT JOIN held AS x ON l.pid IS NULL AND x.pid IS NULL AND x.locktype = 'transactionid'
                     AND x.virtualtransaction = l.virtualtransaction
 WHERE l.locktype = 'relation' AND l.relation = ANY(CAST(:oids AS oid[]))
   AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
"""
_WRAPAROUND = "to prevent wraparound"

Held = Mapping[int | str, tuple[TableLock, ...]]


async def read_sessions(session: AsyncSession, tables: Mapping[int, str]) -> tuple[Session, ...]:
    """All sessions and prepared transactions of the database, with their locks on ``tables`` (names by oid).

    From pg_stat_activity, pg_prepared_xacts and pg_locks; the longest transaction first.
    """
    held = await _held(session, tables)
    active = [_session(row, held) for row in await session.execute(text(_SESSIONS))]
    prepared = [_prepared(row, held) for row in await session.execute(text(_PREPARED))]
    return tuple(sorted((*active, *prepared), key=lambda one: -(one.age_seconds or 0)))


async def _held(session: AsyncSession, tables: Mapping[int, str]) -> Held:
    found: dict[int | str, list[TableLock]] = defaultdict(list)
    modes = set(LockMode)
    for pid, xid, oid, mode in await session.execute(text(_LOCKS), {"oids": list(tables)}):
        # Modes such as SIReadLock block nobody.
        if mode in modes:
            found[pid or xid].append(TableLock(tables[oid], LockMode(mode)))
    return {who: _strongest(locks) for who, locks in found.items()}


def _strongest(locks: Collection[TableLock]) -> tuple[TableLock, ...]:
    """One lock a table."""
    names = sorted({lock.table for lock in locks})
    return tuple(TableLock(name, max(lock.mode for lock in locks if lock.table == name)) for name in names)


def _session(row: Row[Any], held: Held) -> Session:
    return Session(
        kind=_kind(row),
        pid=row.pid,
        role=row.role,
        application=row.application,
        state=row.state,
        age_seconds=row.age_seconds,
        query=mask_literals(row.query),
        has_snapshot=row.has_snapshot,
        holds=held.get(row.pid, ()),
    )


def _kind(row: Row[Any]) -> SessionKind:
    if row.backend_type == "autovacuum worker":
        return "autovacuum to prevent wraparound" if _WRAPAROUND in row.query else "autovacuum"
    if row.application.endswith("pg_dump"):
        return "pg_dump"
    return "idle in transaction" if row.state.startswith("idle in transaction") else "session"


def _prepared(row: Row[Any], held: Held) -> Session:
    return Session(
        kind="prepared transaction",
        pid=None,
        role=row.role,
        application="",
        state="prepared",
        age_seconds=row.age_seconds,
        query="",
        has_snapshot=True,
        holds=held.get(row.xid, ()),
        name=row.gid,
    )
