"""A revision's transaction, as Alembic opens it, on any driver."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import sqlalchemy as sa
from alembic.migration import MigrationContext
from alembic.operations import Operations

from dbctl.database import ConnInfo

Revision = Callable[[], Any]


@contextmanager
def revision(connection: sa.Connection) -> Iterator[Operations]:
    """``op`` inside of a revision; committed at its end."""
    context = MigrationContext.configure(connection, opts={"transaction_per_migration": True})
    with Operations.context(context) as op, context.begin_transaction(_per_migration=True):
        yield op


@pytest.fixture
def connection(empty_conninfo: ConnInfo) -> Iterator[sa.Connection]:
    """A connection as an env.py makes it."""
    engine = sa.create_engine(empty_conninfo.psycopg2_url(), poolclass=sa.NullPool)
    with engine.connect() as made:
        yield made
