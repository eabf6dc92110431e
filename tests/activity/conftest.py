"""Servers with prepared transactions and pg_stat_statements, and sessions that hold and wait."""

from __future__ import annotations

import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager, suppress

import psycopg2
import pytest
from sqlalchemy.ext.asyncio import AsyncConnection

from dbctl.activity.reading import connected
from dbctl.database import ConnInfo, open_database
from dbctl.postgres.binaries import find_servers
from dbctl.postgres.scratch import scratch_server
from dbctl.settings import DatabaseSettings, PoolSettings
from tests.fixtures.database import made_database, psycopg2_arguments

MAJORS = [one.major for one in find_servers()]
OPTIONS = {
    "max_prepared_transactions": "5",
    "shared_preload_libraries": "pg_stat_statements",
    "track_io_timing": "on",
    # A deadlock is looked at, and not ended, for as long as a test takes.
    "deadlock_timeout": "60s",
}
PATIENCE_SECONDS = 60


@pytest.fixture(scope="session", params=MAJORS)
def busy_server(request: pytest.FixtureRequest) -> Iterator[ConnInfo]:
    """One server of each major that is here."""
    with scratch_server(request.param, options=OPTIONS) as server:
        yield ConnInfo(server.params)


@pytest.fixture
def busy(busy_server: ConnInfo) -> Iterator[ConnInfo]:
    """A database of its own there."""
    with made_database(busy_server) as made:
        yield made


@pytest.fixture(scope="session")
def one_busy_server() -> Iterator[ConnInfo]:
    """One server, for what is the same on all."""
    with scratch_server(options=OPTIONS) as server:
        yield ConnInfo(server.params)


@pytest.fixture
def quick(one_busy_server: ConnInfo) -> Iterator[ConnInfo]:
    """A database of its own there."""
    with made_database(one_busy_server) as made:
        yield made


@asynccontextmanager
async def reading(conninfo: ConnInfo) -> AsyncIterator[AsyncConnection]:
    """The connection that the room's functions take."""
    settings = DatabaseSettings(lock_timeout=0.1)
    async with open_database(conninfo, settings, PoolSettings()) as database:
        async with connected(database) as connection:
            yield connection


class Connection(psycopg2.extensions.connection):  # type: ignore[misc]
    """One that still knows its pid when it is closed."""

    pid = 0


class Sessions:
    """Sessions with a transaction each: ``holds`` runs at once, ``waits`` in a thread until it is let through."""

    def __init__(self, conninfo: ConnInfo, stack: ExitStack) -> None:
        self._conninfo = conninfo
        self._stack = stack
        self._asking = self._connect("asking")
        self._asking.autocommit = True

    def holds(self, *statements: str, application: str = "holder"):
        """A connection whose transaction has run the statements."""
        connection = self._connect(application)
        for statement in statements:
            connection.cursor().execute(statement)
        return connection

    def waits(self, *statements: str, application: str = "waiter"):
        """A connection whose last statement waits for a lock."""
        connection = self.holds(*statements[:-1], application=application)
        self.goes_on(connection, statements[-1])
        return connection

    def goes_on(self, connection, statement: str) -> None:
        """Run a statement that waits for a lock; ends when it is seen to wait."""
        self.runs(connection, statement)
        pid = pid_of(connection)
        until(lambda: self.ask(f"SELECT count(*) FROM pg_lock_status() WHERE pid = {pid} AND NOT granted"))

    def runs(self, connection, statement: str) -> None:
        """Run a statement in a thread."""
        thread = threading.Thread(target=_run, args=(connection, statement), daemon=True)
        thread.start()
        self._stack.callback(thread.join, PATIENCE_SECONDS)

    def ask(self, question: str):
        """One value; on a connection that stands, as new ones may be kept out."""
        cursor = self._asking.cursor()
        cursor.execute(question)
        return cursor.fetchone()[0]

    def end_all(self) -> None:
        """End every other session of the database."""
        self.ask(
            "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_get_activity(NULL)"
            " WHERE datid = (SELECT datid FROM pg_stat_get_activity(pg_backend_pid()))"
            "   AND backend_type = 'client backend' AND pid <> pg_backend_pid()"
        )

    def _connect(self, application: str):
        arguments = psycopg2_arguments(self._conninfo)
        connection = psycopg2.connect(
            **arguments, application_name=application, connection_factory=Connection
        )
        connection.pid = connection.info.backend_pid
        self._stack.callback(connection.close)
        return connection


def _run(connection, statement: str) -> None:
    # Cancelled, terminated or let through: all of them end a test.
    with suppress(psycopg2.Error):
        connection.cursor().execute(statement)


@contextmanager
def sessions(conninfo: ConnInfo) -> Iterator[Sessions]:
    """Sessions that end with the block, whoever waits."""
    with ExitStack() as stack:
        made = Sessions(conninfo, stack)
        try:
            yield made
        finally:
            made.end_all()


def until(condition: Callable[[], bool]) -> None:
    """Wait for a condition; a busy machine is no failure."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        assert time.monotonic() < deadline, "did not come about"
        time.sleep(0.02)


def pid_of(connection):
    """The server's process of a connection, also of one that has ended."""
    return connection.pid
