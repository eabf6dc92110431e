"""What is round the target's tables: replicas, slots, room on the disk."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession

from dbctl.database import ConnInfo
from dbctl.migrate.plan.model import Replica, Slot

_LSN = "CASE WHEN pg_is_in_recovery() THEN pg_last_wal_receive_lsn() ELSE pg_current_wal_lsn() END"
# The lag stays what it was last measured as: of one that has replayed all it is none, of one that stands still it
# grows from the reply that it was measured by.
_REPLICAS = f"""
SELECT name, state, sync_state, lag_bytes,
       CASE WHEN lag_bytes <= 0 THEN 0
            ELSE CAST(coalesce(extract(epoch FROM replay_lag), 0)
                      + greatest(extract(epoch FROM clock_timestamp() - reply_time), 0) AS float) END AS lag_seconds
  FROM (SELECT coalesce(application_name, '') AS name, state, coalesce(sync_state, '') AS sync_state, replay_lag,
               CASE WHEN replay_lsn IS NOT NULL THEN reply_time END AS reply_time,
               CAST(pg_wal_lsn_diff({_LSN}, replay_lsn) AS bigint) AS lag_bytes
          FROM pg_stat_replication) AS replica ORDER BY 1
"""  # noqa: S608 - constants of ours
_SLOTS = f"""
SELECT slot_name, slot_type, active, CAST(pg_wal_lsn_diff({_LSN}, restart_lsn) AS bigint)
  FROM pg_replication_slots WHERE NOT temporary ORDER BY 1
"""  # noqa: S608 - constants of ours
_FOLDER = """
SELECT current_setting('data_directory') AS folder,
       CAST(extract(epoch FROM pg_postmaster_start_time()) AS float) AS started
"""
_DATABASE = "SELECT pg_database_size(current_database())"
_START_TIME_LINE = 2
_CLOCK_SECONDS = 5


async def read_replicas(session: AsyncSession | AsyncConnection) -> tuple[Replica, ...]:
    """Who follows, and how far behind (pg_stat_replication); ``state`` is empty where the role may not see it."""
    rows = await session.execute(text(_REPLICAS))
    return tuple(
        Replica(row.name, row.state or "", row.sync_state, row.lag_bytes, row.lag_seconds) for row in rows
    )


async def read_slots(session: AsyncSession) -> tuple[Slot, ...]:
    """Slots and the WAL they keep (pg_replication_slots)."""
    return tuple(Slot(*row) for row in await session.execute(text(_SLOTS)))


async def read_database_bytes(session: AsyncSession) -> int:
    """The database's size (pg_database_size)."""
    return int((await session.execute(text(_DATABASE))).scalar_one())


async def read_free_bytes(session: AsyncSession, conninfo: ConnInfo) -> int | None:
    """Free bytes where the server's data folder is; None unless that is surely on this machine.

    PostgreSQL does not tell: the folder is believed to be the server's only where its own pid file has the
    server's start time in it.
    """
    if not conninfo.is_socket:
        return None
    row = (await session.execute(text(_FOLDER))).one()
    return free_bytes(Path(row.folder), row.started)


def free_bytes(folder: Path, started: float) -> int | None:
    """Free bytes of a data folder, if it belongs to the server that was started at that time."""
    with suppress(OSError, ValueError, IndexError):
        lines = (folder / "postmaster.pid").read_text().splitlines()
        if abs(int(lines[_START_TIME_LINE]) - started) <= _CLOCK_SECONDS:
            found = os.statvfs(folder)
            return found.f_bavail * found.f_frsize
    return None
