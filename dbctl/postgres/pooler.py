"""Whether one connection is one session of the server: behind a pooler in transaction mode it is not."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from dbctl.errors import SettingsError

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection

_SESSION = "SELECT pg_backend_pid()"
# A pool of one connection has none left for us while the other holds it.
_PATIENCE_SECONDS = 2.0
HINT = (
    "set database.direct_url (DBCTL_DATABASE__DIRECT_URL) to the server itself, for migrations and backups;"
    " other commands need it in database.url"
)


async def check_one_session(connection: AsyncConnection) -> None:
    """Raise SettingsError where what a session holds, such as an advisory lock, would go to somebody else.

    The connection is in AUTOCOMMIT. A pooler tells a process id of its own making when a client connects; whether
    it pools by transaction shows when another transaction is given the server's session that we just had.
    """
    from sqlalchemy import text
    from sqlalchemy.exc import DBAPIError

    before = await connection.scalar(text(_SESSION))
    driver: Any = (await connection.get_raw_connection()).driver_connection
    if driver.get_server_pid() == before:
        return
    try:
        async with asyncio.timeout(_PATIENCE_SECONDS), connection.engine.connect() as other:
            await other.scalar(text(_SESSION))
            if await connection.scalar(text(_SESSION)) == before:
                return
    except (TimeoutError, DBAPIError):
        # No session left, or prepared statements of somebody else in it: neither happens to a session of one's own.
        pass
    raise SettingsError(
        "a pooler that shares sessions stands before the database",
        why="a lock taken through it would stay behind with another client",
        hint=HINT,
    )
