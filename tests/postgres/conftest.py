"""Servers and folders for the tests of floor 2's PostgreSQL room."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from dbctl.postgres.binaries import find_servers
from dbctl.postgres.privileges import Launcher, choose_launcher
from dbctl.postgres.scratch import ScratchServer, scratch_server

MAJORS = [one.major for one in find_servers()]
MODES = ["namespace", "drop"] if os.getuid() == 0 else ["direct"]


@pytest.fixture(params=MAJORS)
def major(request: pytest.FixtureRequest) -> int:
    return int(request.param)


@pytest.fixture(params=MODES)
def launcher(request: pytest.FixtureRequest) -> Launcher:
    return choose_launcher(request.param)


@pytest.fixture(scope="session")
def scratch() -> Iterator[ScratchServer]:
    with scratch_server() as server:
        yield server


@pytest.fixture(scope="session")
def libpq(scratch: ScratchServer) -> dict[str, str]:
    """The scratch server as libpq's variables."""
    return as_environment(scratch)


def as_environment(server: ScratchServer) -> dict[str, str]:
    names = {"host": "PGHOST", "port": "PGPORT", "user": "PGUSER", "dbname": "PGDATABASE"}
    return {names[word]: value for word, value in server.params.items()}


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder with a short path that everybody may enter; servers' sockets go there too."""
    folder = Path(tempfile.mkdtemp(prefix="t-", dir="/tmp"))
    folder.chmod(0o755)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(folder))
    yield folder
    shutil.rmtree(folder, ignore_errors=True)
