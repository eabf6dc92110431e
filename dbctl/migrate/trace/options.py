"""How revisions are to be run on scratch."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sqlalchemy import Connection

UNRECORDED = "dbctl_unrecorded"


@dataclass(frozen=True, slots=True)
class TraceOptions:
    """``isolated`` runs an env.py of ours in place of the project's; ``rows`` puts rows into its tables first.

    ``url_variables`` are the environment variables that lead the project to its database. Sockets other
    than the scratch server's are refused unless ``allow_network``.
    """

    isolated: bool = False
    time_limit_seconds: float = 30
    rows: bool = True
    allow_network: bool = False
    url_variables: tuple[str, ...] = ("DATABASE_URL",)


@contextmanager
def unrecorded(connection: Connection) -> Iterator[None]:
    """For our own questions to the catalog, in code that revisions call: no trace tells of them."""
    connection.execution_options(**{UNRECORDED: True})
    try:
        yield
    finally:
        connection.execution_options(**{UNRECORDED: False})
