"""Lets a restored database take another's name: one transaction, with the sessions kept out meanwhile."""

from __future__ import annotations

import asyncio

from sqlalchemy import text

from dbctl.backup.alongside import alongside
from dbctl.backup.connections import patient
from dbctl.backup.new_database import literal
from dbctl.database import Database, Target
from dbctl.postgres.identifiers import quote_identifier

# What the names of databases that went aside say: replaced by a restore, or restored and taken back.
KEPT, UNDONE = "before", "undone"
_POLL_SECONDS = 0.1
_END_SESSIONS = """
    SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datid = ANY (CAST(:oids AS oid[])) AND pid <> pg_backend_pid()
"""
_OIDS = "SELECT oid FROM pg_database WHERE datname = ANY (CAST(:names AS text[]))"
_COMMENT = "SELECT shobj_description(oid, 'pg_database') FROM pg_database WHERE datname = :name"


async def go_live(maintenance: Target, fresh: str, name: str, kept: str | None) -> None:
    """Rename ``fresh`` to ``name``, and what had that name to ``kept``: both or, on any failure, neither.

    ALTER DATABASE … RENAME locks the name first, so that nobody new gets in, and then waits 5 seconds for
    those inside, whom a second connection ends. Unlike ALLOW_CONNECTIONS false this leaves nothing to take
    back if we are killed. Raises Busy for who stays (a prepared transaction, say).
    """
    busy = [name, fresh]
    async with (
        patient(maintenance) as fence,
        patient(maintenance) as database,
        alongside(_end_sessions(fence, busy)),
    ):
        await _rename(database, fresh, name, kept)


async def _end_sessions(fence: Database, names: list[str]) -> None:
    async with fence.connect() as connection:
        # By oid: once the names are swapped, sessions under this name are the new database's.
        oids = list(await connection.scalars(text(_OIDS), {"names": names}))
        while True:
            await connection.execute(text(_END_SESSIONS), {"oids": oids})
            await asyncio.sleep(_POLL_SECONDS)


async def _rename(database: Database, fresh: str, name: str, kept: str | None) -> None:
    live = quote_identifier(name)
    async with database.session() as session:
        comment = await session.scalar(text(_COMMENT), {"name": name})
        connection = await session.connection()
        if kept:
            await connection.exec_driver_sql(f"ALTER DATABASE {live} RENAME TO {quote_identifier(kept)}")
        await connection.exec_driver_sql(f"ALTER DATABASE {quote_identifier(fresh)} RENAME TO {live}")
        if comment:
            await connection.exec_driver_sql(f"COMMENT ON DATABASE {live} IS {literal(comment)}")
