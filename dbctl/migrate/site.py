"""A project and the database it is meant for, and the proof that env.py leads there."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass

from sqlalchemy import Connection, text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection

from dbctl.database import ConnInfo, Database
from dbctl.errors import Refused
from dbctl.migrate.patience import Patience
from dbctl.migrate.project import Project

_KEY = """
SELECT pg_backend_pid(), current_database(), coalesce(host(inet_server_addr()), 'a local socket'),
       EXISTS (
           SELECT FROM pg_locks
           WHERE locktype = 'advisory' AND granted AND objsubid = 1
           AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
           AND (CAST(classid AS bigint) << 32) | CAST(objid AS bigint) = :key
       )
"""


@dataclass(frozen=True, slots=True)
class Site:
    """An Alembic project, and the database that a command is about.

    ``address`` holds the password, for env.py's own connections; ``database`` is our connection to the same.
    """

    project: Project
    database: Database
    address: ConnInfo
    lock_timeout_seconds: float = 2
    retry_budget_seconds: float = 0

    @property
    def patience(self) -> Patience:
        """How long its statements may wait, where nobody says more."""
        return Patience(
            lock_seconds=self.lock_timeout_seconds, retry_budget_seconds=self.retry_budget_seconds
        )


@dataclass(frozen=True, slots=True)
class Beacon:
    """A lock that only we hold, by which a connection can tell that it is in our database (pg_locks)."""

    key: int
    address: ConnInfo

    def check(self, connection: Connection) -> None:
        """Raises Refused if env.py's connection is in another database, or on another server."""
        row = connection.execute(text(_KEY), {"key": self.key}).one()
        if not row[3]:
            raise Refused(
                "env.py leads to another database",
                why=f"dbctl means {self.address}, env.py connected to {row[1]} on {row[2]}",
                hint='let env.py take config.get_main_option("sqlalchemy.url"), or pass what it reads by -x',
            )


@asynccontextmanager
async def beacon(connection: AsyncConnection, address: ConnInfo) -> AsyncIterator[Beacon]:
    """Hold a lock of a random key on ``connection``, which is in AUTOCOMMIT."""
    key = {"key": secrets.randbits(62)}
    await connection.execute(text("SELECT pg_advisory_lock(:key)"), key)
    try:
        yield Beacon(key["key"], address)
    finally:
        with suppress(SQLAlchemyError):
            await connection.execute(text("SELECT pg_advisory_unlock(:key)"), key)
