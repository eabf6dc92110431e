"""The tour: quick, repeatable, and interrupted at any step it leaves nothing in the way of the next one."""

from __future__ import annotations

import signal
import time

import pytest

from tests.fixtures.cli import AsProcess

STEPS = ("server start", "migrate up", "users seed", "users search", "health", "backup", "restore")


@pytest.fixture
def tour(project):
    """dbctl in a project whose embedded server is stopped at the end."""
    run = AsProcess(project, {})
    yield run
    run("server", "stop", "-q")


def test_the_tour_takes_less_than_a_minute_and_can_be_repeated(tour):
    for _ in range(2):
        started = time.monotonic()
        result = tour("quickstart")
        assert result.code == 0, result.stderr
        assert "restored" in result.stdout
        assert time.monotonic() - started < 60


def test_ctrl_c_at_any_step_ends_with_130_and_the_next_tour_succeeds(tour):
    for step in STEPS:
        with tour.start("quickstart") as process:
            assert process.stderr
            for line in process.stderr:
                if line.startswith(f"$ dbctl {step}"):
                    time.sleep(0.05)
                    process.send_signal(signal.SIGINT)
                    break
            rest = process.stderr.read()
            process.wait(timeout=60)
        assert process.returncode == 130, (step, rest)
        assert "interrupted" in rest
        assert "Traceback" not in rest
    assert tour("quickstart").code == 0
