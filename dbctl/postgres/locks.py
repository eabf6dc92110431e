"""Advisory locks: one run at a time on one database, freed by the server at any death of ours."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING

from dbctl.errors import Busy
from dbctl.postgres.pooler import check_one_session

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection

_POLL_SECONDS = 0.2
_TAKE = "SELECT pg_try_advisory_lock(:key)"
_FREE = "SELECT pg_advisory_unlock(:key)"
# pg_locks shows a 64-bit key in halves: classid the high one, objid the low one, objsubid 1.
_HOLDER = """
    SELECT a.pid, a.usename, a.application_name, coalesce(host(a.client_addr), 'this machine') AS client,
           to_char(a.backend_start AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24\\:MI\\:SS"Z"') AS since
      FROM pg_locks AS l
      JOIN pg_stat_activity AS a USING (pid)
     WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 1
       AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
       AND CAST(l.classid AS bigint) = ((CAST(:key AS bigint) >> 32) & 4294967295)
       AND CAST(l.objid AS bigint) = (CAST(:key AS bigint) & 4294967295)
"""


def lock_key(name: str) -> int:
    """The same signed 64-bit number for the same name, on every machine and in every version."""
    digest = hashlib.blake2b(name.encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big", signed=True)


@asynccontextmanager
async def advisory_lock(
    connection: AsyncConnection, name: str, *, wait_seconds: float | None = 0
) -> AsyncIterator[None]:
    """Hold the session lock of that name; `Busy` names the holder, from pg_locks and pg_stat_activity.

    The connection is put into AUTOCOMMIT, so that waiting and holding keep no transaction open. It asks
    again and again rather than queue; ``wait_seconds=None`` has no end. Raises SettingsError where the connection
    is not one session: behind a pooler in transaction mode.
    """
    from sqlalchemy import text
    from sqlalchemy.exc import SQLAlchemyError

    await connection.execution_options(isolation_level="AUTOCOMMIT")
    await check_one_session(connection)
    key = {"key": lock_key(name)}
    await _take(connection, name, key, wait_seconds)
    try:
        yield
    finally:
        # With a broken connection the server has freed the lock already.
        with suppress(SQLAlchemyError):
            await connection.execute(text(_FREE), key)


async def _take(
    connection: AsyncConnection, name: str, key: dict[str, int], wait_seconds: float | None
) -> None:
    from sqlalchemy import text

    deadline = None if wait_seconds is None else time.monotonic() + wait_seconds
    while not await connection.scalar(text(_TAKE), key):
        if deadline is not None and time.monotonic() >= deadline:
            raise await _busy(connection, name, key)
        await asyncio.sleep(_POLL_SECONDS)


async def _busy(connection: AsyncConnection, name: str, key: dict[str, int]) -> Busy:
    from sqlalchemy import text

    holder = (await connection.execute(text(_HOLDER), key)).first()
    if holder is None:
        return Busy(f"`{name}` is locked", why="it was freed this moment", hint="try again")
    who = f"pid {holder.pid}, role {holder.usename}, {holder.application_name or 'unnamed application'}"
    return Busy(
        f"`{name}` is locked by another run",
        why=f"{who} from {holder.client}, connected since {holder.since}",
        hint=f"wait for it, or end it with `SELECT pg_terminate_backend({holder.pid})`",
    )
