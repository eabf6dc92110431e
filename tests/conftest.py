"""The fixtures live in tests/fixtures/, one module a kind."""

import os
import sys

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
