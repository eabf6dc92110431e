"""Looks from outside at a statement that may not run in a transaction: it commits, and its locks are gone.

Before it starts, a session of ours takes a lock that it will wait for. While it waits, all that it holds and
wants stands in pg_locks; then our session lets go.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field

from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import SQLAlchemyError

from dbctl.migrate.trace.model import Lock
from dbctl.migrate.trace.names import Names
from dbctl.migrate.trace.observe import Changes
from dbctl.migrate.trace.session import Session
from dbctl.postgres.catalog.model import Relation
from dbctl.postgres.catalog.queries import FIRST_OID
from dbctl.postgres.identifiers import quote_identifier
from dbctl.postgres.lock_modes import LockMode
from dbctl.postgres.sql.operations import (
    Cluster,
    CreateIndex,
    DetachPartition,
    Drop,
    Name,
    Operation,
    Reindex,
    Vacuum,
)

# Whatever happens, nobody waits longer for us than this.
_LIMIT_SECONDS = 0.5
_PATIENCE = "SET LOCAL lock_timeout = '300ms'"
_POLL_SECONDS = 0.002
_JOIN_SECONDS = 5
_LOCKS = text(
    f"""
SELECT CASE WHEN locktype = 'relation' AND relation >= {FIRST_OID} THEN relation::int8 END, mode, granted
FROM pg_locks
WHERE pid = :pid AND (locktype = 'relation' OR NOT granted)
"""  # noqa: S608 - a number of ours
)


@dataclass(frozen=True, slots=True)
class Barrier:
    """A lock of ours that the statement waits for."""

    tables: tuple[Relation, ...]
    mode: str


@dataclass(slots=True)
class SecondSession:
    """``while_waiting`` are the modes by oid that the statement held or wanted when it stood still.

    ``passing`` are those that happened to be seen otherwise: which, is a matter of luck.
    """

    engine: Engine
    pid: int
    barriers: tuple[Barrier, ...]
    while_waiting: dict[int, set[LockMode]] = field(default_factory=dict)
    passing: dict[int, set[LockMode]] = field(default_factory=dict)
    _over: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None
    _resources: ExitStack = field(default_factory=ExitStack)
    _blockers: list[Connection] = field(default_factory=list)

    def start(self) -> None:
        """Put up the barriers and begin to look; a barrier that is not to be had is left out."""
        for barrier in self.barriers:
            blocker = self._resources.enter_context(self.engine.connect())
            with suppress(SQLAlchemyError):
                blocker.exec_driver_sql(_PATIENCE)
                blocker.exec_driver_sql(_lock(barrier).replace("%", "%%"))
                self._blockers.append(blocker)
        self._thread = threading.Thread(target=self._look, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """The statement is over."""
        self._over.set()
        if self._thread is not None:
            self._thread.join(_JOIN_SECONDS)
        self._resources.close()

    def locks(self, names: Names) -> Changes:
        """What was seen, on relations that were there before the revision."""
        changes = Changes()
        for oid, modes in (self.while_waiting or self.passing).items():
            known = names.get(oid)
            if known is not None and names.concerns(oid):
                changes.locks += [Lock(known.relation, mode) for mode in sorted(modes, reverse=True)]
        return changes

    def _look(self) -> None:
        give_up = time.monotonic() + _LIMIT_SECONDS
        # A server that is gone ends the statement too.
        with suppress(SQLAlchemyError), self.engine.connect() as connection:
            connection.execution_options(isolation_level="AUTOCOMMIT")
            while not self._over.wait(_POLL_SECONDS):
                if self._take_down(connection) or time.monotonic() > give_up:
                    self._release()
                    give_up = time.monotonic() + _LIMIT_SECONDS
        while self._blockers:
            self._release()

    def _take_down(self, connection: Connection) -> bool:
        """Note what the statement holds and wants; whether it waits."""
        found = connection.execute(_LOCKS, {"pid": self.pid}).all()
        waits = not all(granted for _, _, granted in found)
        modes = self.while_waiting if waits else self.passing
        for oid, mode, _ in found:
            if oid is not None:
                modes.setdefault(oid, set()).add(LockMode(mode))
        return waits

    def _release(self) -> None:
        if self._blockers:
            with suppress(SQLAlchemyError):
                self._blockers.pop(0).rollback()


def second_session(
    engine: Engine, session: Session, operations: Iterable[Operation], names: Names
) -> SecondSession:
    """Begin to look at the statement that the session is about to run."""
    found = (barrier for op in operations for barrier in _barriers(op, names, session.path))
    pid = session.asking.number("SELECT pg_backend_pid()")
    second = SecondSession(engine, pid, tuple(barrier for barrier in found if barrier.tables))
    second.start()
    return second


def goes_by_partition(operations: Iterable[Operation], names: Names, path: tuple[str, ...]) -> bool:
    """Whether it works on each partition in a transaction of its own: it may not run in one of ours."""
    objects = [
        name
        for operation in operations
        if isinstance(operation, Reindex | Cluster)
        and (name := operation.object if isinstance(operation, Reindex) else operation.table)
    ]
    return any(table.kind == "partitioned table" for table in names.tables_of(objects, path))


def _barriers(operation: Operation, names: Names, path: tuple[str, ...]) -> Iterator[Barrier]:
    def tables(*wanted: Name) -> tuple[Relation, ...]:
        return tuple(names.tables_of(wanted, path))

    # CONCURRENTLY waits for everybody who may still write by the old state of things.
    if isinstance(operation, CreateIndex):
        yield Barrier(tables(operation.table), "ROW EXCLUSIVE")
    elif isinstance(operation, Drop):
        yield Barrier(tables(*operation.names), "ROW EXCLUSIVE")
    elif isinstance(operation, Reindex):
        of_many = operation.kind not in {"index", "table"}
        found = tuple(names.tables_in(operation.object.name)) if of_many else tables(operation.object)
        yield Barrier(found, "ROW EXCLUSIVE")
    elif isinstance(operation, DetachPartition):
        # For everybody who may still plan with the partition, and then for its readers.
        yield Barrier(tables(operation.table), "ACCESS SHARE")
        yield Barrier(tables(operation.partition), "ACCESS SHARE")
    elif isinstance(operation, Vacuum | Cluster):
        yield from (Barrier(tables(name), mode) for name, mode in _cleaned(operation))


def _cleaned(operation: Vacuum | Cluster) -> Iterator[tuple[Name, str]]:
    """The tables that it goes over, and a lock that it waits for."""
    if isinstance(operation, Vacuum):
        mode = "ACCESS SHARE" if operation.full else "SHARE UPDATE EXCLUSIVE"
        yield from ((name, mode) for name in operation.tables)
    elif operation.table:
        yield operation.table, "ACCESS SHARE"


def _lock(barrier: Barrier) -> str:
    listed = (f"{quote_identifier(t.schema)}.{quote_identifier(t.name)}" for t in barrier.tables)
    return f"LOCK TABLE {', '.join(listed)} IN {barrier.mode} MODE"
