"""What a run would apply is what Alembic itself would, without running a revision file."""

from __future__ import annotations

import pytest
from alembic.config import Config
from alembic.script import ScriptDirectory

from dbctl.errors import Refused, UsageError
from dbctl.migrate.plan.choose import choose_revisions, heads_after
from dbctl.migrate.project import read_project
from dbctl.migrate.revisions import read_graph
from tests.migrate.conftest import PROJECTS

INI = PROJECTS / "branches" / "alembic.ini"


@pytest.fixture(scope="module")
def graph():
    return read_graph(read_project(INI))


@pytest.mark.parametrize("current", [(), ("right1",), ("left1",), ("left2",)])
@pytest.mark.parametrize("destination", ["heads", "left2", "left1", "righ", "left@head", "left2@head"])
def test_the_choice_and_its_order_are_alembics(graph, current, destination):
    script = ScriptDirectory.from_config(Config(str(INI)))
    try:
        steps = [step.revision.revision for step in script._upgrade_revs(destination, current)]
    except Exception:  # noqa: BLE001 - whatever Alembic refuses, we refuse
        with pytest.raises(UsageError):
            choose_revisions(graph, current, destination)
        return
    assert [one.id for one in choose_revisions(graph, current, destination)] == steps


def test_a_step_from_where_it_is(graph):
    (step,) = choose_revisions(graph, (), "left1")
    assert step.id == "left1"


def test_heads_afterwards_are_those_of_the_version_table(graph):
    chosen = choose_revisions(graph, (), "heads")
    assert heads_after(graph, (), chosen) == ("left2",)
    assert heads_after(graph, ("right1",), ()) == ("right1",)


def test_head_is_ambiguous_where_there_are_several(graph):
    with pytest.raises(UsageError, match="not one revision") as refused:
        choose_revisions(graph, (), "head")
    assert "left2" in refused.value.why


def test_what_the_project_does_not_know(graph):
    with pytest.raises(Refused, match="ahead of the code"):
        choose_revisions(graph, ("from_the_future",), "heads")
    with pytest.raises(UsageError, match="can't plan"):
        choose_revisions(graph, (), "nowhere")
