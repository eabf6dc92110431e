"""Writes down what each statement of a revision does, while the project's own code runs."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, ExceptionContext, event

from dbctl.database.errors import sqlstate
from dbctl.errors import Refused
from dbctl.migrate.marks import UNRECORDED
from dbctl.migrate.trace.facts import Facts, domains_of, needs_facts, outdates_names, sets_path
from dbctl.migrate.trace.faults import Faults
from dbctl.migrate.trace.hidden import Notes, hidden_in_error, read_notes
from dbctl.migrate.trace.leash import leads_away
from dbctl.migrate.trace.model import Failure, Statement
from dbctl.migrate.trace.names import Names
from dbctl.migrate.trace.observe import Changes, difference, held
from dbctl.migrate.trace.raw import RawCursors
from dbctl.migrate.trace.rehearsal import Rehearsal
from dbctl.migrate.trace.running import Observed, Running, Text, read_text, sets_of, shapes
from dbctl.migrate.trace.scans import full_scans
from dbctl.migrate.trace.second_session import SecondSession, goes_by_partition, second_session
from dbctl.migrate.trace.server_side import install
from dbctl.migrate.trace.session import Session
from dbctl.migrate.trace.source import line_in
from dbctl.postgres.sql.placeholders import numbered

# asyncpg and pg8000 prepare what they are given: several statements in one string fail there, and shall.
_TAKES_SEVERAL = {"psycopg2", "psycopg2cffi", "psycopg", "psycopg_async"}
_NOTHING = "SELECT 1 WHERE false"


class Recorder:
    """Follows the revisions of one scratch database.

    Sees what goes through SQLAlchemy, on any driver, from code that the revision's file calls, and what it sends
    through a cursor of psycopg2 or psycopg; not a COPY from a file, whose locks show up with its next statement.
    ``observer`` is an engine on the same database, for second sessions; ``refuse`` makes the error of a statement
    by which the server would go elsewhere.
    """

    def __init__(self, observer: Engine, refuse: Callable[[str], Exception] = Refused) -> None:
        self._observer = observer
        self._refuse = refuse
        self._names = Names()
        self._facts = Facts(self._names)
        self._path: Path | None = None
        self._statements: list[Statement] = []
        # By the driver's connection; None for one that leads to another database.
        self._sessions: dict[int, Session | None] = {}
        self._transactions = count(1)
        self._running: dict[int, Running] = {}
        self._rehearsal = Rehearsal()
        self._faults = Faults()
        watched = self._faults.watched
        self._raw = RawCursors(watched(self._before), watched(self._after), watched(self._failed))
        # By number: what failed in an earlier try, and stands in this one's list without being run.
        self._left_out: Mapping[int, Statement] = {}
        # A parser that is missing shows here, and not in the first statement of a revision.
        read_text("SELECT")

    @property
    def bug(self) -> Exception | None:
        """What broke in our own listeners, if anything did: the trace is worth nothing then."""
        return self._faults.first

    def install(self, connection: Connection) -> None:
        """Put functions and event triggers into the database, and commit nothing; twice does no harm."""
        install(connection)

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Listen to every engine of the process, whoever makes it."""
        listeners: dict[str, Callable[..., Any]] = {
            "before_cursor_execute": self._before,
            "after_cursor_execute": self._after,
            "handle_error": self._failed,
            "commit": self._committed,
            "rollback": self._rolled_back,
            "rollback_savepoint": self._rolled_back_to_savepoint,
        }
        listeners = {name: self._faults.watched(listener) for name, listener in listeners.items()}
        for name, listener in listeners.items():
            event.listen(Engine, name, listener, retval=name == "before_cursor_execute")
        try:
            yield
        finally:
            for name, listener in listeners.items():
                event.remove(Engine, name, listener)

    @contextmanager
    def leaving_out(self, statements: Mapping[int, Statement]) -> Iterator[None]:
        """Let these statements, by number, do nothing: they fail, and what comes after them is to be seen."""
        self._left_out = statements
        try:
            yield
        finally:
            self._left_out = {}

    def start(self, connection: Connection, revision: str, path: Path) -> None:  # noqa: ARG002 - for the caller's words
        """A revision begins: what is there now was there before it. Opens no transaction that stays open."""
        session = Session(connection, self._names, self._transactions)
        is_in_transaction = session.is_in_transaction
        self._names.begin(session.relations)
        if is_in_transaction:
            session.begun = session.observe()
        else:
            session.holds_nothing()
        self._facts.forget_all()
        self._statements = []
        self._sessions = {id(session.dbapi): session}
        self._raw.listen(connection)
        self._path = path

    def finish(self) -> tuple[Statement, ...]:
        """The revision is over, or has failed: what it did."""
        self._path = None
        self._raw.stop()
        for running in self._running.values():
            if running.second:
                running.second.stop()
        self._running.clear()
        self._sessions.clear()
        return tuple(self._statements)

    def _before(
        self, connection: Connection, _cursor: Any, sql: str, parameters: Any, context: Any, many: bool
    ) -> tuple[str, Any]:
        line = line_in(self._path) if self._path and connection.engine is not self._observer else None
        if self._path is None or line is None or connection.get_execution_options().get(UNRECORDED):
            return sql, parameters
        session = self._session(connection)
        if session is None:
            return sql, parameters
        formats = connection.dialect.paramstyle if parameters or not context.no_parameters else ""
        text = read_text(numbered(sql, formats))
        is_last = len(text.parsed) > 1
        if is_last and not parameters and connection.dialect.driver in _TAKES_SEVERAL:
            sql, text = self._run_all_but_last(connection, session, text, escape=bool(formats))
        if (left_out := self._left_out.get(len(self._statements) + 1)) and not many:
            self._statements.append(replace(left_out, transaction=session.transaction))
            return _NOTHING, ()
        sets = sets_of(parameters) if many else [parameters]
        running = Running(
            session=session,
            text=text,
            file=self._path,
            line=line,
            parameters=shapes(sets[0]),
            executions=len(sets),
            is_autocommit=session.is_autocommit,
            transaction=session.transaction,
            ends_block=session.is_in_our_block and is_last,
        )
        if away := leads_away(text.parsed, self._names, session.path):
            raise self._refuse(away)
        self._prepare(running, sql, parameters if formats else None)
        self._running[id(context)] = running
        running.started = time.perf_counter()
        return sql, parameters

    def _run_all_but_last(
        self, connection: Connection, session: Session, text: Text, *, escape: bool
    ) -> tuple[str, Text]:
        """Run the statements of a text one by one, so that each is seen; the last is left to the caller.

        Outside of a transaction PostgreSQL makes one of them all.
        """
        if session.is_autocommit:
            if not text.may_run_in_transaction:
                return text.sql.replace("%", "%%") if escape else text.sql, text
            session.open_block()
        *first, last = (each.sql for each in text.parsed)
        for sql in first:
            connection.exec_driver_sql(sql.replace("%", "%%"))
        return last.replace("%", "%%") if escape else last, read_text(last)

    def _prepare(self, running: Running, sql: str, parameters: Any) -> None:
        """Learn all that must be known before the statement runs, and make it observable."""
        session, text = running.session, running.text
        if session.is_aborted:
            return
        if not needs_facts(text.operations):
            running.before = session.seen
            return
        self._names.refresh(session.relations)
        refuses_block = goes_by_partition(text.operations, self._names, session.path)
        if running.is_autocommit and not session.is_in_our_block and text.is_wrappable and not refuses_block:
            session.open_block()
            running.ends_block = True
        session.before()
        running.names, running.tables = self._facts.before(session, text.parsed)
        if running.is_autocommit and not session.is_in_our_block:
            running.second = second_session(self._observer, session, text.operations, self._names)
        else:
            hidden = self._rehearsal.hidden_in(session, sql, parameters, text.operations)
            names, tables = self._facts.before_hidden(session, hidden)
            running.names, running.tables = names | running.names, tables | running.tables
            inner = tuple(op for each in hidden for op in each.operations)
            running.domains = domains_of(session, (*text.operations, *inner))
        running.before = session.seen

    def _after(
        self, _connection: Connection, _cursor: Any, _sql: str, _params: Any, context: Any, _many: bool
    ) -> None:
        running = self._running.pop(id(context), None)
        if running is None:
            return
        seconds, session = running.seconds(), running.session
        for control in running.text.controls:
            if control.action.startswith("rollback"):
                self._outdate()
            session.controlled(control)
        if any(sets_path(operation) for operation in running.text.operations):
            session.path_was_set()
        observed = self._observe(running)
        self._rehearsal.noticed(running.text.operations)
        try:
            if running.ends_block:
                session.close_block()
        except Exception as error:
            self._write(running, observed, seconds, _failure(error))
            raise
        self._write(running, observed, seconds)

    def _observe(self, running: Running) -> Observed:
        """What the statement did; ``names`` and the facts are up to date after it."""
        session, text = running.session, running.text
        if running.before is None:
            return Observed()
        was_held = held(running.before, session.begun, self._names)
        if running.second:
            return self._seen_from_outside(running.second, running)
        if not needs_facts(text.operations):
            return Observed(held=was_held)
        after = session.observe()
        notes = read_notes(after.notes, session.source)
        notes.reasons = {oid: why for oid, why in notes.reasons.items() if self._names.concerns(oid)}
        changes = difference(running.before, after, self._names)
        changes.scanned = full_scans(session, running, changes, self._names, notes.hidden)
        if outdates_names(text.operations, notes.hidden):
            self._names.outdate()
        self._facts.outdate(text.operations, notes.hidden, changes, after)
        return Observed(was_held, changes, notes)

    def _seen_from_outside(self, second: SecondSession, running: Running) -> Observed:
        """What a statement did that committed by itself, or failed to."""
        session = running.session
        second.stop()
        changes = second.locks(self._names)
        renewal = self._names.renew(session.relations)
        changes.built = renewal.built
        for relation in renewal.moved:
            (changes.rebuilt if relation.is_index else changes.rewritten).append(relation)
        self._facts.forget_all()
        notes = read_notes(session.observe().notes, session.source)
        # Of a procedure that commits, the facts are those of afterwards: nobody knew what it would do.
        names, tables = self._facts.before_hidden(session, notes.hidden)
        running.names, running.tables = names | running.names, tables | running.tables
        return Observed(changes=changes, notes=notes)

    def _failed(self, context: ExceptionContext) -> None:
        running = self._running.pop(id(context.execution_context), None)
        if running is None:
            return
        seconds, session, error = running.seconds(), running.session, context.original_exception
        failure = _failure(error)
        notes = Notes(hidden=hidden_in_error(error, session.source))
        was_held = held(running.before, session.begun, self._names) if running.before else {}
        observed = Observed(was_held, Changes(), notes)
        if session.is_in_our_block:
            session.abandon_block()
            self._names.outdate()
        elif running.second:
            observed = self._seen_from_outside(running.second, running)
        else:
            session.is_aborted = bool(failure.sqlstate) and not running.is_autocommit
        self._write(running, observed, seconds, failure)

    def _write(
        self, running: Running, observed: Observed, seconds: float, failure: Failure | None = None
    ) -> None:
        number = len(self._statements) + 1
        self._statements.append(running.written(number, observed, seconds, failure))

    def _session(self, connection: Connection) -> Session | None:
        key = id(connection.connection.dbapi_connection)
        if key not in self._sessions:
            # The revision has opened a connection of its own.
            session = Session(connection, self._names, self._transactions)
            self._sessions[key] = session if self._names.are_of(session.database()) else None
        return self._sessions[key]

    def _known_session(self, connection: Connection) -> Session | None:
        # A lost connection has no driver's object, and asking for it would try to connect again.
        if self._path is None or connection.closed or connection.invalidated:
            return None
        return self._sessions.get(id(connection.connection.dbapi_connection))

    def _committed(self, connection: Connection) -> None:
        if session := self._known_session(connection):
            session.ended()

    def _rolled_back(self, connection: Connection) -> None:
        if session := self._known_session(connection):
            session.ended()
            self._outdate()

    def _rolled_back_to_savepoint(self, connection: Connection, *_: Any) -> None:
        if session := self._known_session(connection):
            session.rolled_back_to_savepoint()
            self._outdate()

    def _outdate(self) -> None:
        """Names, files and facts are again what they were."""
        self._names.outdate()
        self._facts.forget_all()


def _failure(error: BaseException) -> Failure:
    cause = error.__cause__
    # SQLAlchemy puts the name of asyncpg's class before the message.
    said = cause if cause is not None and hasattr(cause, "sqlstate") else error
    return Failure(sqlstate(error) or "", str(said).strip())
