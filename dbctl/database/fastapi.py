"""``get_db`` for FastAPI: the environment's shared engine, one session a request."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from sqlalchemy.ext.asyncio import AsyncSession

from dbctl.database.engine import Database, make_database
from dbctl.database.target import resolve_target
from dbctl.settings import load_settings

_shared: Database | None = None
_making = asyncio.Lock()


async def get_db() -> AsyncIterator[AsyncSession]:
    """A session in one transaction: committed when the request ends well, else rolled back.

    Use as ``session: AsyncSession = Depends(get_db)``. The environment is ``DBCTL_ENV``, else ``local``.
    """
    async with (await shared_database()).session() as session:
        yield session


async def shared_database() -> Database:
    """The process's one Database, made at first use."""
    global _shared  # noqa: PLW0603 - one engine a process is the point
    async with _making:
        if _shared is None:
            loaded = load_settings()
            target = await resolve_target(loaded)
            _shared = make_database(
                target.conninfo,
                loaded.settings.database,
                loaded.settings.pool,
                application_name="app",
                password=target.password,
            )
    return _shared


async def dispose_db() -> None:
    """Close the shared engine: call it when the application's lifespan ends."""
    global _shared
    database, _shared = _shared, None
    if database is not None:
        await database.engine.dispose()
