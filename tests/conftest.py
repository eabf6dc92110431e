"""The fixtures live in tests/fixtures/, one module a kind."""

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

pytest_plugins = [
    "tests.fixtures.server",
    "tests.fixtures.templates",
    "tests.fixtures.database",
    "tests.fixtures.cli",
    "tests.fixtures.bucket",
]

# The processes that tests start load what the first of them compiled, as they do for everybody.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
# Here a revision may be written anew within the second in which it was compiled.
sys.dont_write_bytecode = True
# A late import, or a busy machine, is no failure of the property.
settings.register_profile("dbctl", deadline=None)
settings.load_profile("dbctl")


@pytest.fixture(scope="session", autouse=True)
def states(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The folder for states, so that no test adds to the record of the person who runs it."""
    folder = tmp_path_factory.mktemp("states")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_STATE_HOME", str(folder))
        yield folder
