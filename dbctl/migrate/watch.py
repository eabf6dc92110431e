"""Watches the connections that a project's code opens: their backends, their limits, their commits."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, Engine, ExceptionContext, event

from dbctl.migrate.autocommit import commits_alone
from dbctl.migrate.marks import BACKFILL_LISTENER
from dbctl.migrate.patience import Kind, Limits, Patience, kind_of
from dbctl.migrate.raw_cursors import hear_cursors, overheard

if TYPE_CHECKING:
    from dbctl.migrate.backfilling.model import Progress
    from dbctl.migrate.runner.scribe import Scribe

APPLICATION = "dbctl migrate"
_LIMITS = "dbctl_limits"
_BACKEND = "dbctl_backend"
# When the first statement of the transaction began whose locks others wait for.
_LOCKED_SINCE = "dbctl_locked_since"
# transaction_timeout (17) of the server or the role would end a long data step or index in the middle. Where we
# are killed, the server looks after us in vain, and ends the statement (14).
_GREETING = """
SELECT pg_backend_pid(), set_config('lock_timeout', '{lock_ms}', false),
       set_config('application_name', '{application}', false),
       (SELECT set_config(name, '0', false) FROM pg_settings WHERE name = 'transaction_timeout'),
       (SELECT set_config(name, '{look_ms}', false) FROM pg_settings
         WHERE name = 'client_connection_check_interval' AND version() LIKE '%linux%')
"""
_LOOK_MS = 2000
_LIMIT = "SELECT set_config('lock_timeout', '{lock_ms}', false), set_config('statement_timeout', '{statement_ms}', false)"
# Written by hand, it goes past SQLAlchemy's own commits.
_COMMIT = re.compile(r"(^|;)\s*commit\b|^\s*end(\s+(work|transaction))?\s*;?\s*$")
_COMMENT = re.compile(r"--[^\n]*|/\*.*?\*/", re.DOTALL)
_SETTERS = ("lock_timeout", "statement_timeout", "reset all", "discard all")
_ROLE = re.compile(r"\bset\s+((local|session)\s+)?(role|session)\b|'role'")
_DRIVERS = ("psycopg", "asyncpg", "pg8000", "sqlalchemy.dialects.postgresql")


class Stopped(BaseException):
    """We were told to stop: the project's next statement does not run."""


class Watch:
    """What happens on the project's connections while it listens; they are told apart from ours by opening later.

    Keeps ``lock_timeout`` and ``statement_timeout`` at what ``patience`` says of each statement, whatever a revision
    sets. A ``scribe`` hears of all that happens, and may put another statement in the place of one. ``locked_seconds``
    is the longest time that a transaction has held locks of DDL, since ``revision`` was set.
    """

    def __init__(self, lock_timeout_seconds: float, *, patience: Patience | None = None) -> None:
        self._patience = patience or Patience(lock_seconds=lock_timeout_seconds)
        self.backends: set[int] = set()
        self.commits = 0
        self.stopped = False
        self.scribe: Scribe | None = None
        self.locked_seconds = 0.0
        # Whether the driver tells nothing of what is sent past SQLAlchemy.
        self.is_deaf = False
        # While Alembic writes the version row there is nothing to be decided.
        self.is_between = False
        # How far the backfill has come that a revision runs.
        self.backfill: Progress | None = None
        # By backend: how long the statement that runs there may wait for a lock, in seconds, whatever it sets itself.
        self.waits: dict[int, float] = {}
        # A revision has made itself another role, which may have fewer rights.
        self.role_is_set = False
        self._committing = False

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Listen to every engine of the process, whoever makes it."""
        listeners: dict[str, Callable[..., Any]] = {
            "connect": self._connected,
            "close": self._closed,
            "before_cursor_execute": self._before,
            "after_cursor_execute": self._after,
            "commit": self._committed,
            "handle_error": self._failed,
            "rollback": self._rolled_back,
            "savepoint": self._savepoint,
            "rollback_savepoint": self._rolled_back_to,
        }
        for name, listener in listeners.items():
            event.listen(Engine, name, listener, retval=name == "before_cursor_execute")
        try:
            yield
        finally:
            for name, listener in listeners.items():
                event.remove(Engine, name, listener)

    def _connected(self, connection: Any, record: Any) -> None:
        if not type(connection).__module__.startswith(_DRIVERS):
            return
        with closing(connection.cursor()) as cursor:
            lock_ms = round(self._patience.lock_seconds * 1000)
            cursor.execute(_GREETING.format(lock_ms=lock_ms, look_ms=_LOOK_MS, application=APPLICATION))
            record.info[_BACKEND] = cursor.fetchone()[0]
        # Else the session would start inside a transaction, and autocommit_block() could not begin one.
        connection.commit()
        record.info[_LIMITS] = None
        record.info[BACKFILL_LISTENER] = self._filled
        self.backends.add(record.info[_BACKEND])
        if self.scribe:
            self.is_deaf = not hear_cursors(connection, partial(self.scribe.raw, connection))

    def _filled(self, progress: Progress) -> None:
        self.backfill = progress

    def _closed(self, _connection: Any, record: Any) -> None:
        # Its pid may soon be somebody else's.
        self.backends.discard(record.info.get(_BACKEND))
        self.waits.pop(record.info.get(_BACKEND, 0), None)

    def _before(
        self, connection: Connection, cursor: Any, sql: str, parameters: Any, context: Any, _many: bool
    ) -> tuple[str, Any]:
        if _LIMITS not in connection.info:
            return sql, parameters
        overheard(cursor)
        if self.stopped:
            raise Stopped
        self._committing = False
        if self.is_between:
            return sql, parameters
        self._limit(connection, sql, parameters, context)
        if _COMMIT.search(_COMMENT.sub("", sql.lower())):
            self.commits += 1
            self._let_go(connection)
        return self.scribe.before(connection, sql, parameters, context) if self.scribe else (sql, parameters)

    def _limit(self, connection: Connection, sql: str, parameters: Any, context: Any) -> None:
        info = connection.info
        formats = connection.dialect.paramstyle if parameters or not context.no_parameters else ""
        kind = kind_of(sql, formats)
        if kind is not Kind.SESSION:
            wanted = self._patience.limits(kind, holds_locks=info.get(_LOCKED_SINCE) is not None)
            if info[_LIMITS] != wanted:
                _set_limits(connection, wanted)
            if wanted.lock_ms:
                self.waits[info[_BACKEND]] = wanted.lock_ms / 1000
        if kind is Kind.BLOCKING and info.get(_LOCKED_SINCE) is None:
            info[_LOCKED_SINCE] = time.monotonic()
        lowered = sql.lower()
        if any(words in lowered for words in _SETTERS):
            info[_LIMITS] = None
        self.role_is_set = self.role_is_set or bool(_ROLE.search(lowered))

    def _after(
        self, connection: Connection, cursor: Any, _sql: str, _parameters: Any, context: Any, _many: bool
    ) -> None:
        if _LIMITS not in connection.info:
            return
        self.waits.pop(connection.info[_BACKEND], None)
        if commits_alone(connection):
            self._let_go(connection)
        if self.scribe:
            self.scribe.after(connection, cursor, context)

    def _committed(self, connection: Connection) -> None:
        self._committing = _LIMITS in connection.info
        self.commits += self._committing
        if self._committing:
            if self.scribe:
                self.scribe.committing(connection)
            self._let_go(connection)

    def _let_go(self, connection: Connection) -> None:
        """What it had locked is free again."""
        if (since := connection.info.pop(_LOCKED_SINCE, None)) is not None:
            self.locked_seconds = max(self.locked_seconds, time.monotonic() - since)

    def _failed(self, context: ExceptionContext) -> None:
        if (failed := context.connection) is not None and not (failed.closed or failed.invalidated):
            self.waits.pop(failed.info.get(_BACKEND, 0), None)
        # The commit's event comes before it: a deferred constraint may still refuse it.
        if context.statement is None:
            self.commits -= self._committing
            if self._committing and self.scribe:
                self.scribe.not_committed()
            self._committing = False
        elif self.scribe:
            self.scribe.failed(context)

    def _rolled_back(self, connection: Connection) -> None:
        # A lost connection has no info, and asking for it would try to connect again.
        if connection.invalidated or _LIMITS not in connection.info:
            return
        connection.info[_LIMITS] = None
        self._let_go(connection)
        if self.scribe:
            self.scribe.rolled_back(connection)

    def _savepoint(self, connection: Connection, name: str) -> None:
        if self.scribe and _LIMITS in connection.info:
            self.scribe.savepoint(connection, name)

    def _rolled_back_to(self, connection: Connection, name: str, _context: Any) -> None:
        if connection.invalidated or _LIMITS not in connection.info:
            return
        connection.info[_LIMITS] = None
        if self.scribe:
            self.scribe.rolled_back_to(connection, name)


def _set_limits(connection: Connection, wanted: Limits) -> None:
    with closing(overheard(connection.connection.cursor())) as cursor:
        cursor.execute(_LIMIT.format(lock_ms=wanted.lock_ms, statement_ms=wanted.statement_ms))
    connection.info[_LIMITS] = wanted
