"""One scratch database under a run: its recorder, its synthetic rows, and the project's engines."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from weakref import WeakSet

from sqlalchemy import Connection, Engine, event
from sqlalchemy.exc import SQLAlchemyError

from dbctl.migrate.trace.model import Statement
from dbctl.migrate.trace.recorder import Recorder
from dbctl.postgres.catalog.publications import read_keyless, read_publishing


class Engines:
    """The project's engines, whoever makes them, and how many commits they made: all of the process but ours."""

    def __init__(self, ours: Iterable[Engine] = ()) -> None:
        self.commits = 0
        self.ours = set(ours)
        self._used: WeakSet[Engine] = WeakSet()

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Listen to every engine."""
        listeners = {"engine_connect": self._connected, "commit": self._committed}
        for name, listener in listeners.items():
            event.listen(Engine, name, listener)
        try:
            yield
        finally:
            for name, listener in listeners.items():
                event.remove(Engine, name, listener)

    def forget_connections(self) -> None:
        """Let their pools be empty, for the time when all connections are thrown out of a database.

        Nothing is closed: an asynchronous driver's connection belongs to a loop that is gone.
        """
        for engine in self._used:
            engine.dispose(close=False)

    def _connected(self, connection: Connection) -> None:
        if connection.engine not in self.ours:
            self._used.add(connection.engine)

    def _committed(self, connection: Connection) -> None:
        self.commits += connection.engine not in self.ours


@dataclass(slots=True)
class Ground:
    """A scratch database. ``began_empty``: it can be made again by a replay alone; ``kept``: or from a copy.

    ``stale`` says that tables may be there that were never given rows, or lost them.
    """

    database: str
    recorder: Recorder
    engines: Engines
    rows: bool
    began_empty: bool
    kept: bool = False
    stale: bool = True
    seeded: frozenset[int] = frozenset()
    publishing: Mapping[str, str] | None = None

    @property
    def has_rows(self) -> bool:
        """Whether synthetic rows are there now."""
        return bool(self.seeded)

    @property
    def should_be_kept(self) -> bool:
        """Whether a copy is the only way back from a revision that is half applied."""
        return self.rows and not self.began_empty and not self.kept

    def fill(self, connection: Connection) -> tuple[str, ...]:
        """Give rows to the tables that have none, and commit; returns what could not be filled, and why."""
        from dbctl.migrate.rows import seed, tables_with

        if not (self.rows and self.stale):
            return ()
        self.stale = False
        try:
            made = seed(connection)
            if not (self.began_empty or self.seeded):
                # A template brought rows of an earlier run.
                self.seeded = tables_with(connection, "seeded")
            commit(connection)
        except SQLAlchemyError as error:
            roll_back(connection)
            return (f"no rows could be made: {str(error).partition(chr(10))[0]}",)
        self.seeded |= made.tables
        return made.notes

    def empty(self, connection: Connection) -> None:
        """Remove the rows again, and commit."""
        from dbctl.migrate.rows import unseed

        unseed(connection)
        commit(connection)
        self.forget_rows()

    def forget_rows(self) -> None:
        """Note that the rows are gone: the database was made again."""
        self.seeded, self.stale = frozenset(), True

    def noticed(self, statements: tuple[Statement, ...]) -> None:
        """Take note of what may have left a table without rows: a new index is none."""
        self.stale = self.stale or any(
            s.rewritten
            or s.created.difference(index.oid for index in s.built)
            or any(written.deleted for written in s.written)
            for s in statements
        )

    def publications(self, observer: Engine, path: Path) -> tuple[Mapping[str, str], tuple[str, ...]]:
        """What a trace says of publications: asked for only where a revision's file speaks of them, or did so."""
        speaks = b"publication" in path.read_bytes().lower()
        publishing = self.publishing
        keyless: tuple[str, ...] = ()
        if publishing is None or speaks:
            with observer.connect() as connection:
                publishing = read_publishing(connection)
                keyless = read_keyless(connection) if speaks else ()
        self.publishing = None if speaks else publishing
        return publishing, keyless


def commit(connection: Connection) -> None:
    """Commit beneath SQLAlchemy, whose own transaction may be env.py's and goes on."""
    connection.connection.commit()


def roll_back(connection: Connection) -> bool:
    """Roll back beneath SQLAlchemy; False: the connection is gone, and with it the transaction."""
    if connection.closed or connection.invalidated:
        return False
    try:
        connection.connection.rollback()
    except Exception:  # noqa: BLE001 - each driver has its own word for a connection that is gone
        return False
    return True
