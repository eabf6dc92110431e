"""The databases that revisions are traced in: on a server of ours, or in a corner of one that was named."""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from sqlalchemy import Connection, Engine, NullPool, create_engine, text

from dbctl.database import ConnInfo
from dbctl.database.errors import sqlstate, translated
from dbctl.errors import Refused, Unreachable
from dbctl.migrate.trace.server import trace_server
from dbctl.postgres.identifiers import quote_identifier
from dbctl.postgres.scratch import ScratchServer

OBSERVER = "dbctl observer"
_NAMED = {"application_name": OBSERVER}
_MAIN = "scratch"


class Scratch:
    """A scratch server and the databases that we made on it, one for each engine of the project.

    ``server`` is None where it is somebody else's (``--scratch-url``); ``major`` is what it runs; ``notes``
    say what differs from what was asked for. ``skipped`` are the revisions that failed here and were only
    stamped, and why: what comes after them may fail for that reason.
    """

    def __init__(
        self, maintenance: ConnInfo, major: int, server: ScratchServer | None, *, notes: tuple[str, ...] = ()
    ) -> None:
        self.major = major
        self.server = server
        self.notes = notes
        self.skipped: dict[str, str] = {}
        self._maintenance = maintenance
        # On our own server a fixed name, so that a copy of its data folder is found again.
        self.prefix = _MAIN if server else f"dbctl_scratch_{secrets.token_hex(6)}"
        self._made: list[str] = []
        self._copied: set[str] = set()
        self._observers: dict[str, Engine] = {}
        self._started = ""

    def check(self, connection: Connection) -> None:
        """Raises Refused for a connection that is not in one of our databases (pg_postmaster_start_time).

        A driver that connects is watched; a pool may give one that was opened before, for another purpose.
        """
        if not self._started:
            with self.observer(self.address.database).connect() as observer:
                self._started = str(observer.scalar(text(_STARTED)))
        database, started = connection.execute(text(_HERE)).one()
        if database not in self._made or started != self._started:
            raise Refused(
                "env.py leads away from scratch",
                why=f"it took a connection to {database} that was opened before",
                hint='let env.py use config.attributes["connection"] where it is given, or run with --isolated',
            )

    @property
    def address(self) -> ConnInfo:
        """The database of a project with one engine, and the first one of others."""
        return self.database(0)

    def database(self, number: int) -> ConnInfo:
        """The ``number``-th database; made when it is first asked for."""
        name = f"{self.prefix}_{number}" if number else self.prefix
        if name not in self._made:
            if not self._exists(name):
                self._create(name)
            self._made.append(name)
        return self._maintenance.with_database(name)

    @property
    def databases(self) -> tuple[ConnInfo, ...]:
        """Those that were asked for so far."""
        return tuple(self._maintenance.with_database(name) for name in self._made)

    def observer(self, database: str) -> Engine:
        """An engine for second sessions in that database; it is the same one at each call."""
        if database not in self._observers:
            address = self._maintenance.with_database(database)
            self._observers[database] = create_engine(address.psycopg2_url(), connect_args=_NAMED)
        return self._observers[database]

    def is_empty(self, database: str) -> bool:
        """Whether nobody made a table or a type there yet (pg_class, pg_type)."""
        with self.observer(database).connect() as connection:
            return not connection.scalar(text(_ANYTHING))

    def keep(self, database: str) -> None:
        """Remember the database as it is now, for `reset`. Whoever is connected is thrown out."""
        self._disconnect(database)
        with _engine(self._maintenance).connect() as connection:
            connection.execute(text(_TERMINATE), {"database": database})
        self._run(f"DROP DATABASE IF EXISTS {quote_identifier(_kept(database))}")
        self._create(_kept(database), template=database)
        self._copied.add(database)

    def reset(self, database: str) -> None:
        """Make the database again: as it was kept, or empty. Whoever is connected is thrown out."""
        self._disconnect(database)
        self._run(f"DROP DATABASE IF EXISTS {quote_identifier(database)} WITH (FORCE)")
        self._create(database, template=_kept(database) if database in self._copied else None)

    def make_role(self, error: BaseException) -> bool:
        """Make the role that an env.py wants to be (SET ROLE) and that is not here; False: it is not that.

        It may do everything, as the one who connects, and is none of somebody else's server.
        """
        found = _NO_ROLE.search(str(error)) if sqlstate(error) == _INVALID_PARAMETER else None
        if found is None or self.server is None:
            return False
        self._run(f"CREATE ROLE {quote_identifier(found['name'])} NOLOGIN SUPERUSER")
        self.notes += (f"env.py takes the role {found['name']}, which was made on scratch",)
        return True

    def cancel_statements(self) -> None:
        """Cancel what the project's sessions run in our databases (pg_stat_activity, pg_cancel_backend)."""
        with self.observer(self._made[0]).begin() as connection:
            connection.execute(text(_CANCEL), {"databases": self._made, "observer": OBSERVER})

    def close(self) -> None:
        """Let go of the server; on somebody else's, drop what we made."""
        for database in tuple(self._observers):
            self._disconnect(database)
        if self.server is None:
            for name in (made for database in self._made for made in (database, _kept(database))):
                self._run(f"DROP DATABASE IF EXISTS {quote_identifier(name)} WITH (FORCE)")

    def _create(self, name: str, template: str | None = None) -> None:
        # Else from template1: on somebody else's server it may hold what their revisions expect.
        made_of = f" TEMPLATE {quote_identifier(template)}" if template else ""
        self._run(f"CREATE DATABASE {quote_identifier(name)}{made_of}")
        if self.server is None:
            for setting in (
                "enable_seqscan = off",
                "jit = off",
                "timezone = 'UTC'",
                "synchronous_commit = off",
            ):
                self._run(f"ALTER DATABASE {quote_identifier(name)} SET {setting}")

    def _exists(self, name: str) -> bool:
        with _engine(self._maintenance).connect() as connection:
            found = connection.scalar(text("SELECT 1 FROM pg_database WHERE datname = :name"), {"name": name})
        return found is not None

    def _run(self, statement: str) -> None:
        with (
            translated(self._maintenance, connecting=True),
            _engine(self._maintenance).connect() as connection,
        ):
            connection.exec_driver_sql(statement.replace("%", "%%"))

    def _disconnect(self, database: str) -> None:
        if engine := self._observers.get(database):
            engine.dispose()


_ANOTHER_SERVER = "see to the address given by --scratch-url; without it a server of our own is started"
_NO_ROLE = re.compile(r'role "(?P<name>.+)" does not exist')
_INVALID_PARAMETER = "22023"
_STARTED = "SELECT CAST(pg_postmaster_start_time() AS text)"
_HERE = "SELECT current_database(), CAST(pg_postmaster_start_time() AS text)"
_ANYTHING = """
SELECT EXISTS (SELECT FROM pg_class WHERE oid >= 16384) OR EXISTS (SELECT FROM pg_type WHERE oid >= 16384)
"""
_SERVER = """
SELECT current_setting('server_version_num'), rolsuper FROM pg_roles WHERE rolname = current_user
"""
_TERMINATE = """
SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = :database AND backend_type = 'client backend'
"""
_CANCEL = """
SELECT pg_cancel_backend(pid) FROM pg_stat_activity
 WHERE datname = ANY(:databases) AND application_name <> :observer AND state <> 'idle'
"""


@contextmanager
def made_scratch(
    major: int | None = None, *, template: Path | None = None, url: ConnInfo | None = None
) -> Iterator[Scratch]:
    """Scratch for the length of a ``with``: a server of ours of that major or the nearest there is, or ``url``'s.

    ``template`` is the data folder of an earlier scratch server. On the server of ``url``, where the role is a
    superuser, our databases have random names and are dropped at the end. Blocks. Raises ToolMissing, Refused.
    """
    with ExitStack() as stack:
        if url is None:
            server, notes = stack.enter_context(trace_server(major, template=template))
            yield stack.enter_context(scratch_on(server, notes))
        else:
            scratch = Scratch(url, _server_major(url), None, notes=(f"traced on {url.place}",))
            stack.callback(scratch.close)
            yield scratch


@contextmanager
def scratch_on(server: ScratchServer, notes: tuple[str, ...] = ()) -> Iterator[Scratch]:
    """Scratch on a server of ours that runs already."""
    scratch = Scratch(ConnInfo(server.params), server.major, server, notes=notes)
    try:
        yield scratch
    finally:
        scratch.close()


def _server_major(url: ConnInfo) -> int:
    try:
        with translated(url, connecting=True), _engine(url).connect() as connection:
            version, is_superuser = connection.exec_driver_sql(_SERVER).one()
    except Unreachable as error:
        # The settings have no part in this address.
        error.hint = _ANOTHER_SERVER
        raise
    if not is_superuser:
        raise Refused(
            f"role {url.role} can't trace on {url.place}",
            why="event triggers, by which hidden statements are seen, want a superuser",
            hint="name a superuser of a server that nobody else needs, such as a container's",
        )
    return int(version) // 10000


def _engine(address: ConnInfo) -> Engine:
    return create_engine(
        address.psycopg2_url(), poolclass=NullPool, isolation_level="AUTOCOMMIT", connect_args=_NAMED
    )


def _kept(database: str) -> str:
    return f"{database}_kept"
