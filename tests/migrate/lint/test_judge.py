"""Traces judged while others are made."""

from __future__ import annotations

from dataclasses import replace

import pytest

from dbctl.migrate.lint.judge import Judge
from dbctl.migrate.rules.levels import Levels
from dbctl.migrate.trace.model import Failure, RevisionTrace


@pytest.fixture
def trace(tmp_path) -> RevisionTrace:
    """A revision that failed."""
    file = tmp_path / "r.py"
    file.write_text("revision = 'r'\n")
    return RevisionTrace("r", "", file, (), 0.0, failure=Failure("42P01", "no such table"))


def test_what_was_begun_is_judged_as_what_was_not(trace):
    judge = Judge(Levels())
    with judge.at_work():
        judge.begin(trace)
    assert judge.findings(trace) == Judge(Levels()).findings(trace)
    assert [finding.revision for finding in judge.findings(trace)] == ["r"]


def test_the_trace_that_came_in_place_of_another_is_judged_itself(trace):
    judge = Judge(Levels())
    with judge.at_work():
        judge.begin(trace)
    assert judge.findings(replace(trace, failure=None)) == ()


def test_an_error_in_a_rule_is_raised_where_the_findings_are_wanted(trace):
    judge, broken = Judge(Levels()), replace(trace, path=None)
    with judge.at_work():
        judge.begin(broken)
    with pytest.raises(AttributeError):
        judge.findings(broken)


def test_nothing_is_judged_any_more_after_an_error(trace):
    judge = Judge(Levels())
    with pytest.raises(ValueError, match="enough"), judge.at_work():
        raise ValueError("enough")
    with pytest.raises(RuntimeError):
        judge.begin(trace)
