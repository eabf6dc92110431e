"""Ends what stands in the way: the statement first, the session only if that was not enough."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Collection
from datetime import datetime
from typing import Any

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from dbctl.activity.locks.model import NO_PROCESS, Killed, Victim
from dbctl.activity.reading import bounded
from dbctl.errors import Failed, NotFound, Refused, UsageError
from dbctl.postgres.masking import mask_literals

GRACE_SECONDS = 5.0
_END_SECONDS = 30.0
_POLL_SECONDS = 0.1
# What else there is (checkpointer, walwriter, replication) keeps the server itself alive.
_MORTAL = {"client backend", "autovacuum worker", "parallel worker"}
_SESSION = text(
    """
    SELECT a.pid, a.pid = pg_backend_pid() AS is_ours, a.leader_pid, a.backend_type, a.backend_start, a.xact_start,
           coalesce(CAST(a.state AS text), '') AS state, coalesce(a.query, '') AS query,
           coalesce(a.application_name, '') AS application,
           coalesce(CAST(pg_get_userbyid(a.usesysid) AS text), '') AS role,
           (SELECT CAST(datname AS text) FROM pg_database WHERE oid = a.datid) AS database,
           CAST(extract(epoch FROM clock_timestamp() - a.xact_start) AS float) AS transaction_seconds,
           CAST(current_user AS text) AS us
      FROM pg_stat_get_activity(:pid) AS a
    """
)
_WAITING = """
    SELECT DISTINCT l.pid FROM pg_lock_status() AS l
     WHERE NOT l.granted AND l.pid IS NOT NULL AND :pid = ANY(pg_blocking_pids(l.pid))
"""
# Known again by the start of the process and of its transaction: a pid is soon somebody else's, and who has gone
# on to other work since the question is not the one that was meant.
_SAME = """
      FROM pg_stat_get_activity(:pid) AS a
     WHERE a.pid <> pg_backend_pid() AND a.backend_start = CAST(:backend_start AS timestamptz)
       AND a.xact_start IS NOT DISTINCT FROM CAST(:transaction_start AS timestamptz)
"""
_CANCEL = text(f"SELECT pg_cancel_backend(a.pid) {_SAME}")
_TERMINATE = text(f"SELECT pg_terminate_backend(a.pid) {_SAME}")
# A cancelled statement ends its transaction; then the state has another transaction, or none.
_LEFT = text(
    """
    SELECT a.xact_start, coalesce(CAST(a.state AS text), '') AS state FROM pg_stat_get_activity(:pid) AS a
     WHERE a.backend_start = CAST(:backend_start AS timestamptz)
    """
)


async def find_victim(connection: AsyncConnection, pid: int) -> Victim:
    """The session that ``pid`` is now, from pg_stat_activity.

    Raises NotFound where there is none, Refused for our own, for the server's own processes and where the role may
    not see enough to know it again, UsageError for a prepared transaction.
    """
    if pid == NO_PROCESS:
        raise UsageError(
            "a prepared transaction has no process to end",
            hint="end it with ROLLBACK PREPARED and the name that `dbctl locks` shows (pg_prepared_xacts)",
        )
    async with bounded(connection):
        row = (await connection.execute(_SESSION, {"pid": pid})).first()
        waiting = tuple((await connection.scalars(text(_WAITING), {"pid": pid})).all()) if row else ()
    if row is None:
        raise NotFound(
            f"no session has pid {pid}", why="it has ended, or never was", hint="see `dbctl locks`"
        )
    _check_mortal(row)
    if row.leader_pid is not None and row.leader_pid != pid:
        raise Refused(
            f"pid {pid} is not ended",
            why=f"it is a parallel worker of pid {row.leader_pid}",
            hint=f"`dbctl locks kill {row.leader_pid}` ends both",
        )
    return Victim(
        pid=pid,
        database=row.database or "",
        role=row.role,
        application=row.application,
        state=row.state or row.backend_type,
        transaction_seconds=row.transaction_seconds,
        query=mask_literals(row.query),
        waiting=waiting,
        backend_start=row.backend_start,
        transaction_start=row.xact_start,
    )


def _check_mortal(row: Any) -> None:
    if row.is_ours:
        raise Refused(f"pid {row.pid} is not ended", why="it is our own connection")
    if row.backend_type is None:
        raise Refused(
            f"pid {row.pid} is not ended",
            why=f"role {row.us} may not see whose session it is, so it could be another one by then",
            hint=f"as an administrator: GRANT pg_monitor, pg_signal_backend TO {row.us}",
        )
    if row.backend_type not in _MORTAL:
        raise Refused(f"pid {row.pid} is not ended", why=f"it is the server's own {row.backend_type}")


async def end_session(
    connection: AsyncConnection,
    victim: Victim,
    *,
    may_terminate: bool = True,
    grace_seconds: float = GRACE_SECONDS,
) -> Killed:
    """Cancel its statement; if after ``grace_seconds`` it is still in the way, terminate it.

    A session that runs no statement (idle in transaction) can't be cancelled: it is terminated at once. Raises
    Refused where it is no longer the session, or in the transaction, that was meant, and where only termination
    would help and is not allowed; Failed where it does not end.
    """
    started = time.monotonic()
    if victim.is_running or victim.state == "autovacuum worker":
        await _signal(connection, _CANCEL, victim)
        if await _until_free(connection, victim, grace_seconds):
            return await _killed(connection, victim, "cancelled", started)
    if not may_terminate:
        raise Refused(
            f"pid {victim.pid} is still in the way",
            why="cancelling it did not help" if victim.is_running else "it runs no statement to cancel",
            hint="without --cancel-only it is terminated",
        )
    await _signal(connection, _TERMINATE, victim)
    if not await _until_gone(connection, victim, _END_SECONDS):
        raise Failed(
            f"pid {victim.pid} does not end",
            why=f"it was told to {_END_SECONDS:.0f} s ago; it may be writing to a disk or a client that hangs",
            hint="look at the process on the server; never kill -9 it: all other sessions would end too",
        )
    return await _killed(connection, victim, "terminated", started)


async def _signal(connection: AsyncConnection, statement: Any, victim: Victim) -> None:
    async with bounded(connection):
        told = (await connection.execute(statement, _identity(victim))).first()
    if told is None:
        raise Refused(
            f"pid {victim.pid} was not ended",
            why="it has gone, or is in another transaction than the one that was asked about",
            hint="see `dbctl locks`",
        )


def _identity(victim: Victim) -> dict[str, int | datetime | None]:
    return {
        "pid": victim.pid,
        "backend_start": victim.backend_start,
        "transaction_start": victim.transaction_start,
    }


async def _until_free(connection: AsyncConnection, victim: Victim, seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while True:
        if await _let_go(connection, victim):
            return True
        if time.monotonic() >= deadline:
            return False
        await asyncio.sleep(_POLL_SECONDS)


async def _let_go(connection: AsyncConnection, victim: Victim) -> bool:
    """Whether nobody waits for it any more who did, and its statement has ended.

    A savepoint keeps what was locked before it, and a session what it locks for itself: cancelled, they still block.
    """
    now = await _state(connection, victim)
    if now is None:
        return True
    is_same = now.xact_start == victim.transaction_start and now.state == "active"
    return not is_same and not set(await _still_waiting(connection, victim)) & set(victim.waiting)


async def _until_gone(connection: AsyncConnection, victim: Victim, seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while await _state(connection, victim) is not None:
        if time.monotonic() >= deadline:
            return False
        await asyncio.sleep(_POLL_SECONDS)
    return True


async def _state(connection: AsyncConnection, victim: Victim) -> Any:
    async with bounded(connection):
        found = await connection.execute(_LEFT, {"pid": victim.pid, "backend_start": victim.backend_start})
        return found.first()


async def _still_waiting(connection: AsyncConnection, victim: Victim) -> Collection[int]:
    async with bounded(connection):
        return (await connection.scalars(text(_WAITING), {"pid": victim.pid})).all()


async def _killed(connection: AsyncConnection, victim: Victim, how: Any, started: float) -> Killed:
    left = set(await _still_waiting(connection, victim))
    freed = tuple(pid for pid in victim.waiting if pid not in left)
    return Killed(victim.pid, how, round(time.monotonic() - started, 3), freed)
