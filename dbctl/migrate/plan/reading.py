"""Short read-only looks at the target, which disturb nobody: what can't be had at once is not known."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TypeVar

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from dbctl.database import Database
from dbctl.errors import Busy, ConnectionLost, Failed

T = TypeVar("T")
STATEMENT_SECONDS = 5.0
LOCK_SECONDS = 0.2
_LIMITS = text(
    "SELECT set_config('statement_timeout', :statement_ms, true), set_config('lock_timeout', :lock_ms, true)"
)


@asynccontextmanager
async def reading(database: Database) -> AsyncIterator[AsyncSession]:
    """A session in one short transaction: READ ONLY, under limits of its own."""
    async with database.session() as session:
        await session.connection(execution_options={"postgresql_readonly": True})
        limits = {"statement_ms": f"{STATEMENT_SECONDS * 1000:.0f}", "lock_ms": f"{LOCK_SECONDS * 1000:.0f}"}
        await session.execute(_LIMITS, limits)
        yield session


class Reader:
    """Reads groups of facts, each in a transaction of its own; ``gaps`` tells what could not be read, and why."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.gaps: list[str] = []

    async def read(self, what: str, look: Callable[[AsyncSession], Awaitable[T]]) -> T | None:
        """What ``look`` finds, or None where the role may not, or it took too long.

        Without ``what`` nothing is said of it.
        """
        try:
            async with reading(self._database) as session:
                return await look(session)
        except ConnectionLost:
            raise
        except (Failed, Busy) as error:
            if what:
                self.gaps.append(f"{what}: {error.why or error.message}")
            return None
