"""Whether a connection from the pool is still alive, asked in one message.

SQLAlchemy asks asyncpg by a prepared statement, and must open and end a transaction around it for the sake of
poolers: four messages, each waiting for the one before. A simple query needs neither, wherever it goes.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy.ext.asyncio import AsyncEngine

_ASKED = "SELECT 1"


def ping_in_one_message(engine: AsyncEngine) -> None:
    """Make ``pool.pre_ping`` of this engine cost one round trip."""
    engine.sync_engine.dialect.do_ping = _is_alive  # type: ignore[method-assign, assignment]


def _is_alive(connection: Any) -> bool:
    try:
        connection.run_async(lambda driver: driver.execute(_ASKED))
    except Exception:  # noqa: BLE001 - whatever is the matter with it, the pool makes a new one, or says why it can't
        return False
    return True
