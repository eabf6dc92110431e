"""A connection in a transaction that is rolled back, to a database with nothing in it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, create_engine, text

from dbctl.database import ConnInfo
from tests.fixtures.database import made_database

Query = Callable[[str], list[Any]]


@pytest.fixture(scope="session")
def emptiness(server: ConnInfo) -> Iterator[Engine]:
    """A database in which nothing is ever committed."""
    with made_database(server) as conninfo:
        engine = create_engine(conninfo.psycopg2_url())
        yield engine
        engine.dispose()


@pytest.fixture
def connection(emptiness: Engine) -> Iterator[Connection]:
    with emptiness.connect() as connection:
        yield connection


@pytest.fixture
def own_connection(empty_conninfo: ConnInfo) -> Iterator[Connection]:
    """One that may commit."""
    engine = create_engine(empty_conninfo.psycopg2_url())
    with engine.connect() as connection:
        yield connection
    engine.dispose()


@pytest.fixture
def run(connection: Connection) -> Query:
    """``run(sql)``: its rows."""
    return querying(connection)


def querying(connection: Connection) -> Query:
    def run(sql: str) -> list[Any]:
        result = connection.execute(text(sql.replace(":", r"\:")))
        return [tuple(row) for row in result] if result.returns_rows else []

    return run
