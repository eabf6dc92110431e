"""Statements that a revision sends through the driver's own cursor, past SQLAlchemy: recorded like all others."""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

from sqlalchemy import Connection

# Of theirs SQLAlchemy's events tell, or nobody needs to hear.
_TOLD = ("sqlalchemy.", "dbctl.")
Listener = Callable[..., Any]


@dataclass(slots=True)
class RawCursors:
    """Calls the recorder's listeners as SQLAlchemy would. psycopg2 and psycopg alone let their cursors be replaced."""

    before: Listener
    after: Listener
    failed: Listener
    _undo: list[Callable[[], None]] = field(default_factory=list)

    def listen(self, connection: Connection) -> None:
        """Hear of what is sent through cursors that the connection's driver makes from now on."""
        driver: Any = connection.connection.dbapi_connection
        if not hasattr(driver, "cursor_factory"):
            return
        factory = driver.cursor_factory
        with closing(connection.connection.cursor()) as cursor:
            kind = type(cursor)
        driver.cursor_factory = _heard(kind, self, connection)
        self._undo.append(lambda: setattr(driver, "cursor_factory", factory))

    def stop(self) -> None:
        """Give back what was replaced."""
        while self._undo:
            self._undo.pop()()

    def run(self, connection: Connection, cursor: Any, send: Listener, query: Any, values: Any) -> Any:
        """Send the statement between the listeners' calls."""
        text = _text(query, cursor)
        context = SimpleNamespace(no_parameters=not values)
        sql, given = self.before(connection, cursor, text, values or (), context, False)
        try:
            # As it was given, where nobody has changed it: bytes, or the driver's own composed SQL.
            result = (
                send(query, *filter(None, (values,))) if sql == text else send(sql, *filter(None, (given,)))
            )
        except Exception as error:
            self.failed(SimpleNamespace(execution_context=context, original_exception=error))
            raise
        self.after(connection, cursor, sql, given, context, False)
        return result


def _heard(base: Any, cursors: RawCursors, connection: Connection) -> type:
    class Heard(base):  # type: ignore[misc]
        def execute(self, query: Any, *rest: Any, **more: Any) -> Any:
            sender = str(sys._getframe(1).f_globals.get("__name__"))  # noqa: SLF001
            if sender.startswith(_TOLD) or len(rest) > 1 or more:
                return super().execute(query, *rest, **more)
            return cursors.run(connection, self, super().execute, query, rest[0] if rest else None)

    return Heard


def _text(query: Any, cursor: Any) -> str:
    text = query.as_string(cursor) if hasattr(query, "as_string") else query
    return text.decode(errors="replace") if isinstance(text, bytes) else str(text)
