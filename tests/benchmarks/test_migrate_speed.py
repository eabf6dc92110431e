"""What one more revision of `migrate up` costs, against plain alembic in the same run."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import time
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


def run_seconds(conninfo: ConnInfo, *command: str) -> float:
    """How long a process takes, less what it says its plan took."""
    environ = {"DATABASE_URL": url_of(conninfo), "PATH": "/usr/bin:/bin", "PYTHONPATH": str(ROOT)}
    started = time.monotonic()
    done = subprocess.run([sys.executable, "-m", *command], env=environ, check=True, capture_output=True)
    seconds = time.monotonic() - started
    return seconds - (json.loads(done.stdout)["plan_seconds"] or 0) if done.stdout else seconds


@pytest.mark.benchmark
@pytest.mark.parametrize("applied", [0, 1], ids=["an empty database", "with a plan"])
def test_a_project_of_150_revisions_takes_little_longer_than_with_alembic(
    server: ConnInfo, tmp_path: Path, applied: int
) -> None:
    """The whole command: start-up, history, the look afterwards. A database that has tables gets a plan, too."""
    ini = str(make_project(tmp_path / "p", 150))
    commands = {
        "alembic": ("alembic", "-c", ini, "upgrade", "heads"),
        "dbctl": ("dbctl", "migrate", "up", "--config", ini, "--format", "json"),
    }
    taken: dict[str, list[float]] = {tool: [] for tool in commands}
    for number in range(ROUNDS + 1):
        for tool, command in commands.items():
            with made_database(server) as conninfo:
                if applied:
                    run_seconds(conninfo, "alembic", "-c", ini, "upgrade", "r0000")
                seconds = run_seconds(conninfo, *command)
            taken[tool] += [seconds] if number else []
    ours, theirs = min(taken["dbctl"]), min(taken["alembic"])
    print(
        f"\n150 revisions: alembic {theirs:.2f} s, dbctl {ours:.2f} s, ratio {ours / theirs:.2f}, limit 1.25"
    )
    assert ours / theirs <= 1.25


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
