"""The three servers of a cascade, for the tests of a module."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.faults.test_sessions import until
from tests.fixtures.cascade import Cascade, cascade
from tests.fixtures.database import execute


@pytest.fixture(scope="module")
def three(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cascade]:
    """A primary, a standby and one behind it; each test leaves them as they were."""
    with cascade(tmp_path_factory.mktemp("cascade")) as made:
        execute(
            made.primary,
            "CREATE ROLE watcher LOGIN IN ROLE pg_monitor",
            "CREATE ROLE nobody LOGIN",
            "CREATE TABLE orders (id int PRIMARY KEY)",
        )
        for one in (made.standby, made.cascaded):
            until(lambda one=one: execute(one, "SELECT 1 FROM pg_class WHERE relname = 'orders'"))
        yield made
