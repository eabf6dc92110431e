"""What a run that was killed has left at work on the server: it may still commit what the client asked for."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from dbctl.errors import Busy
from dbctl.migrate.model import Blocking, Event, Waiting
from dbctl.migrate.watch import APPLICATION
from dbctl.postgres.masking import mask_literals

_LOOK_SECONDS = 0.2
_SAID_AFTER_SECONDS = 1.0
_ORPHANS = """
SELECT pid, coalesce(usename, '') AS role, state, coalesce(query, '') AS query,
       CAST(extract(epoch FROM clock_timestamp() - xact_start) AS float) AS age_seconds
  FROM pg_stat_activity
 WHERE datname = current_database() AND application_name = :application AND pid <> pg_backend_pid()
   AND state <> 'idle' ORDER BY pid
"""


async def let_orphans_end(guard: AsyncConnection, most_seconds: float, hear: Callable[[Event], None]) -> None:
    """Wait until no session of an earlier run is at work (pg_stat_activity): who holds our lock is the only runner.

    Raises Busy where one is still at work after ``most_seconds``.
    """
    started, is_said = time.monotonic(), False
    while orphans := await _look(guard):
        waited = time.monotonic() - started
        if waited > most_seconds:
            first = orphans[0]
            raise Busy(
                "a session of a run that was killed is still at work",
                why=f"pid {first.pid}: {first.query}",
                hint=f"try again later, or end it: `SELECT pg_terminate_backend({first.pid})`",
            )
        if waited > _SAID_AFTER_SECONDS and not is_said:
            is_said = True
            hear(Waiting("", orphans))
        await asyncio.sleep(_LOOK_SECONDS)


async def _look(guard: AsyncConnection) -> tuple[Blocking, ...]:
    rows = await guard.execute(text(_ORPHANS), {"application": APPLICATION})
    return tuple(
        Blocking(row.pid, row.role, APPLICATION, row.state, row.age_seconds, mask_literals(row.query))
        for row in rows
    )
