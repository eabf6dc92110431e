"""Watches the connections that a project's code opens: their backends, their lock_timeout, their commits."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from typing import Any

from sqlalchemy import Connection, Engine, ExceptionContext, event

_LIMIT = "dbctl_lock_timeout_ms"
_BACKEND = "dbctl_backend"
_UNKNOWN = -1
_GREETING = """
SELECT pg_backend_pid(), set_config('lock_timeout', '{limit_ms}', false),
       set_config('application_name', 'dbctl migrate', false)
"""
# Written by hand, it goes past SQLAlchemy's own commits.
_COMMIT = re.compile(r"(^|;)\s*commit\b|^\s*end(\s+(work|transaction))?\s*;?\s*$")
_COMMENT = re.compile(r"--[^\n]*|/\*.*?\*/", re.DOTALL)
_SETTERS = ("lock_timeout", "reset all", "discard all")
_DRIVERS = ("psycopg", "asyncpg", "pg8000", "sqlalchemy.dialects.postgresql")


class Stopped(BaseException):
    """We were told to stop: the project's next statement does not run."""


class Watch:
    """What happens on the project's connections while it listens; they are told apart from ours by opening later.

    Keeps ``lock_timeout`` at its limit whatever a revision sets, and without one for CONCURRENTLY, which
    waits for old transactions and leaves an invalid index when it is cut short.
    """

    def __init__(self, lock_timeout_seconds: float) -> None:
        self._limit_ms = round(lock_timeout_seconds * 1000)
        self.backends: set[int] = set()
        self.commits = 0
        self.stopped = False
        self._committing = False

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Listen to every engine of the process, whoever makes it."""
        listeners: dict[str, Callable[..., None]] = {
            "connect": self._connected,
            "close": self._closed,
            "before_cursor_execute": self._before,
            "commit": self._committed,
            "handle_error": self._failed,
            "rollback": self._rolled_back,
            "rollback_savepoint": self._rolled_back,
        }
        for name, listener in listeners.items():
            event.listen(Engine, name, listener)
        try:
            yield
        finally:
            for name, listener in listeners.items():
                event.remove(Engine, name, listener)

    def _connected(self, connection: Any, record: Any) -> None:
        if not type(connection).__module__.startswith(_DRIVERS):
            return
        with closing(connection.cursor()) as cursor:
            cursor.execute(_GREETING.format(limit_ms=self._limit_ms))
            record.info[_BACKEND] = cursor.fetchone()[0]
        # Else the session would start inside a transaction, and autocommit_block() could not begin one.
        connection.commit()
        record.info[_LIMIT] = self._limit_ms
        self.backends.add(record.info[_BACKEND])

    def _closed(self, _connection: Any, record: Any) -> None:
        # Its pid may soon be somebody else's.
        self.backends.discard(record.info.get(_BACKEND))

    def _before(self, connection: Connection, _cursor: Any, statement: str, *_: Any) -> None:
        info = connection.info
        if _LIMIT not in info:
            return
        if self.stopped:
            raise Stopped
        lowered = statement.lower()
        self._committing = False
        self.commits += _COMMIT.search(_COMMENT.sub("", lowered)) is not None
        wanted = 0 if "concurrently" in lowered else self._limit_ms
        if info[_LIMIT] != wanted:
            with closing(connection.connection.cursor()) as cursor:
                cursor.execute(f"SET lock_timeout = {wanted}")
        sets_it = any(words in lowered for words in _SETTERS)
        info[_LIMIT] = _UNKNOWN if sets_it else wanted

    def _committed(self, connection: Connection) -> None:
        self._committing = _LIMIT in connection.info
        self.commits += self._committing

    def _failed(self, context: ExceptionContext) -> None:
        # The commit's event comes before it: a deferred constraint may still refuse it.
        if context.statement is None:
            self.commits -= self._committing
            self._committing = False

    def _rolled_back(self, connection: Connection, *_: Any) -> None:
        # A lost connection has no info, and asking for it would try to connect again.
        if not connection.invalidated and _LIMIT in connection.info:
            connection.info[_LIMIT] = _UNKNOWN
