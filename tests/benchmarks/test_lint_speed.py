"""`migrate lint` of a long history against plain alembic, and of one new revision against the first run."""

from __future__ import annotations

import os
import shutil
import statistics
import subprocess
import sys
import time
from pathlib import Path

import pytest

from dbctl.database import ConnInfo
from tests.fixtures.cli import url_of
from tests.fixtures.database import ROOT, made_database

REVISIONS = 150
ROUNDS = 5
FIRST_LIMIT, SECOND_LIMIT = 2.5, 0.25

ENV_PY = """
import os
from alembic import context
from sqlalchemy import create_engine, pool

url = os.environ["DATABASE_URL"].replace("postgresql://", "postgresql+psycopg2://")
with create_engine(url, poolclass=pool.NullPool).connect() as connection:
    context.configure(connection=connection, target_metadata=None, transaction_per_migration=True)
    with context.begin_transaction():
        context.run_migrations()
"""
REVISION = '''"""Change {number}."""

import sqlalchemy as sa
from alembic import op

revision = "r{number:04}"
down_revision = {down!r}


def upgrade():
{upgrade}


def downgrade():
    op.execute("SELECT 1")
'''
# What revisions of real projects are made of, and as many statements each (4 to 6 in the large trees that are
# public); each table sees all of it, {t} being the newest one.
KINDS = (
    """    op.create_table(
        "t{t:04}",
        sa.Column("id", sa.BigInteger, primary_key=True),
        sa.Column("name", sa.String(50), nullable=False),
        sa.Column("parent_id", sa.BigInteger, sa.ForeignKey("t{parent:04}.id")),
        sa.Column("made_at", sa.DateTime(timezone=True), server_default=sa.func.now()),
    )
    op.create_index("ix_t{t:04}_name", "t{t:04}", ["name"], unique=True)
    op.create_index("ix_t{t:04}_parent_id", "t{t:04}", ["parent_id"])
    op.create_index("ix_t{t:04}_made_at", "t{t:04}", ["made_at"])""",
    """    op.add_column("t{t:04}", sa.Column("note", sa.Text))
    op.add_column("t{t:04}", sa.Column("state", sa.String(20), nullable=False, server_default="new"))
    op.add_column("t{t:04}", sa.Column("seen_at", sa.DateTime(timezone=True)))
    op.create_index("ix_t{t:04}_seen_at", "t{t:04}", ["seen_at"])""",
    """    op.execute("UPDATE t{t:04} SET note = name WHERE note IS NULL")
    op.alter_column("t{t:04}", "note", server_default="")
    op.create_index("ix_t{t:04}_state", "t{t:04}", ["state"])
    op.create_unique_constraint("uq_t{t:04}_name_state", "t{t:04}", ["name", "state"])""",
    """    op.create_check_constraint("ck_t{t:04}_state", "t{t:04}", "state <> ''")
    op.alter_column("t{t:04}", "name", type_=sa.String(100))
    op.add_column("t{t:04}", sa.Column("owner_id", sa.BigInteger))
    op.create_foreign_key("fk_t{t:04}_owner", "t{t:04}", "t{t:04}", ["owner_id"], ["id"])
    op.create_index("ix_t{t:04}_owner_id", "t{t:04}", ["owner_id"])""",
    """    op.alter_column("t{t:04}", "note", nullable=False)
    op.drop_index("ix_t{t:04}_state", "t{t:04}")
    op.drop_column("t{t:04}", "seen_at")
    op.add_column("t{t:04}", sa.Column("amount", sa.Numeric(12, 2)))
    op.execute("COMMENT ON TABLE t{t:04} IS 'what is sold'")""",
)


def write_revision(versions: Path, number: int) -> None:
    """One more revision of the line."""
    table = number // len(KINDS)
    body = KINDS[number % len(KINDS)].format(t=table, parent=max(table - 1, 0))
    down = f"r{number - 1:04}" if number else None
    file = versions / f"r{number:04}.py"
    file.write_text(REVISION.format(number=number, down=down, upgrade=body))


def make_project(folder: Path) -> Path:
    """A project of REVISIONS revisions; its versions folder."""
    versions = folder / "migrations" / "versions"
    versions.mkdir(parents=True)
    (folder / "migrations" / "env.py").write_text(ENV_PY)
    (folder / "alembic.ini").write_text(
        "[alembic]\nscript_location = %(here)s/migrations\npath_separator = os\n"
    )
    for number in range(REVISIONS):
        write_revision(versions, number)
    return versions


def seconds(folder: Path, *command: str, **environ: str) -> float:
    """Wall time of a process: the server works in another one."""
    environ = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "HOME": str(folder), **environ}
    started = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-m", *command], cwd=folder, env=environ, check=False, capture_output=True, text=True
    )
    took = time.perf_counter() - started
    assert done.returncode == 0, done.stderr
    return took


@pytest.mark.benchmark
def test_lint_of_a_long_history_and_of_one_new_revision(server: ConnInfo, tmp_path: Path) -> None:
    """Everything traced, the scratch server's start included; then a new revision, its history from a template."""
    versions = make_project(tmp_path)
    lint = ("dbctl", "migrate", "lint", "--fail-on", "never", "--format", "json")
    cache = tmp_path / "cache"
    first, second = [], []
    for number in range(ROUNDS + 1):
        with made_database(server) as conninfo:
            plain = seconds(tmp_path, "alembic", "upgrade", "heads", DATABASE_URL=url_of(conninfo))
        for kept in cache.glob("dbctl/template-*"):
            shutil.rmtree(kept)
        whole = seconds(tmp_path, *lint, "base:heads", XDG_CACHE_HOME=str(cache))
        write_revision(versions, REVISIONS)
        one = seconds(tmp_path, *lint, f"r{REVISIONS:04}", XDG_CACHE_HOME=str(cache))
        (versions / f"r{REVISIONS:04}.py").unlink()
        # The first round compiles the files and runs initdb.
        first += [(whole, plain)] if number else []
        second += [(one, whole)] if number else []
    ratios = [statistics.median(a / b for a, b in pairs) for pairs in (first, second)]
    medians = [statistics.median(times) for times in zip(*first, strict=True)]
    print(
        f"\nlint of {REVISIONS} revisions / alembic upgrade: {ratios[0]:.2f} ({medians[0]:.2f} / {medians[1]:.2f} s)"
    )
    print(
        f"lint of one more / lint of all: {ratios[1]:.2f} ({statistics.median(a for a, _ in second):.2f} s)"
    )
    assert ratios[0] <= FIRST_LIMIT
    assert ratios[1] <= SECOND_LIMIT
