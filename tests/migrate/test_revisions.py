"""The graph is read from syntax trees, as Alembic reads it from modules, and what is wrong with it is named."""

from __future__ import annotations

import subprocess
import sys

import pytest
from alembic.config import Config
from alembic.script import ScriptDirectory

from dbctl.errors import SettingsError
from dbctl.migrate.project import read_project
from dbctl.migrate.revisions import read_graph, read_revision
from tests.fixtures.database import ROOT
from tests.migrate.conftest import PROJECTS


@pytest.fixture
def versions(tmp_path):
    """Write revision files: ``versions(a=None, b="a")`` by id and down revision, or by whole text."""

    def write(**files):
        folder = tmp_path / "versions"
        folder.mkdir(exist_ok=True)
        for name, down in files.items():
            is_text = isinstance(down, str) and "\n" in down
            text = (
                down
                if is_text
                else f'"""Makes {name}.\n\nMore."""\nrevision = {name!r}\ndown_revision = {down!r}\n'
            )
            (folder / f"{name}.py").write_text(text)
        (tmp_path / "alembic.ini").write_text("[alembic]\nscript_location = %(here)s\n")
        return read_project(tmp_path / "alembic.ini")

    return write


@pytest.mark.parametrize("name", ["sync_template", "branches", "concurrently", "."])
def test_heads_and_order_agree_with_alembic(name):
    config = ROOT / "alembic.ini" if name == "." else PROJECTS / name / "alembic.ini"
    theirs = ScriptDirectory.from_config(Config(str(config)))
    ours = read_graph(read_project(config))
    assert set(ours.heads) == set(theirs.get_heads())
    assert {r.id: r.message for r in ours.revisions} == {
        r.revision: r.doc.splitlines()[0] for r in theirs.walk_revisions()
    }
    position = {revision.id: number for number, revision in enumerate(ours.revisions)}
    assert all(position[down] < position[r.id] for r in ours.revisions for down in r.down_revisions)


def test_nothing_of_the_project_is_imported_and_no_heavy_module(versions):
    project = versions(
        a='"""A.\n"""\nimport no_such_module\nrevision: str = "a"\ndown_revision: str | None = None\n'
    )
    code = (
        "import sys; from pathlib import Path\n"
        "from dbctl.migrate.project import read_project; from dbctl.migrate.revisions import read_graph\n"
        f"print(read_graph(read_project(Path({str(project.config)!r}))).heads)\n"
        "assert not {'alembic', 'sqlalchemy', 'asyncpg', 'pydantic'} & set(sys.modules), sorted(sys.modules)"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=ROOT)
    assert run.stdout == "('a',)\n", run.stderr


def test_pending_follows_down_revisions_and_dependencies(versions):
    text = '"""C.\n"""\nrevision = "c"\ndown_revision = "a"\ndepends_on = ("left",)\n'
    left = 'revision = "b"\ndown_revision = None\nbranch_labels = ["left"]\n'
    graph = read_graph(versions(a=None, b=left, c=text, d="c"))
    assert [revision.id for revision in graph.pending(["a"])] == ["b", "c", "d"]
    assert [revision.id for revision in graph.pending(["c"])] == ["d"]
    assert graph.pending(graph.heads) == ()
    assert graph.unknown(["a", "zzz"]) == ("zzz",)


def test_names_that_are_assigned_together_are_read(versions):
    graph = read_graph(versions(a=None, b='revision, down_revision = "b", "a"\n[depends_on] = [None]\n'))
    assert [(one.id, one.down_revisions) for one in graph.revisions] == [("a", ()), ("b", ("a",))]
    with pytest.raises(SettingsError, match="is computed"):
        read_graph(versions(b='import names\nrevision = "b"\ndown_revision, other = names.of("b")\n'))


def test_a_merge_has_two_down_revisions_and_one_head(versions):
    merge = 'revision = "m"\ndown_revision = ("b", "c")\n'
    graph = read_graph(versions(a=None, b="a", c="a", m=merge))
    assert graph.heads == ("m",)
    assert graph.revisions[-1].down_revisions == ("b", "c")


def test_files_that_alembic_passes_over_are_passed_over(versions, tmp_path):
    project = versions(a=None)
    for name in ("__init__.py", ".#a.py", "a.txt"):
        (tmp_path / "versions" / name).write_text("?")
    (tmp_path / "versions" / "deeper").mkdir()
    (tmp_path / "versions" / "deeper" / "b.py").write_text('revision = "b"\ndown_revision = "a"\n')
    assert read_graph(project).heads == ("a",)
    (tmp_path / "alembic.ini").write_text(
        "[alembic]\nscript_location = %(here)s\nrecursive_version_locations = true\n"
    )
    assert read_graph(read_project(project.config)).heads == ("b",)


def test_a_revision_of_alembic_0_1_has_its_id_in_its_name(tmp_path):
    file = tmp_path / "12ab.py"
    file.write_text("down_revision = None\n")
    assert read_revision(file).id == "12ab"


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ({}, "no revision found"),
        ({"a": "def broken(:\n"}, r"a\.py does not parse, line 1"),
        ({"a": "revision = make_id()\n"}, "is computed"),
        ({"helper": "x = 1\n"}, "has no revision id"),
        ({"a": None, "b": 'revision = "a"\ndown_revision = None\n'}, "is there twice"),
        ({"a": "gone"}, "builds on gone, which is not there"),
        ({"a": "b", "b": "a"}, "form a circle"),
    ],
)
def test_a_broken_graph_is_named(versions, files, words):
    with pytest.raises(SettingsError, match=words):
        read_graph(versions(**files))
