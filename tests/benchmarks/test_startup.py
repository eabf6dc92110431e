"""Start-up against what can't be beaten: the bare interpreter, Typer's import, Alembic's own command."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from tests.benchmarks.measure import Command, Conditions, ratio
from tests.fixtures.cli import url_of

pytestmark = pytest.mark.benchmark
BIN = Path(sys.executable).parent
DBCTL_VERSION: Command = [BIN / "dbctl", "--version"]
DBCTL_HELP: Command = [BIN / "dbctl", "--help"]
DBCTL_HEALTH: Command = [BIN / "dbctl", "health"]
ALEMBIC_CURRENT: Command = [BIN / "alembic", "current"]
BARE: Command = [sys.executable, "-c", "pass"]
TYPER: Command = [sys.executable, "-c", "import typer"]


def test_version_costs_at_most_twice_a_bare_interpreter():
    assert (
        ratio(
            "dbctl --version / python -c pass", [BIN / "dbctl", "--version"], [sys.executable, "-c", "pass"]
        )
        <= 2
    )


def test_plain_help_costs_at_most_two_and_a_half_times_importing_typer():
    assert ratio("dbctl --help in a pipe / import typer", DBCTL_HELP, TYPER) <= 2.5


def test_help_for_a_person_costs_at_most_two_and_a_half_times_importing_typer():
    assert (
        ratio("dbctl --help on a terminal / import typer", DBCTL_HELP, TYPER, Conditions(terminal=True))
        <= 2.5
    )


def test_health_costs_at_most_a_tenth_more_than_alembic_current(project, conninfo):
    env = {"DATABASE_URL": url_of(conninfo), "PYTHONPATH": os.pathsep.join(sys.path)}
    assert (
        ratio("dbctl health / alembic current", DBCTL_HEALTH, ALEMBIC_CURRENT, Conditions(project, env))
        <= 1.1
    )
