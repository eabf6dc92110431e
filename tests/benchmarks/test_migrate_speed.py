"""What one more revision of `migrate up` costs, against plain alembic in the same run."""

from __future__ import annotations

import resource
import subprocess
import sys
from pathlib import Path

import pytest

from dbctl.database import ConnInfo
from tests.fixtures.cli import url_of
from tests.fixtures.database import ROOT, made_database

REVISIONS = 450
ROUNDS = 6
LIMIT = 1.15

ENV_PY = """
import os
from alembic import context
from sqlalchemy import create_engine, pool

engine = create_engine(os.environ["DATABASE_URL"].replace("postgresql://", "postgresql+psycopg2://"), poolclass=pool.NullPool)
with engine.connect() as connection:
    context.configure(connection=connection, target_metadata=None, transaction_per_migration=True)
    with context.begin_transaction():
        context.run_migrations()
"""
REVISION = '''"""Table {number}."""

import sqlalchemy as sa
from alembic import op

revision = "r{number:04}"
down_revision = {down!r}


def upgrade():
    op.create_table("t{number:04}", sa.Column("id", sa.Integer, primary_key=True), sa.Column("name", sa.String(50)))


def downgrade():
    op.drop_table("t{number:04}")
'''


def make_project(folder: Path, revisions: int) -> Path:
    """A project of one-table revisions; its alembic.ini."""
    versions = folder / "migrations" / "versions"
    versions.mkdir(parents=True)
    (folder / "migrations" / "env.py").write_text(ENV_PY)
    for number in range(revisions):
        down = f"r{number - 1:04}" if number else None
        (versions / f"r{number:04}.py").write_text(REVISION.format(number=number, down=down))
    ini = folder / "alembic.ini"
    ini.write_text("[alembic]\nscript_location = %(here)s/migrations\npath_separator = os\n")
    return ini


def cpu_seconds(conninfo: ConnInfo, *command: str) -> float:
    """User and system time of a process."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    environ = {"DATABASE_URL": url_of(conninfo), "PATH": "/usr/bin:/bin", "PYTHONPATH": str(ROOT)}
    subprocess.run([sys.executable, "-m", *command], env=environ, check=True, capture_output=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


@pytest.mark.benchmark
def test_one_more_revision_costs_no_more_than_with_alembic(server: ConnInfo, tmp_path: Path) -> None:
    """The marginal cost, loading included: a project of many revisions less a project of one."""
    tools = {
        "alembic": ("alembic", "-c", "{ini}", "upgrade", "heads"),
        "dbctl": ("dbctl", "migrate", "up", "--config", "{ini}"),
    }
    sizes = (1, REVISIONS)
    projects = {size: make_project(tmp_path / str(size), size) for size in sizes}
    costs: dict[tuple[str, int], list[float]] = {(tool, size): [] for tool in tools for size in sizes}
    for number in range(ROUNDS + 1):
        for tool, size in costs:
            command = [word.format(ini=projects[size]) for word in tools[tool]]
            with made_database(server) as conninfo:
                cost = cpu_seconds(conninfo, *command)
            # The first round compiles the files.
            costs[tool, size] += [cost] if number else []
    each = {tool: (min(costs[tool, REVISIONS]) - min(costs[tool, 1])) / (REVISIONS - 1) for tool in tools}
    ratio = each["dbctl"] / each["alembic"]
    print(
        f"\none more revision, CPU: alembic {each['alembic'] * 1000:.2f} ms, dbctl {each['dbctl'] * 1000:.2f} ms"
    )
    print(f"ratio {ratio:.2f}, limit {LIMIT}")
    assert ratio <= LIMIT
