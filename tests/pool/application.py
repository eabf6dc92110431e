"""An application with the shared engine, as a process of its own: it leaks its connections, or is busy on them."""

from __future__ import annotations

import asyncio
import os
import sys

from sqlalchemy import text

from dbctl.database import Database, open_database
from dbctl.database.conninfo import parse_conninfo
from dbctl.settings import DatabaseSettings, PoolSettings


async def leak(database: Database, connections: int) -> None:
    """Sessions that nobody closes, and work on the rest."""
    kept = [database.sessions() for _ in range(connections)]
    for session in kept:
        await session.scalar(text("SELECT 'a secret' AS forgotten"))
    print("ready", flush=True)
    await asyncio.sleep(600)


async def work(database: Database, connections: int) -> None:
    """So many tasks that never rest, in transactions of 10 statements."""

    async def toil(pause: float, statements: int) -> None:
        async with database.session() as session:
            for _ in range(statements):
                await session.execute(text("SELECT pg_sleep(:pause)"), {"pause": pause})

    async def forever() -> None:
        while True:
            await toil(0.05, 10)

    await asyncio.gather(*(toil(0, 1) for _ in range(connections)))
    print("ready", flush=True)
    await asyncio.gather(*(forever() for _ in range(connections)))


async def main(mode: str, connections: int) -> None:
    """One of the two, until this process is killed."""
    conninfo = parse_conninfo(os.environ["DATABASE_URL"], environ={})
    pool = PoolSettings(size=5, max_overflow=connections)
    async with open_database(conninfo, DatabaseSettings(), pool, application_name="web") as database:
        await {"leak": leak, "work": work}[mode](database, connections)


asyncio.run(main(sys.argv[1], int(sys.argv[2])))
