"""A project of tests/projects/ at a fresh database."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest

from dbctl.database import ConnInfo, Database, open_database
from dbctl.migrate.model import Step
from dbctl.migrate.project import read_project
from dbctl.migrate.site import Site
from dbctl.settings import DatabaseSettings, PoolSettings
from tests.fixtures.database import ROOT, execute

PROJECTS = ROOT / "tests" / "projects"

MakeSite = Callable[..., Site]


def quiet(_step: Step) -> None:
    """Hear of progress, and say nothing."""


def tables(conninfo: ConnInfo, schema: str = "public") -> set[str]:
    """The tables there are, version table and history left out."""
    rows = execute(conninfo, f"SELECT tablename FROM pg_tables WHERE schemaname = '{schema}'")
    return {name for (name,) in rows} - {"alembic_version", "dbctl_history"}


@pytest.fixture
async def empty_database(empty_conninfo: ConnInfo) -> AsyncIterator[Database]:
    async with open_database(empty_conninfo, DatabaseSettings(), PoolSettings()) as database:
        yield database


@pytest.fixture
def site(empty_database: Database) -> MakeSite:
    """``site("name")``: that example project, at a fresh and empty database."""

    def make(name: str, *x_arguments: str, config: Path | None = None) -> Site:
        config = config or PROJECTS / name / "alembic.ini"
        project = read_project(config, x_arguments=x_arguments)
        return Site(project, empty_database, empty_database.conninfo, lock_timeout_seconds=2)

    return make


@pytest.fixture
def other_conninfo(server: ConnInfo) -> Iterator[ConnInfo]:
    """A second empty database on the same server."""
    from tests.fixtures.database import made_database

    with made_database(server) as made:
        yield made
