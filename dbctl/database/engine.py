"""The one async engine of an environment: its pool, its time limits, its sessions."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy.ext.asyncio import (
    AsyncConnection,
    AsyncEngine,
    AsyncSession,
    async_sessionmaker,
    create_async_engine,
)

from dbctl.database.conninfo import ConnInfo
from dbctl.database.errors import is_transient, translated
from dbctl.database.password import PasswordSource
from dbctl.database.ping import ping_in_one_message
from dbctl.database.statements import log_slow, name_requests
from dbctl.postgres.tasks import surely
from dbctl.settings import DatabaseSettings, PoolSettings

if TYPE_CHECKING:
    import asyncpg

CONNECT_ATTEMPTS = 3


@dataclass(frozen=True, slots=True)
class Database:
    """An environment's database: its engine, and the ways to work with it.

    ``session()`` commits when its block ends well and rolls back when it doesn't; ``connect()`` gives a
    connection in autocommit, for what must not sit in a transaction; ``bare()`` one for who writes BEGIN itself.
    All raise dbctl's errors.
    """

    engine: AsyncEngine
    conninfo: ConnInfo
    sessions: async_sessionmaker[AsyncSession]
    pooler: str | None = None

    @asynccontextmanager
    async def session(self) -> AsyncIterator[AsyncSession]:
        """A session in one transaction."""
        with translated(self.conninfo):
            async with self.sessions() as session, session.begin():
                yield session

    @asynccontextmanager
    async def connect(self) -> AsyncIterator[AsyncConnection]:
        """A connection whose every statement commits by itself."""
        with translated(self.conninfo):
            async with self.engine.connect() as connection:
                if self.pooler:
                    from dbctl.database.transaction_pooling import commit_each_statement

                    commit_each_statement(connection)
                    yield connection
                else:
                    yield await connection.execution_options(isolation_level="AUTOCOMMIT")

    @asynccontextmanager
    async def bare(self) -> AsyncIterator[AsyncConnection]:
        """A connection that begins and ends no transaction of its own: see ``bounded``."""
        with translated(self.conninfo):
            async with self.engine.connect() as connection:
                yield await connection.execution_options(isolation_level="AUTOCOMMIT")


@asynccontextmanager
async def open_database(
    conninfo: ConnInfo,
    settings: DatabaseSettings,
    pool: PoolSettings,
    *,
    application_name: str = "dbctl",
    password: PasswordSource | None = None,
) -> AsyncIterator[Database]:
    """The environment's Database; its engine is disposed on every way out, cancellation too."""
    database = make_database(conninfo, settings, pool, application_name=application_name, password=password)
    try:
        yield database
    finally:
        await surely(database.engine.dispose())


def make_database(
    conninfo: ConnInfo,
    settings: DatabaseSettings,
    pool: PoolSettings,
    *,
    application_name: str,
    password: PasswordSource | None = None,
) -> Database:
    """An engine that connects when it is first used. The caller disposes it."""
    limits = _limits(settings)
    at_start = {} if pool.pooler else limits
    arguments = _connect_arguments(conninfo, settings, application_name, at_start)
    if pool.pooler:
        from dbctl.database.transaction_pooling import pooled_connection_class

        arguments |= {"statement_cache_size": 0, "connection_class": pooled_connection_class(limits)}
    engine = create_async_engine(
        "postgresql+asyncpg://",
        connect_args={
            "async_creator_fn": _connector(conninfo, arguments, password),
            # SQLAlchemy keeps prepared statements of its own, beside the driver's.
            **({"prepared_statement_cache_size": 0} if pool.pooler else {}),
        },
        pool_size=pool.size,
        max_overflow=pool.max_overflow,
        pool_timeout=pool.timeout,
        pool_recycle=int(pool.recycle),
        pool_pre_ping=pool.pre_ping,
        pool_use_lifo=True,
        # A statement's values may be a password's hash; an error's text goes to logs.
        hide_parameters=True,
    )
    name_requests(engine.sync_engine)
    if settings.slow_query_seconds:
        log_slow(engine.sync_engine, settings.slow_query_seconds)
    ping_in_one_message(engine)
    return Database(engine, conninfo, async_sessionmaker(engine, expire_on_commit=False), pool.pooler)


def _limits(settings: DatabaseSettings) -> dict[str, str]:
    seconds = {
        "statement_timeout": settings.statement_timeout,
        "lock_timeout": settings.lock_timeout,
        "idle_in_transaction_session_timeout": settings.idle_in_transaction_timeout,
    }
    return {name: f"{value * 1000:.0f}ms" for name, value in seconds.items()}


def _connect_arguments(
    conninfo: ConnInfo, settings: DatabaseSettings, application_name: str, limits: dict[str, str]
) -> dict[str, Any]:
    return {
        **conninfo.asyncpg_arguments(),
        "timeout": float(conninfo.keywords.get("connect_timeout") or settings.connect_timeout) or None,
        "command_timeout": settings.command_timeout or None,
        "server_settings": {
            "application_name": application_name,
            **conninfo.server_settings(),
            # Last: a backup's patience must not end at somebody's PGOPTIONS.
            **limits,
        },
    }


def _connector(
    conninfo: ConnInfo, arguments: dict[str, Any], password: PasswordSource | None
) -> Callable[..., Awaitable[asyncpg.Connection]]:
    async def connect() -> asyncpg.Connection:
        import asyncpg

        secret = await password() if password else conninfo.password
        with translated(conninfo, connecting=True):
            # Not None: asyncpg would read the password file again, in its own way.
            return await _with_retries(
                lambda: asyncpg.connect(**arguments, password=secret or ""), arguments["timeout"]
            )

    return connect


async def _with_retries(connect: Callable[[], Awaitable[Any]], budget_seconds: float | None) -> Any:
    """Try again, with jitter, only what may pass by itself, and never beyond the budget."""
    deadline = time.monotonic() + (budget_seconds or 60)
    for attempt in range(1, CONNECT_ATTEMPTS + 1):
        try:
            return await connect()
        except Exception as error:
            pause = 0.1 * 3**attempt * random.uniform(0.5, 1)  # noqa: S311 - jitter, no secret
            last = attempt == CONNECT_ATTEMPTS or time.monotonic() + pause > deadline
            if last or not is_transient(error):
                raise
            await asyncio.sleep(pause)
    raise AssertionError
