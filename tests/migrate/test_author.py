"""New revisions are written where Alembic would write them, and SQL is printed without a server."""

from __future__ import annotations

import shutil

import pytest

from dbctl.errors import UsageError
from dbctl.migrate.author import autogenerate_revision, write_revision, write_sql
from dbctl.migrate.model import Direction
from dbctl.migrate.project import read_project
from dbctl.migrate.revisions import read_graph
from dbctl.migrate.runner import up
from tests.fixtures.database import ROOT
from tests.migrate.conftest import PROJECTS, quiet


@pytest.fixture
def copied(tmp_path):
    shutil.copytree(PROJECTS / "sync_template", tmp_path / "project")
    return read_project(tmp_path / "project" / "alembic.ini")


async def test_a_new_revision_builds_on_the_head(copied):
    (created,) = await write_revision(copied, "add orders", head="head", branch_label=None)
    assert created.down_revisions == ("b2",)
    assert created.path.parent == copied.version_locations[0]
    newest = read_graph(copied).revisions[-1]
    assert (newest.id, newest.message, newest.path) == (created.revision, "add orders", created.path)


async def test_a_new_branch_has_a_label(copied):
    (created,) = await write_revision(copied, "billing", head="base", branch_label="billing")
    graph = read_graph(copied)
    assert created.down_revisions == ()
    assert set(graph.heads) == {"b2", created.revision}
    with pytest.raises(UsageError, match="head"):
        await write_revision(copied, "which?", head="head", branch_label=None)


async def test_autogenerate_wants_a_database_at_head_and_finds_this_repository_s_complete(site, project):
    here = site("", config=project / "alembic.ini")
    with pytest.raises(UsageError, match="not up to date"):
        await autogenerate_revision(here, "more", head="head", branch_label=None)
    await up(here, progress=quiet)
    assert await autogenerate_revision(here, "more", head="head", branch_label=None) == ()
    (created,) = await autogenerate_revision(here, "more", head="head", branch_label=None, plain=True)
    assert created.path.read_text().count("pass") == 2


async def test_sql_is_written_without_a_server():
    project = read_project(ROOT / "alembic.ini")
    script = await write_sql(project, Direction.UP, "heads")
    assert script.sql.count("BEGIN;") > 1
    assert "CREATE TABLE users" in script.sql
    first = read_graph(project).revisions[0].id
    undone = await write_sql(project, Direction.DOWN, f"{first}:base")
    assert "DROP TABLE users" in undone.sql
    with pytest.raises(UsageError, match="needs both ends"):
        await write_sql(project, Direction.DOWN, "base")


@pytest.mark.parametrize("name", ["sync_template", "branches"])
async def test_sql_of_another_project(name):
    script = await write_sql(read_project(PROJECTS / name / "alembic.ini"), Direction.UP, "heads")
    assert "CREATE TABLE" in script.sql
