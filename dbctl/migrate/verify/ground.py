"""The scratch databases under a verify: what is in them, and the way back to where they were."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from sqlalchemy import Connection
from sqlalchemy.exc import SQLAlchemyError

from dbctl.migrate.model import Direction
from dbctl.migrate.rows import seed, unseed
from dbctl.migrate.trace.ground import roll_back
from dbctl.migrate.trace.scratch import Scratch
from dbctl.migrate.verify.content import Content, read_content
from dbctl.migrate.verify.steps import Steps
from dbctl.postgres.catalog.objects import Reader, Snapshot
from dbctl.postgres.identifiers import quote_identifier

# Fewer are run again as fast as a database is copied.
_WORTH_KEEPING = 10
_ROLES = "SELECT rolname FROM pg_roles"
Catalogs = Mapping[str, Snapshot]
Contents = Mapping[str, Content]


@dataclass(slots=True)
class Ground:
    """One database for each engine of the project. ``applied`` are the revisions of the range that are there.

    ``stamped`` are those of them that failed and are there by name only. What was ``kept`` is a copy with the
    first so many of them.
    """

    scratch: Scratch
    steps: Steps
    rows: bool
    applied: list[str] = field(default_factory=list)
    stamped: set[str] = field(default_factory=set)
    notes: list[str] = field(default_factory=list)
    kept: int = 0
    _readers: dict[str, tuple[Connection, Reader]] = field(default_factory=dict)
    _roles: frozenset[str] = frozenset()

    def catalogs(self) -> Catalogs:
        """All that is made in each database; the version table left out."""
        found = {}
        for address in self.scratch.databases:
            read = self._reader(address.database).read()
            ours = {key for key in read.items if key[1].rpartition(".")[2] == self.steps.version_table}
            found[address.database] = read.without(ours)
        return found

    def contents(self) -> Contents:
        """The rows in each database; none where no rows are wanted."""
        if not self.rows:
            return {}
        names = [address.database for address in self.scratch.databases]
        found = {}
        for name in names:
            self._reader(name)
            found[name] = read_content(self._readers[name][0], self.steps.version_table)
        return found

    def fill(self) -> bool:
        """Put rows into the tables that have none; whether there were any."""
        filled = False
        if not self.rows:
            return filled
        for address in self.scratch.databases:
            self._reader(address.database)
            connection = self._readers[address.database][0]
            try:
                filled |= bool(seed(connection).tables)
                connection.commit()
            except SQLAlchemyError as error:
                roll_back(connection)
                self.notes.append(f"no rows could be made: {str(error).partition(chr(10))[0]}")
        return filled

    def empty(self) -> None:
        """Remove the rows that we put there."""
        for address in self.scratch.databases:
            self._reader(address.database)
            connection = self._readers[address.database][0]
            unseed(connection)
            connection.commit()

    def keep(self) -> None:
        """Remember all as it is now, without our rows, for `rebuild`."""
        self.empty()
        self._roles = self._all_roles()
        self._let_go()
        for address in self.scratch.databases:
            self.scratch.keep(address.database)
        self.kept = len(self.applied)

    def rebuild(self) -> None:
        """Make the databases again as they are after the revisions ``applied``, and now and then keep that."""
        if self.scratch.server is not None:
            made_since = self._all_roles() - self._roles if self._roles else frozenset()
        else:
            made_since = frozenset()
        self._let_go()
        for address in self.scratch.databases:
            self.scratch.reset(address.database)
        self._drop(made_since)
        if missing := self.applied[self.kept :]:
            self.steps.run(missing, Direction.UP, only_stamped=self.stamped)
        if len(missing) > _WORTH_KEEPING:
            self.keep()

    def close(self) -> None:
        """Let go of our connections."""
        self._let_go()

    def _reader(self, database: str) -> Reader:
        if database not in self._readers:
            connection = self.scratch.observer(database).connect()
            self._readers[database] = connection, Reader(connection)
        return self._readers[database][1]

    def _let_go(self) -> None:
        for connection, _ in self._readers.values():
            with suppress(SQLAlchemyError):
                connection.close()
        self._readers.clear()
        self.steps.engines.forget_connections()

    def _all_roles(self) -> frozenset[str]:
        database = self.scratch.databases[0].database
        self._reader(database)
        connection = self._readers[database][0]
        names = frozenset(name for (name,) in connection.exec_driver_sql(_ROLES))
        connection.rollback()
        return names

    def _drop(self, roles: Sequence[str] | frozenset[str]) -> None:
        """Roles are the server's: of those that were made since, nothing is left but their names."""
        database = self.scratch.databases[0].database
        self._reader(database)
        connection = self._readers[database][0]
        for role in roles:
            connection.exec_driver_sql(f"DROP ROLE IF EXISTS {quote_identifier(role)}".replace("%", "%%"))
        connection.commit()
