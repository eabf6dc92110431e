"""Many rows into an empty table: without its indexes, which are built when the rows are there."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from typing import Any

from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession

from dbctl.database.errors import sqlstate
from dbctl.errors import ConnectionLost

Row = tuple[Any, ...]
# Fewer rows are not worth to lock the table for.
_WORTH_ROWS = 10_000
_LOCK_NOT_AVAILABLE = "55P03"
# Dropping and building asks for the owner, and for nobody in the way: it is a short cut, not worth to wait for.
_MAY = text(
    """
    SELECT pg_has_role(relowner, 'USAGE') AND NOT EXISTS (SELECT FROM users)
    FROM pg_class WHERE oid = CAST('users' AS regclass)
    """
)
_LOCK = text("LOCK TABLE users IN ACCESS EXCLUSIVE MODE NOWAIT")
# Those alone that their definition says all about: no constraint's, none with a comment or a tablespace of its own.
_INDEXES = text(
    """
    SELECT quote_ident(relations.relname) AS name, pg_get_indexdef(indexes.indexrelid) AS definition
    FROM pg_index AS indexes
    JOIN pg_class AS relations ON relations.oid = indexes.indexrelid
    WHERE indexes.indrelid = CAST('users' AS regclass) AND indexes.indisvalid
    AND relations.reltablespace = 0 AND NOT indexes.indisclustered AND NOT indexes.indisreplident
    AND obj_description(indexes.indexrelid, 'pg_class') IS NULL
    AND NOT EXISTS (SELECT FROM pg_constraint WHERE conindid = indexes.indexrelid)
    ORDER BY 1
    """
)
_SCHEMA = text(
    "SELECT quote_ident(nspname) FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace"
    " WHERE pg_class.oid = CAST('users' AS regclass)"
)
_ROOM = text("SET LOCAL maintenance_work_mem = '256MB'")


async def copy_rows(
    session: AsyncSession, table: str, chunks: AsyncIterator[Iterable[Row]], columns: Sequence[str]
) -> None:
    """COPY through the session's own asyncpg connection, in the transaction that it has begun. Raises ConnectionLost."""
    raw = await (await session.connection()).get_raw_connection()
    driver: Any = raw.driver_connection
    await driver.copy_records_to_table(table, records=_while_open(driver, chunks), columns=columns)


async def _while_open(driver: Any, chunks: AsyncIterator[Iterable[Row]]) -> AsyncIterator[Row]:
    """Left to itself, asyncpg writes all that is left to a connection that is gone."""
    async for chunk in chunks:
        # Nothing else lets the event loop hear of it, or of Ctrl-C, while the server takes rows as fast as they come.
        await asyncio.sleep(0)
        if driver.is_closed():
            raise ConnectionLost(
                "connection lost while rows were sent", hint="see whether the server is up: `dbctl health`"
            )
        for row in chunk:
            yield row


@asynccontextmanager
async def indexes_built_afterwards(session: AsyncSession, rows: int) -> AsyncIterator[bool]:
    """The block adds ``rows`` to an empty ``users`` without its indexes; they are built at its end, in the same transaction.

    Gives False, and leaves all as it is, where they are few, or the table has rows, is somebody else's or in use.
    Nobody else can read or write the table in the meantime.
    """
    if rows < _WORTH_ROWS or not await _held_empty(session):
        yield False
        return
    connection = await session.connection()
    schema = await session.scalar(_SCHEMA)
    indexes = (await session.execute(_INDEXES)).all()
    for name, _ in indexes:
        await _run(connection, f"DROP INDEX {schema}.{name}")
    yield True
    await session.execute(_ROOM)
    for _, definition in indexes:
        await _run(connection, definition)


async def _held_empty(session: AsyncSession) -> bool:
    if not await session.scalar(_MAY):
        return False
    try:
        async with session.begin_nested():
            await session.execute(_LOCK)
    except DBAPIError as error:
        if sqlstate(error) != _LOCK_NOT_AVAILABLE:
            raise
        return False
    # Somebody may have added one before the lock.
    return bool(await session.scalar(_MAY))


async def _run(connection: AsyncConnection, statement: str) -> None:
    # The catalog's own words, in which a colon is no parameter.
    await connection.exec_driver_sql(statement)
