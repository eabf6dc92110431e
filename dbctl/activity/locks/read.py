"""Reads what is blocked, from functions alone: pg_lock_status, pg_blocking_pids, pg_stat_get_activity, pg_prepared_xact.

The views of the same name are opened through pg_class: with that locked, who looks would join the queue.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncConnection

from dbctl.activity.locks.model import NO_PROCESS
from dbctl.activity.reading import bounded

# NULL and nothing differ in a tag, so each part has a place of its own in it.
_TAG = (
    "format('%s|%s|%s|%s|%s|%s|%s|%s|%s|%s', locktype, database, relation, page, tuple, virtualxid, transactionid,"
    " classid, objid, objsubid)"
)
# Of a waiting session: what it waits for, who holds just that, and which row it is the first to wait for. A
# prepared transaction has no pid: its own number stands in another of its locks.
_LOCKS = text(
    f"""
    WITH lock AS MATERIALIZED (SELECT s.*, {_TAG} AS tag FROM pg_lock_status() AS s),
         waiting AS MATERIALIZED (SELECT * FROM lock WHERE NOT granted)
    SELECT l.pid, l.granted, l.mode, l.tag, l.locktype, l.database, l.relation,
           l.virtualxid, CAST(l.transactionid AS text) AS transactionid, l.virtualtransaction,
           l.classid, l.objid, l.objsubid,
           CASE WHEN NOT l.granted THEN
             CAST(extract(epoch FROM clock_timestamp()
               - CAST(to_jsonb(l) ->> 'waitstart' AS timestamptz)) AS float) END AS wait_seconds,
           CASE WHEN NOT l.granted THEN pg_blocking_pids(l.pid) END AS blockers
      FROM lock AS l
     WHERE l.tag IN (SELECT tag FROM waiting)
        OR (l.locktype = 'tuple' AND l.pid IN (SELECT pid FROM waiting))
        OR (l.locktype = 'transactionid' AND l.pid IS NULL)
    """  # noqa: S608 - constants of ours
)
# Without the rights of pg_read_all_stats most of it is NULL for the sessions of other roles.
_SESSIONS = text(
    """
    SELECT a.pid, a.leader_pid, a.datid, CAST(a.state AS text) AS state, a.backend_type, a.query,
           coalesce(a.application_name, '') AS application, coalesce(host(a.client_addr), '') AS client,
           CASE WHEN a.usesysid IS NULL THEN '' ELSE CAST(pg_get_userbyid(a.usesysid) AS text) END AS role,
           CAST(extract(epoch FROM clock_timestamp() - a.xact_start) AS float) AS transaction_seconds,
           CAST(extract(epoch FROM clock_timestamp() - a.state_change) AS float) AS state_seconds,
           a.backend_type IS NOT NULL AS visible
      FROM pg_stat_get_activity(NULL) AS a
    """
)
_PREPARED = text(
    """
    SELECT CAST(p.transaction AS text) AS transactionid, p.gid, p.dbid AS datid,
           CAST(pg_get_userbyid(p.ownerid) AS text) AS role,
           CAST(extract(epoch FROM clock_timestamp() - p.prepared) AS float) AS seconds
      FROM pg_prepared_xact() AS p
    """
)
_SELF = text(
    "SELECT clock_timestamp() AS at, CAST(current_user AS text) AS role, CAST(current_database() AS text) AS name,"
    " (SELECT datid FROM pg_stat_get_activity(pg_backend_pid())) AS database"
)


@dataclass(frozen=True, slots=True)
class Raw:
    """The server's answers of one moment. Keys are pids; of prepared transactions, minus their number."""

    at: datetime
    role: str
    database_name: str
    database: int
    locks: tuple[Row[Any], ...]
    blockers: Mapping[int, frozenset[int]]
    sessions: Mapping[int, Row[Any]]
    prepared: Mapping[int, Row[Any]]


async def read_raw(connection: AsyncConnection) -> Raw:
    """Four statements in one transaction: all of them also where nobody waits.

    What was asked once goes on to be answered when somebody has locked the catalog.
    """
    async with bounded(connection):
        me = (await connection.execute(_SELF)).one()
        locks = tuple((await connection.execute(_LOCKS)).all())
        sessions = {row.pid: row for row in await connection.execute(_SESSIONS)}
        prepared = {-int(row.transactionid): row for row in await connection.execute(_PREPARED)}
    blockers = _among(locks, sessions, prepared)
    return Raw(me.at, me.role, me.name, me.database, locks, blockers, sessions, prepared)


def _among(
    locks: Collection[Row[Any]], sessions: Mapping[int, Row[Any]], prepared: Mapping[int, Row[Any]]
) -> Mapping[int, frozenset[int]]:
    """Who blocks whom, by key: a parallel worker waits in its leader's name, 0 becomes the prepared transactions."""
    among: dict[int, set[int]] = {}
    for lock in locks:
        if lock.granted or lock.pid not in sessions:
            continue
        pid, ahead = lock.pid, set(lock.blockers)
        keys = {one for one in ahead if one in sessions}
        if NO_PROCESS in ahead:
            keys |= _prepared_in_the_way(pid, locks, prepared)
        leader = sessions[pid].leader_pid or pid
        if keys - {leader}:
            among.setdefault(leader, set()).update(keys - {leader})
    return {pid: frozenset(keys) for pid, keys in among.items()}


def _prepared_in_the_way(pid: int, locks: Collection[Row[Any]], prepared: Mapping[int, Row[Any]]) -> set[int]:
    awaited = {lock.tag for lock in locks if lock.pid == pid and not lock.granted}
    numbers = prepared_numbers(locks)
    holding = {
        numbers.get(lock.virtualtransaction)
        for lock in locks
        if lock.pid is None and lock.granted and lock.tag in awaited
    }
    return {key for key in holding if key is not None and key in prepared}


def prepared_numbers(locks: Collection[Row[Any]]) -> Mapping[str, int]:
    """The key of each prepared transaction by its virtual transaction."""
    return {
        lock.virtualtransaction: -int(lock.transactionid)
        for lock in locks
        if lock.pid is None and lock.locktype == "transactionid" and lock.granted
    }
