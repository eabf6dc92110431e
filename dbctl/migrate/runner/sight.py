"""Looks from outside, while a revision runs: who keeps it waiting, and how far its index has come."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Collection
from typing import Any

from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncConnection

from dbctl.migrate.model import Blocking, Building, Event, Filling, Waiting
from dbctl.migrate.watch import Watch
from dbctl.postgres.masking import mask_literals

LOOK_SECONDS = 0.5
_FILLING_SECONDS = 5.0
# Without the rights of pg_read_all_stats all but pid and role are NULL for the sessions of other roles.
_SESSION = """
a.pid, coalesce(a.usename, '') AS role, coalesce(a.application_name, '') AS application,
coalesce(a.state, a.backend_type, '') AS state, coalesce(a.query, '') AS query, a.xact_start,
CAST(extract(epoch FROM clock_timestamp() - a.xact_start) AS float) AS age_seconds
"""
_BLOCKERS = f"""
WITH waiting AS MATERIALIZED (
    SELECT DISTINCT unnest(pg_blocking_pids(w.pid)) AS pid
      FROM pg_stat_activity AS w WHERE w.pid = ANY(:pids) AND w.wait_event_type = 'Lock'
)
SELECT w.pid AS blocker, {_SESSION} FROM waiting AS w LEFT JOIN pg_stat_activity AS a USING (pid) ORDER BY 1
"""  # noqa: S608 - constants of ours
_BUILDING = f"""
SELECT coalesce(CAST(CAST(NULLIF(p.relid, 0) AS regclass) AS text), '') AS table_name, p.phase,
       CASE WHEN p.phase LIKE 'waiting%' THEN p.lockers_done
            WHEN p.blocks_total > 0 THEN p.blocks_done ELSE p.tuples_done END AS done,
       CASE WHEN p.phase LIKE 'waiting%' THEN p.lockers_total
            WHEN p.blocks_total > 0 THEN p.blocks_total ELSE p.tuples_total END AS total,
       {_SESSION}
  FROM pg_stat_progress_create_index AS p
  LEFT JOIN pg_stat_activity AS a ON a.pid = NULLIF(p.current_locker_pid, 0)
 WHERE p.pid = ANY(:pids)
"""  # noqa: S608 - constants of ours
_STARTS = "SELECT pid, xact_start FROM pg_stat_activity WHERE pid = ANY(:pids)"
# Since when a lock is waited for, PostgreSQL tells from 14 on.
_CUT = """
SELECT pg_cancel_backend(w.pid)
  FROM unnest(CAST(:pids AS int[]), CAST(:seconds AS float[])) AS w (pid, seconds)
 WHERE EXISTS (SELECT FROM pg_locks AS l
                WHERE l.pid = w.pid AND NOT l.granted
                  AND extract(epoch FROM clock_timestamp() - CAST(to_jsonb(l) ->> 'waitstart' AS timestamptz)) > w.seconds)
"""
# The server's own lock_timeout comes first, where a statement has not set it off.
_GRACE_SECONDS = 0.1
# In place of a pid, for a prepared transaction.
_NO_PROCESS = 0


class Sight:
    """``blockers`` are those that were seen last: what a failure for want of a lock names.

    ``has_cut``: a statement that has set its own lock_timeout waited longer than it may, and was cancelled.
    """

    def __init__(
        self,
        guard: AsyncConnection,
        watch: Watch,
        revision: Callable[[], str],
        hear: Callable[[Event], None],
    ) -> None:
        self._guard = guard
        self._watch = watch
        self._revision = revision
        self._hear = hear
        self._told: Collection[int] = ()
        self._starts: dict[int, Any] = {}
        self._filling_told = time.monotonic()
        self.blockers: tuple[Blocking, ...] = ()
        self.has_cut = False

    async def look(self) -> None:
        """One look, from pg_blocking_pids, pg_stat_activity and pg_stat_progress_create_index; tells what is new."""
        self._look_at_backfill()
        pids = {"pids": list(self._watch.backends)}
        if not pids["pids"]:
            return
        rows = (await self._guard.execute(text(_BLOCKERS), pids)).all()
        if rows:
            self.blockers = tuple(_blocking(row) for row in rows)
            self._starts = {row.blocker: row.xact_start for row in rows}
            if self._told != self._starts.keys():
                self._told = set(self._starts)
                self._hear(Waiting(self._revision(), self.blockers))
            await self._cut_short()
        for row in await self._guard.execute(text(_BUILDING), pids):
            waits_for = None if row.pid is None else _blocking(row)
            self._hear(Building(self._revision(), row.table_name, row.phase, row.done, row.total, waits_for))

    def _look_at_backfill(self) -> None:
        progress = self._watch.backfill
        if progress is not None and time.monotonic() - self._filling_told >= _FILLING_SECONDS:
            self._filling_told = time.monotonic()
            self._hear(Filling(self._revision(), progress))

    async def _cut_short(self) -> None:
        """Cancel what has waited longer for a lock (pg_locks) than it may: who queues behind it waits as long."""
        waits = dict(self._watch.waits)
        seconds = [one + _GRACE_SECONDS for one in waits.values()]
        cut = await self._guard.scalars(text(_CUT), {"pids": list(waits), "seconds": seconds})
        self.has_cut |= bool(cut.all())

    def forget(self) -> None:
        """Another revision is in flight."""
        self.blockers, self._told, self._starts, self.has_cut = (), (), {}, False

    async def rest(self, seconds: float) -> None:
        """Wait so long, or until all that were in the way have ended their transactions."""
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            await asyncio.sleep(min(left, LOOK_SECONDS))
            if self._starts and not await self.still_there():
                return

    async def still_there(self) -> bool:
        """Whether one of those that were seen last is in the same transaction still."""
        rows = await self._guard.execute(text(_STARTS), {"pids": list(self._starts)})
        now = {row.pid: row.xact_start for row in rows}
        # Of a prepared transaction, and of other roles' sessions, nobody tells us.
        return any(
            pid == _NO_PROCESS or (pid in now and (start is None or now[pid] == start))
            for pid, start in self._starts.items()
        )


def _blocking(row: Row[Any]) -> Blocking:
    if row.pid is None:
        return Blocking(_NO_PROCESS, "", "", "prepared transaction", None, "")
    return Blocking(row.pid, row.role, row.application, row.state, row.age_seconds, mask_literals(row.query))
