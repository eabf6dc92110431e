"""Precision and recall of `dbctl migrate lint` over all cases, hazard by hazard: whole processes, real projects."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.fixtures.database import ROOT
from tests.migrate.rules.more_cases import CASES, Case

MAJOR = int(os.environ.get("DBCTL_TEST_SCRATCH_MAJOR", "18"))
GIVEN = ROOT / "tests" / "migrate" / "rules" / "hazard_cases.jsonl"
ENV_PY = """
from alembic import context
from sqlalchemy import engine_from_config

engine = engine_from_config(context.config.get_section(context.config.config_ini_section))
with engine.connect() as connection:
    context.configure(connection=connection, target_metadata=None)
    with context.begin_transaction():
        context.run_migrations()
"""
REVISION = '''"""{message}."""

from alembic import op

revision = "{id}"
down_revision = {down!r}

SQL = {sql!r}


def upgrade():
    {body}


def downgrade():
    op.execute("SELECT 1")
'''
PLAIN = "op.get_bind().exec_driver_sql(SQL)"
AUTOCOMMIT = "with op.get_context().autocommit_block():\n        op.get_bind().exec_driver_sql(SQL)"


@dataclass(frozen=True)
class Outcome:
    """What was found in a case, and what had to be."""

    case: Case
    found: frozenset[str]
    said: str = ""


def given_cases() -> Iterator[Case]:
    """The verified cases, read from their file."""
    for line in GIVEN.read_text().splitlines():
        case = json.loads(line)
        yield Case(
            case["id"],
            case["setup_sql"],
            case["migration_sql"],
            frozenset(case["expect"]),
            case["transactional"],
            case["pg_min"],
        )


def make_project(folder: Path, case: Case) -> None:
    """A project of two revisions: what was there, and the one that is judged."""
    versions = folder / "migrations" / "versions"
    versions.mkdir(parents=True)
    (folder / "migrations" / "env.py").write_text(ENV_PY)
    (folder / "alembic.ini").write_text(
        "[alembic]\nscript_location = %(here)s/migrations\npath_separator = os\n"
    )
    setup, sql = (text.replace("%", "%%") for text in (case.setup or "SELECT 1", case.migration))
    (versions / "before.py").write_text(
        REVISION.format(message="What was there", id="before", down=None, sql=setup, body=PLAIN)
    )
    body = PLAIN if case.transactional else AUTOCOMMIT
    (versions / "next.py").write_text(
        REVISION.format(message=case.id, id="next", down="before", sql=sql, body=body)
    )


def lint(folder: Path, case: Case) -> Outcome:
    """Judge the case with the command line."""
    make_project(folder, case)
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "dbctl",
            "migrate",
            "lint",
            "before:next",
            "--pg",
            str(MAJOR),
            "--format",
            "json",
        ],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode not in {0, 1}:
        return Outcome(case, frozenset({"?"}), done.stderr)
    return Outcome(case, frozenset(finding["hazard"] for finding in json.loads(done.stdout)["findings"]))


def tell(title: str, outcomes: list[Outcome]) -> int:
    """Print a line a hazard; returns how many answers were wrong."""
    right: Counter[str] = Counter()
    missed: Counter[str] = Counter()
    wrong: Counter[str] = Counter()
    for outcome in outcomes:
        right.update(outcome.found & outcome.case.expect)
        missed.update(outcome.case.expect - outcome.found)
        wrong.update(outcome.found - outcome.case.expect)
    print(f"\n{title}: {len(outcomes)} cases\n{'hazard':32} right missed wrong")
    for hazard in sorted({*right, *missed, *wrong}):
        print(f"{hazard:32} {right[hazard]:5} {missed[hazard]:6} {wrong[hazard]:5}")
    for outcome in outcomes:
        if outcome.found != outcome.case.expect:
            print(
                f"! {outcome.case.id}: expected {sorted(outcome.case.expect)}, found {sorted(outcome.found)} {outcome.said}"
            )
    found, all_missed, all_wrong = right.total(), missed.total(), wrong.total()
    recall, precision = found / (found + all_missed), found / (found + all_wrong)
    harmless = [outcome for outcome in outcomes if not outcome.case.expect]
    alarms = sum(bool(outcome.found) for outcome in harmless)
    print(
        f"recall {recall:.3f}, precision {precision:.3f}, false alarms {alarms} of {len(harmless)} harmless cases"
    )
    return all_missed + all_wrong


@pytest.mark.benchmark
@pytest.mark.parametrize(
    ("title", "cases"), [("given", tuple(given_cases())), ("more", CASES)], ids=["given", "more"]
)
def test_every_hazard_is_named_and_nothing_else(title: str, cases: tuple[Case, ...], tmp_path: Path):
    with ThreadPoolExecutor(2) as pool:
        numbered = enumerate(case for case in cases if case.pg_min <= MAJOR)
        outcomes = list(pool.map(lambda pair: lint(tmp_path / str(pair[0]), pair[1]), numbered))
    assert tell(title, outcomes) == 0
