"""What our own code that revisions call says of its statements: execution options of the connection."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sqlalchemy import Connection

UNRECORDED = "dbctl_unrecorded"
UNNOTED = "dbctl_unnoted"
# In a connection's info: what a runner wants to be told of a backfill's progress by.
BACKFILL_LISTENER = "dbctl_backfill_listener"


@contextmanager
def unrecorded(connection: Connection) -> Iterator[None]:
    """For questions to the catalog: no trace tells of them."""
    with _marked(connection, UNRECORDED):
        yield


@contextmanager
def unnoted(connection: Connection) -> Iterator[None]:
    """For work that knows by itself how far it is: the runner, which resumes the revision, leaves it alone."""
    with _marked(connection, UNNOTED):
        yield


@contextmanager
def _marked(connection: Connection, mark: str) -> Iterator[None]:
    connection.execution_options(**{mark: True})
    try:
        yield
    finally:
        connection.execution_options(**{mark: False})
