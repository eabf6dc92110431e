"""What an engine does otherwise where PgBouncer gives each transaction another session of the server.

A prepared statement, a setting or a lock of a session would stay behind with somebody else. So nothing is
prepared under a name, every statement is in a transaction (to prepare and to run it are two messages, which
would else reach two sessions), and the time limits come with each BEGIN, in the same message: no round trip more.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import asyncpg
from sqlalchemy import Connection, event
from sqlalchemy.ext.asyncio import AsyncConnection


def pooled_connection_class(limits: Mapping[str, str]) -> type[asyncpg.Connection]:
    """A connection of asyncpg whose transactions begin with ``limits``, such as ``statement_timeout: 30000ms``.

    PgBouncer refuses them at the start of a session, where they would be somebody else's too.
    """
    settings = " ".join(f"SET LOCAL {name} = '{value}';" for name, value in limits.items())

    class PooledConnection(asyncpg.Connection):  # type: ignore[misc]
        __slots__ = ()

        async def execute(self, query: str, *args: Any, timeout: float | None = None) -> str:  # noqa: ASYNC109 - asyncpg's
            # How transactions begin, asyncpg's own ones and others; "BEGIN;" and what follows are one message.
            if query.startswith("BEGIN") and not args:
                begin, _, rest = query.partition(";")
                query = f"{begin}; {settings}{rest}"
            told: str = await super().execute(query, *args, timeout=timeout)
            return told

    return PooledConnection


def commit_each_statement(connection: AsyncConnection) -> None:
    """What autocommit is elsewhere: each statement in a transaction of its own, which ends with it."""
    sync = connection.sync_connection

    @event.listens_for(sync, "before_cursor_execute")
    def forget_a_failed_one(at_work: Connection, *_: Any) -> None:
        at_work.connection.rollback()

    @event.listens_for(sync, "after_cursor_execute")
    def commit(at_work: Connection, *_: Any) -> None:
        # The rows are here already: asyncpg fetches them all.
        at_work.connection.commit()
