"""Tiny Alembic projects, run through the real tracer on one scratch server a session, and judged."""

from __future__ import annotations

import json
import os
import textwrap
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from dbctl.migrate.project import read_project
from dbctl.migrate.rules.judge import Judgement, Levels, judge
from dbctl.migrate.rules.model import Finding
from dbctl.migrate.trace.model import RevisionTrace
from dbctl.migrate.trace.options import TraceOptions
from dbctl.migrate.trace.run import trace
from dbctl.migrate.trace.scratch import Scratch, made_scratch

MAJOR = int(os.environ.get("DBCTL_TEST_SCRATCH_MAJOR", "17"))
SETUP = "r000"
_ENV = """
from alembic import context
from sqlalchemy import engine_from_config, pool

config = context.config
connectable = engine_from_config(config.get_section(config.config_ini_section), poolclass=pool.NullPool)
with connectable.connect() as connection:
    context.configure(connection=connection, target_metadata=None, transaction_per_migration=True)
    with context.begin_transaction():
        context.run_migrations()
"""
_REVISION = '''"""{title}"""

import sqlalchemy as sa
from alembic import op

revision = {revision!r}
down_revision = {down!r}
branch_labels = None
depends_on = None


def upgrade():
{body}


def downgrade():
    raise NotImplementedError
'''


@dataclass(frozen=True)
class Run:
    """A project that was traced and judged, the setup left out."""

    traces: tuple[RevisionTrace, ...]
    judgements: tuple[Judgement, ...]

    @property
    def findings(self) -> list[Finding]:
        """All findings but those of the graph, in order."""
        return [f for judgement in self.judgements for f in judgement.findings if f.hazard not in OF_THE_FILE]

    @property
    def open(self) -> list[Finding]:
        """The findings that nobody accepted."""
        return [finding for finding in self.findings if not finding.accepted]

    @property
    def hazards(self) -> set[str]:
        """The ids that were found."""
        return {finding.hazard for finding in self.findings}

    def finding(self, hazard: str) -> Finding:
        """The only finding of that hazard."""
        (found,) = [finding for finding in self.findings if finding.hazard == hazard]
        return found


# What every project of these tests has: it can't go back.
OF_THE_FILE = {"irreversible", "lossy-downgrade", "not-idempotent"}


def write_project(folder: Path, setup: str, bodies: Sequence[str]) -> Path:
    """An Alembic project: the setup's SQL as its first revision, then a revision a body; its alembic.ini."""
    versions = folder / "migrations" / "versions"
    versions.mkdir(parents=True)
    (folder / "migrations" / "env.py").write_text(_ENV)
    config = folder / "alembic.ini"
    config.write_text(
        "[alembic]\nscript_location = %(here)s/migrations\nsqlalchemy.url = postgresql+psycopg2://\n"
    )
    down: str | None = None
    for number, body in enumerate([as_body(setup) if setup.strip() else "pass", *bodies]):
        revision = f"r{number:03}"
        text = _REVISION.format(
            title=f"revision {number}",
            revision=revision,
            down=down,
            body=textwrap.indent(f"{body}\npass", "    "),
        )
        (versions / f"{revision}.py").write_text(text)
        down = revision
    return config


def as_body(sql: str, *, autocommit: bool = False) -> str:
    """SQL as the body of an ``upgrade()``, sent as it is."""
    run = f"op.get_bind().exec_driver_sql({sql!r}, execution_options={{'no_parameters': True}})"
    if not autocommit:
        return run
    return f"with op.get_context().autocommit_block():\n    {run}"


@pytest.fixture(scope="session")
def scratch() -> Iterator[Scratch]:
    """One server for all; each project starts from an empty database."""
    with made_scratch(MAJOR) as made:
        yield made


@pytest.fixture
def judged(scratch: Scratch, tmp_path: Path) -> Callable[..., object]:
    """``await judged(setup, body, …)``: trace the bodies over the setup, judge them, give the `Run`."""

    async def run(setup: str, *bodies: str, rows: bool = True, levels: Levels | None = None) -> Run:
        config = write_project(tmp_path / f"project{len(list(tmp_path.iterdir()))}", setup, bodies)
        scratch.reset(scratch.address.database)
        scratch.skipped.clear()
        chosen = [f"r{number:03}" for number in range(1, len(bodies) + 1)]
        traces = await trace(read_project(config), scratch, chosen, options=TraceOptions(rows=rows))
        return Run(traces, tuple(judge(each, levels) for each in traces))

    return run


def read_cases() -> list[dict[str, Any]]:
    """The verified cases of hazard_cases.jsonl."""
    file = Path(__file__).with_name("hazard_cases.jsonl")
    return [json.loads(line) for line in file.read_text().splitlines()]
