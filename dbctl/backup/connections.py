"""Ways to the server: beside the database that is replaced, and patient enough for hours of work."""

from __future__ import annotations

import shlex
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

from sqlalchemy import event

from dbctl.backup.alongside import breakable
from dbctl.database import Database, Target
from dbctl.errors import DbctlError, Failed, NoSuchDatabase, WrongPassword
from dbctl.postgres.binaries import find_client
from dbctl.postgres.locks import advisory_lock

_CANDIDATES = ("postgres", "template1")


@asynccontextmanager
async def patient(target: Target) -> AsyncIterator[Database]:
    """The target's Database without time limits of its own: backup.timeout is the one that counts.

    The session that holds a backup's snapshot is idle in transaction meanwhile: by its name others know what for.
    """
    limits = {"statement_timeout": 0, "command_timeout": 0, "idle_in_transaction_timeout": 0}
    async with target.open(application_name="dbctl backup", **limits) as database:
        event.listen(database.engine.sync_engine, "connect", _breakable)
        yield database


def _breakable(connection: Any, _record: object) -> None:
    breakable(connection.driver_connection.terminate)


def at(target: Target, database: str) -> Target:
    """The same server and role, another database."""
    return replace(target, conninfo=target.conninfo.with_database(database))


async def find_maintenance(target: Target) -> Target:
    """A database from which ``target`` can be renamed: ``postgres``, else ``template1``."""
    refusals: list[DbctlError] = []
    for name in _CANDIDATES:
        maintenance = at(target, name)
        try:
            if name != target.conninfo.database:
                async with maintenance.open() as database, database.connect():
                    return maintenance
        except (NoSuchDatabase, WrongPassword, Failed) as error:
            refusals.append(error)
    raise refusals[0]


async def run_ddl(database: Database, *statements: str) -> None:
    """Run statements as they are, each in a transaction of its own."""
    async with database.connect() as connection:
        for statement in statements:
            await connection.exec_driver_sql(statement)


@asynccontextmanager
async def only_restore(maintenance: Target, name: str) -> AsyncIterator[None]:
    """Be the only one that restores the database ``name``, or takes a restore of it back. Raises Busy."""
    async with (
        patient(maintenance) as database,
        database.connect() as connection,
        advisory_lock(connection, f"dbctl restore {name}"),
    ):
        yield


def psql_command(maintenance: Target, *statements: str) -> str:
    """A command for a shell that runs these statements on the server."""
    where = maintenance.conninfo
    psql = "psql" if shutil.which("psql") else str(find_client("psql", 0))
    words = [psql, "-h", where.host, "-p", where.port, "-U", where.role, "-d", where.database]
    return shlex.join([*words, *(word for one in statements for word in ("-c", one))])
