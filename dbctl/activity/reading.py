"""How this room reads: in short read-only transactions that wait for nobody."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from dbctl.database import Database
from dbctl.database.errors import translated

LOCK_MILLISECONDS = 100
STATEMENT_SECONDS = 10
# In the transaction, not when connecting: a pooler drops most of what a client asks for there.
_BOUNDS = text(
    "SELECT set_config('lock_timeout', CAST(:lock_ms AS text), true),"
    " set_config('statement_timeout', CAST(:statement_ms AS text), true)"
)


@asynccontextmanager
async def connected(database: Database) -> AsyncIterator[AsyncConnection]:
    """One connection whose transactions are read-only. Raises dbctl's errors."""
    with translated(database.conninfo):
        async with database.engine.connect() as connection:
            yield await connection.execution_options(postgresql_readonly=True)


@asynccontextmanager
async def bounded(connection: AsyncConnection) -> AsyncIterator[AsyncConnection]:
    """One transaction: a lock is waited for 100 ms, a statement runs 10 s at most."""
    async with connection.begin():
        bounds = {"lock_ms": str(LOCK_MILLISECONDS), "statement_ms": str(STATEMENT_SECONDS * 1000)}
        await connection.execute(_BOUNDS, bounds)
        yield connection
