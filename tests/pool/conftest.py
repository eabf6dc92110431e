"""Applications that use the database while the pool is looked at."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

import pytest

from dbctl.database import ConnInfo
from tests.fixtures.cli import url_of
from tests.fixtures.database import ROOT


@contextmanager
def running(conninfo: ConnInfo, mode: str, connections: int) -> Iterator[None]:
    """The application, from when it has all its connections until it is killed."""
    with subprocess.Popen(
        [sys.executable, ROOT / "tests/pool/application.py", mode, str(connections)],
        env={**os.environ, "PYTHONPATH": str(ROOT), "DATABASE_URL": url_of(conninfo)},
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            assert process.stdout
            assert process.stdout.readline() == "ready\n"
            yield
        finally:
            process.kill()


@pytest.fixture
def application(conninfo: ConnInfo) -> Iterator[Callable[[str, int], None]]:
    """``application("leak", 8)``: runs until the test's end."""
    with ExitStack() as stack:
        yield lambda mode, connections: stack.enter_context(running(conninfo, mode, connections))
