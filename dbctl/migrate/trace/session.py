"""One connection of the project, as the recorder follows it: its transactions, and what they hold."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from typing import Any

from sqlalchemy import Connection

from dbctl.migrate.trace.asking import OBSERVE, READ_RELATIONS, READ_SOURCE, Asking, document
from dbctl.migrate.trace.names import Names
from dbctl.migrate.trace.observe import Observation, observation
from dbctl.postgres.sql.operations import TransactionControl

# pg_stat_force_next_flush().
_FLUSHES_SINCE = (15,)
_BEGINS = {"begin", "start"}
_ENDS = {"commit", "rollback", "prepare"}


class Session:
    """Follows transactions by SQLAlchemy's events, and by the words COMMIT and ROLLBACK where SQL says them.

    ``seen`` is the last observation of the transaction that is open now, and empty in a new one; None if it
    must be made again: after a rollback nobody knows what is still held. ``begun`` is what was held when the
    revision began, by Alembic's own statements. ``transaction`` is a number for each; ``is_aborted`` from an error on,
    until it is rolled back.
    """

    def __init__(self, connection: Connection, names: Names, transactions: Iterator[int]) -> None:
        self.dbapi: Any = connection.connection.dbapi_connection
        self.asking = Asking(connection)
        self._names = names
        # Before, counters may go on over a commit.
        self._starts_at_zero = (connection.dialect.server_version_info or (0,)) >= _FLUSHES_SINCE
        self.seen: Observation | None = None
        self.begun = Observation()
        self.path: tuple[str, ...] = ()
        self._transactions = transactions
        self.transaction = next(transactions)
        self.is_aborted = False
        self.is_in_our_block = False
        # What COMMIT or BEGIN as SQL has led to; the driver may not have noticed.
        self._in_block: bool | None = None
        self._path_was_set = False
        # Relations whose locks a savepoint has given back; their counters go on.
        self._let_go: set[int] = set()

    @property
    def is_autocommit(self) -> bool:
        """Whether each statement is its own transaction."""
        if self._in_block is not None:
            return not self._in_block
        return bool(getattr(self.dbapi, "autocommit", False))

    @property
    def is_in_transaction(self) -> bool:
        """Whether the server has a transaction open; SQLAlchemy may have begun one that nothing was sent in yet."""
        driver = getattr(self.dbapi, "driver_connection", self.dbapi)
        if hasattr(driver, "is_in_transaction"):
            return bool(driver.is_in_transaction())
        idle = 0
        return bool(driver.info.transaction_status != idle)

    def observe(self) -> Observation:
        """Look at what the session holds now, and keep it."""
        watched = self._names.watched
        also = ",".join(map(str, self._let_go | watched.also))
        words = {"floor": str(watched.floor), "ceiling": str(watched.ceiling), "also": also}
        now = observation(self.asking.ask(OBSERVE, **words), self.seen or Observation())
        self.seen, self.path = now, now.path
        return now

    def holds_nothing(self) -> None:
        """No transaction is open but the one of `relations`, just asked.

        Its end sends the counters of what ran untraced before, which would be taken for the revision's.
        """
        self.seen = Observation(path=self.path)
        self.asking.rollback()

    def database(self) -> int:
        """The oid of its database."""
        return self.asking.number("SELECT oid FROM pg_catalog.pg_database WHERE datname = current_database()")

    def source(self, function: str) -> str:
        """The SQL of a function in that language."""
        return self.asking.ask(READ_SOURCE, name=function)

    def relations(self, since: str, last: str) -> Any:
        """What `Names` reads."""
        answer = document(self.asking.ask(READ_RELATIONS, since=since, last=last))
        self.path = tuple(answer["path"] or ())
        return answer

    def before(self) -> Observation:
        """What the session holds before its next statement: a question is put only where it is not known."""
        return self.seen if self.seen is not None else self.observe()

    def ended(self) -> None:
        """A transaction was committed or rolled back: the next one holds nothing."""
        self.transaction = next(self._transactions)
        self.begun = Observation()
        # SET LOCAL ends with its transaction, and what ROLLBACK undoes was never set.
        is_known = self._starts_at_zero and not self._path_was_set
        self.seen = Observation(path=self.path) if is_known else None
        self._path_was_set = False
        self.is_aborted = False
        self.is_in_our_block = False
        self._in_block = None
        self._let_go.clear()

    def path_was_set(self) -> None:
        """The search_path is another now."""
        self.seen, self._path_was_set = None, True

    def rolled_back_to_savepoint(self) -> None:
        """Part of the transaction did not happen: what it still holds is to be looked at."""
        self._let_go |= self.seen.relations.keys() if self.seen else set()
        self.seen = None
        self.is_aborted = False

    def controlled(self, control: TransactionControl) -> None:
        """The project has said BEGIN, COMMIT, ROLLBACK … as SQL."""
        if control.action in _ENDS:
            self.ended()
            self._in_block = self._is_in_block()
        elif control.action in _BEGINS and self.is_autocommit:
            self.ended()
            self._in_block = True
        elif control.action == "rollback to":
            self.rolled_back_to_savepoint()

    def open_block(self) -> None:
        """Begin a transaction of ours in autocommit mode: what it holds can then be seen before it is committed."""
        self.asking.run("BEGIN")
        self.is_in_our_block = True

    def close_block(self) -> None:
        """Commit it; raises what a deferred constraint says."""
        try:
            self.asking.run("COMMIT")
        finally:
            self.ended()

    def abandon_block(self) -> None:
        """Roll it back: a statement in it has failed, perhaps because the connection is gone."""
        with suppress(Exception):
            self.asking.run("ROLLBACK")
        self.ended()

    def _is_in_block(self) -> bool:
        """Whether a next statement would be in a transaction: some drivers begin one anew, some believe in the old."""
        self.asking.row("SELECT 1")
        return self.is_in_transaction
