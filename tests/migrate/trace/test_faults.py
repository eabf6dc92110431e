"""What breaks in our own listeners ends the trace as a bug of ours: no revision is blamed, whatever it swallows."""

from __future__ import annotations

import sys

import pytest

from dbctl.migrate.trace import recorder
from dbctl.migrate.trace.observe import held
from dbctl.migrate.trace.running import read_text
from dbctl.postgres.sql import library
from tests.migrate.trace.making import make_project, traced

TABLE = "op.execute('CREATE TABLE t (id int PRIMARY KEY)')"
SWALLOWED = "try:\n    op.execute('DROP TABLE t')\nexcept Exception:\n    pass"


@pytest.mark.parametrize("body", ["op.execute('DROP TABLE t')", SWALLOWED])
async def test_an_error_of_a_listener_is_not_the_revision_s(tmp_path, monkeypatch, body):
    def broken(observation, *rest):
        if "b2" in str(recorder_path()):
            raise KeyError("ours")
        return held(observation, *rest)

    def recorder_path():
        frame = sys._getframe(2)
        return frame.f_locals["self"]._path

    monkeypatch.setattr(recorder, "held", broken)
    with pytest.raises(KeyError, match="ours"):
        await traced(make_project(tmp_path, {"a1": TABLE, "b2": body}))


async def test_a_statement_that_no_driver_takes_is_the_revision_s(tmp_path):
    body = "op.execute('SELECT 1; SELECT \\'\\ud800\\'')"
    found = await traced(make_project(tmp_path, {"a1": body}))
    failure = found["a1"].failure
    assert failure
    assert "UnicodeEncodeError" in failure.message


async def test_a_parser_that_is_missing_shows_before_any_revision_runs(tmp_path, monkeypatch):
    monkeypatch.setattr(library, "find_spec", lambda _: None)
    library._module.cache_clear()
    read_text.cache_clear()
    with pytest.raises(ModuleNotFoundError, match="postgast"):
        await traced(make_project(tmp_path, {"a1": TABLE}))
