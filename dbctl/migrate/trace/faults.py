"""Tells errors of our own from those of the project: what breaks in a listener of ours is no revision's fault."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

from sqlalchemy.exc import SQLAlchemyError

from dbctl.database.errors import sqlstate
from dbctl.errors import DbctlError

_DRIVERS = ("psycopg", "asyncpg", "pg8000", "sqlalchemy.dialects.postgresql")


def may_be_theirs(error: BaseException) -> bool:
    """Whether it may come from what a revision does: a server, a driver or dbctl said it, or text can't be encoded."""
    if isinstance(error, DbctlError | SQLAlchemyError | UnicodeError) or sqlstate(error):
        return True
    return any(kind.__module__.startswith(_DRIVERS) for kind in type(error).__mro__)


class Faults:
    """Keeps the first error of our own listeners: a revision may swallow what they raise in its statements."""

    def __init__(self) -> None:
        self.first: Exception | None = None

    def watched(self, listener: Callable[..., Any]) -> Callable[..., Any]:
        """The listener, its own errors kept."""

        @wraps(listener)
        def call(*given: Any, **named: Any) -> Any:
            try:
                return listener(*given, **named)
            except Exception as error:
                if not may_be_theirs(error):
                    self.first = self.first or error
                raise

        return call
