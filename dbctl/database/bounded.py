"""Transactions that read and get out of the way: a monitor must never be the one that everybody waits for."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection


async def begin_bounded(
    connection: AsyncConnection, *, statement_seconds: float, lock_seconds: float
) -> None:
    """Begin a read-only transaction on a connection in AUTOCOMMIT, with limits that end with it.

    One round trip; SET LOCAL, so that it is right behind a pooler too. The search path is pg_catalog alone: no function
    of somebody else's is run, and ``regclass`` prints every name with its schema.
    """
    await _script(
        connection,
        f"BEGIN READ ONLY; SET LOCAL statement_timeout = {max(1, round(statement_seconds * 1000))};"
        f" SET LOCAL lock_timeout = {max(1, round(lock_seconds * 1000))};"
        " SET LOCAL search_path = pg_catalog; SET LOCAL jit = off",
    )


async def limit_statements(connection: AsyncConnection, *, statement_seconds: float) -> None:
    """Give the statements of the running transaction less time."""
    await _script(connection, f"SET LOCAL statement_timeout = {max(1, round(statement_seconds * 1000))}")


@asynccontextmanager
async def ended_after(connection: AsyncConnection, seconds: float) -> AsyncIterator[None]:
    """Cut the connection off where the block takes longer: what waits for an answer in it gets an error at once.

    For a server that does not even keep its own limits: stopped, swapping, behind a network that swallows.
    """
    driver: Any = (await connection.get_raw_connection()).driver_connection
    end = asyncio.get_running_loop().call_later(seconds, driver.terminate)
    try:
        yield
    finally:
        end.cancel()


async def end_bounded(connection: AsyncConnection) -> None:
    """End the transaction, whether it failed or not; one that is lost with its connection is at an end already.

    It changed nothing, and counts as no failure: who watches the rollbacks of a database shall not see its watchers.
    """
    with suppress(Exception):
        await _script(connection, "COMMIT")


async def _script(connection: AsyncConnection, statements: str) -> None:
    # Several statements in one message: SQLAlchemy would prepare them, which takes one only.
    driver: Any = (await connection.get_raw_connection()).driver_connection
    await driver.execute(statements)
