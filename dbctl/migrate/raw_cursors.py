"""Hears of statements that a project sends through the driver's own cursor, past SQLAlchemy and its events."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from typing import Any

# The SQL, and whether it has values to be formatted into it.
Hear = Callable[[str, bool], None]


def hear_cursors(driver: Any, hear: Hear) -> bool:
    """Tell of each statement before it is sent, but not of those whose cursor was `overheard` by somebody else.

    psycopg2 and psycopg make cursors of a class that may be set; the others' statements stay unheard: False.
    """
    if not hasattr(driver, "cursor_factory"):
        return False
    factory = driver.cursor_factory
    if factory is None:
        with closing(driver.cursor()) as cursor:
            factory = type(cursor)
    if isinstance(factory, type):
        driver.cursor_factory = _heard(factory, hear)
    return True


def overheard(cursor: Any) -> Any:
    """The cursor, of which nothing is told: who sends the statement knows of it."""
    if hasattr(cursor, "tells"):
        cursor.tells = False
    return cursor


def _heard(base: Any, hear: Hear) -> type:
    class Heard(base):  # type: ignore[misc]
        tells = True

        def _tell(self, query: Any, *, values: bool = False) -> None:
            if self.tells:
                text = query.as_string(self) if hasattr(query, "as_string") else query
                hear(text.decode(errors="replace") if isinstance(text, bytes) else str(text), values)

        def execute(self, query: Any, *rest: Any, **more: Any) -> Any:
            self._tell(query, values=bool(rest and rest[0]) or bool(more.get("params") or more.get("vars")))
            return super().execute(query, *rest, **more)

        def executemany(self, query: Any, *rest: Any, **more: Any) -> Any:
            self._tell(query, values=True)
            return super().executemany(query, *rest, **more)

        def copy_expert(self, sql: Any, *rest: Any, **more: Any) -> Any:
            self._tell(sql)
            return super().copy_expert(sql, *rest, **more)

        def copy_from(self, file: Any, table: str, *rest: Any, **more: Any) -> Any:
            self._tell(f"COPY {table} FROM STDIN")
            return super().copy_from(file, table, *rest, **more)

        def copy(self, statement: Any, *rest: Any, **more: Any) -> Any:
            self._tell(statement)
            return super().copy(statement, *rest, **more)

    return Heard
