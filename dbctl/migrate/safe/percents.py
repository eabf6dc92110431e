"""Percent signs in what Alembic writes down."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from sqlalchemy.engine.interfaces import Dialect


@contextmanager
def single_percents(dialects: Iterable[Dialect]) -> Iterator[None]:
    """Let Alembic write ``n % 7`` as that, for the length of a ``with``.

    A dialect whose driver formats strings doubles each percent sign when it renders an expression; in a revision
    file that would be doubled once more when it runs, and be an operator that PostgreSQL does not have.
    """
    with ExitStack() as stack:
        for dialect in dialects:
            preparer: Any = dialect.identifier_preparer
            stack.callback(
                setattr, preparer, "_double_percents", getattr(preparer, "_double_percents", False)
            )
            preparer._double_percents = False  # noqa: SLF001 - there is no other way to ask for it
        yield
