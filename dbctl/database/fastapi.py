"""``get_db`` for FastAPI: the environment's shared engine, one session a request."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass

from sqlalchemy.ext.asyncio import AsyncSession

from dbctl.database.engine import Database, make_database
from dbctl.database.target import Target, resolve_target
from dbctl.settings import load_settings


@dataclass(frozen=True, slots=True)
class Shared:
    """The process's one Database, and where it is."""

    database: Database
    target: Target


_shared: Shared | None = None
_making = asyncio.Lock()


async def get_db() -> AsyncIterator[AsyncSession]:
    """A session in one transaction: committed when the request ends well, else rolled back.

    Use as ``session: AsyncSession = Depends(get_db)``. The environment is ``DBCTL_ENV``, else ``local``.
    """
    async with (await shared()).database.session() as session:
        yield session


async def shared() -> Shared:
    """The process's one Database, made at first use. Raises SettingsError."""
    async with _making:
        return _shared or share(await resolve_target(load_settings()))


def share(target: Target) -> Shared:
    """Make ``target`` the process's one Database; it connects when it is first used."""
    global _shared  # noqa: PLW0603 - one engine a process is the point
    settings = target.settings.settings
    database = make_database(
        target.conninfo,
        settings.database,
        settings.pool,
        application_name="app",
        password=target.password,
    )
    _shared = Shared(database, target)
    return _shared


async def dispose_db() -> None:
    """Close the shared engine: call it when the application's lifespan ends."""
    global _shared
    made, _shared = _shared, None
    if made is not None:
        await made.database.engine.dispose()
