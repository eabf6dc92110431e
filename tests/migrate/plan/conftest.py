"""A project written for one test, at a database that was made for it."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, closing, contextmanager
from pathlib import Path
from textwrap import dedent, indent
from typing import Any

import psycopg2
import pytest

from dbctl.database import ConnInfo, open_database
from dbctl.migrate.plan.make import PlanRequest, plan
from dbctl.migrate.plan.model import Plan
from dbctl.migrate.project import read_project
from dbctl.migrate.site import Site
from dbctl.settings import DatabaseSettings, PoolSettings
from tests.fixtures.database import execute, psycopg2_arguments
from tests.migrate.conftest import PROJECTS

SHOP = (
    "CREATE TABLE customers (id int PRIMARY KEY, name text)",
    "CREATE TABLE orders (id int PRIMARY KEY, customer int REFERENCES customers, email text, at timestamp, total int)",
    "CREATE TABLE tiny (id int PRIMARY KEY, word text)",
    "INSERT INTO customers SELECT i, 'c' || i FROM generate_series(0, 99) AS i",
    "INSERT INTO orders SELECT i, i % 100, md5(i::text), now(), i FROM generate_series(1, 20000) AS i",
    "INSERT INTO tiny SELECT i, 'x' FROM generate_series(1, 10) AS i",
    "ANALYZE",
)


def write_project(folder: Path, *bodies: str) -> Path:
    """A project whose revision r0 is already applied and does nothing, and r1, r2, … do ``bodies``; its ini."""
    shutil.copytree(
        PROJECTS / "sync_template", folder, ignore=shutil.ignore_patterns("versions", "__pycache__")
    )
    versions = folder / "migrations" / "versions"
    versions.mkdir()
    for number, body in enumerate(("pass", *bodies)):
        down = repr(f"r{number - 1}") if number else None
        head = f'"""Revision {number}."""\n\nimport sqlalchemy as sa\nfrom alembic import op\n\n'
        ids = f'revision = "r{number}"\ndown_revision = {down}\n\n\ndef upgrade():\n'
        code = (
            f"{indent(dedent(body).strip(), '    ')}\n\n\ndef downgrade():\n    raise NotImplementedError\n"
        )
        (versions / f"r{number}.py").write_text(f"{head}{ids}{code}")
    return folder / "alembic.ini"


def stamp(conninfo: ConnInfo, revision: str = "r0", schema: str = "public") -> None:
    """What `alembic stamp` would do."""
    execute(
        conninfo,
        f"CREATE TABLE {schema}.alembic_version (version_num varchar(32) PRIMARY KEY)",
        f"INSERT INTO {schema}.alembic_version VALUES ('{revision}')",
    )


@pytest.fixture
def shop(empty_conninfo: ConnInfo) -> ConnInfo:
    """A database with a few tables and rows, at r0."""
    execute(empty_conninfo, *SHOP)
    stamp(empty_conninfo)
    return empty_conninfo


@asynccontextmanager
async def opened(ini: Path, conninfo: ConnInfo) -> AsyncIterator[Site]:
    """A site of that project at that database."""
    async with open_database(conninfo, DatabaseSettings(), PoolSettings()) as database:
        yield Site(read_project(ini), database, conninfo, lock_timeout_seconds=2)


@pytest.fixture
def make_plan(tmp_path: Path) -> Callable[..., Any]:
    """``await make_plan(conninfo, body, …)``: a plan of revisions with these bodies."""

    async def make(conninfo: ConnInfo, *bodies: str, destination: str = "heads", **changes: Any) -> Plan:
        folder = tmp_path / "project"
        ini = folder / "alembic.ini" if folder.exists() else write_project(folder, *bodies)
        async with opened(ini, conninfo) as site:
            return await plan(site, PlanRequest("test", destination, **changes))

    return make


@contextmanager
def transaction(conninfo: ConnInfo, *statements: str) -> Iterator[Any]:
    """A session that ran these statements and sits in its transaction."""
    with closing(psycopg2.connect(**psycopg2_arguments(conninfo))) as connection:
        with connection.cursor() as cursor:
            for statement in statements:
                cursor.execute(statement)
        yield connection
