"""Which revisions are linted: by a range in Alembic's words, or by what git says is new."""

from __future__ import annotations

import shutil

import pytest

from dbctl.errors import UsageError
from dbctl.migrate.lint.graph import read_leniently
from dbctl.migrate.lint.ranges import Chosen, choose
from dbctl.migrate.project import read_project


def chosen(written, wanted=None, base=None) -> Chosen:
    project = read_project(written.config)
    return choose(project, read_leniently(project).graph, wanted, base, named=base is not None)


def ids(written, wanted=None, base=None) -> list[str]:
    return [revision.id for revision in chosen(written, wanted, base).revisions]


@pytest.fixture
def line(written):
    for id_ in ("aaaa1", "bbbb2", "cccc3", "dddd4"):
        written.add(id_)
    return written


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        ("bbbb2", ["bbbb2"]),
        ("bb", ["bbbb2"]),
        ("head", ["dddd4"]),
        ("heads", ["dddd4"]),
        ("aaaa1:cccc3", ["bbbb2", "cccc3"]),
        ("base:bbbb2", ["aaaa1", "bbbb2"]),
        (":bbbb2", ["aaaa1", "bbbb2"]),
        ("cccc3:", ["dddd4"]),
        ("base:heads", ["aaaa1", "bbbb2", "cccc3", "dddd4"]),
        ("cccc3:cccc3", []),
    ],
)
def test_a_range_means_what_it_means_to_alembic(line, wanted, expected):
    assert ids(line, wanted) == expected


@pytest.mark.parametrize(
    ("wanted", "said"),
    [
        ("bbbb3", "did you mean bbbb2"),
        ("zzzz", "history"),
        ("aaaa1:zzzz", "history"),
        ("cccc3:aaaa1", "aaaa1:cccc3"),
        ("base", "name one"),
    ],
)
def test_a_range_that_makes_no_sense_is_usage_and_says_what_would(line, wanted, said):
    with pytest.raises(UsageError) as error:
        ids(line, wanted)
    assert said in error.value.hint


def test_the_start_of_several_ids_is_none_of_them(line):
    line.add("bbbb9")
    with pytest.raises(UsageError, match="several"):
        ids(line, "bbbb")


def test_head_of_several_is_a_question(line):
    line.add("eeee5", down="bbbb2")
    with pytest.raises(UsageError, match="several heads"):
        ids(line, "head")
    assert ids(line, "bbbb2:heads") == ["cccc3", "eeee5", "dddd4"]


def test_a_label_names_its_branch(line):
    line.add("eeee5", down="bbbb2", tail='\nbranch_labels = ("billing",)\n')
    line.add("ffff6", down="eeee5")
    assert ids(line, "billing@head") == ["ffff6"]
    assert ids(line, "bbbb2:billing@head") == ["eeee5", "ffff6"]


def test_outside_of_git_all_are_linted_and_it_is_said_why(line):
    found = chosen(line)
    assert len(found.revisions) == 4
    assert "not a git repository" in found.notes[0]


def test_outside_of_git_a_base_is_usage(line):
    with pytest.raises(UsageError, match="since main"):
        ids(line, base="main")


def test_what_the_branch_committed_staged_or_only_wrote_is_new(repository):
    repository.add("cccc3")
    repository.commit()
    repository.add("dddd4")
    repository.git("add", "-A")
    repository.add("eeee5")
    assert ids(repository) == ["cccc3", "dddd4", "eeee5"]


def test_a_branch_without_a_revision_has_nothing_to_lint(repository):
    found = chosen(repository)
    assert found.revisions == ()
    assert found.said == "revisions added since main"


def test_what_main_got_meanwhile_is_not_new(repository):
    repository.add("cccc3")
    repository.commit()
    repository.git("switch", "-q", "main")
    repository.add("dddd4", down="bbbb2")
    repository.commit()
    repository.git("switch", "-q", "feature")
    repository.git("merge", "-q", "main")
    assert ids(repository) == ["cccc3"]


def test_a_moved_file_is_not_new_and_a_new_one_like_it_is(repository):
    repository.git("mv", "migrations/versions/bbbb2.py", "migrations/versions/2_bbbb2.py")
    text = (repository.versions / "2_bbbb2.py").read_text()
    (repository.versions / "3.py").write_text(
        text.replace("aaaa1", "bbbb2").replace("= 'bbbb2'", "= 'cccc3'", 1)
    )
    assert ids(repository) == ["cccc3"]


def test_an_older_revision_that_does_something_else_now_is_named_and_a_comment_is_not(repository):
    file = repository.versions / "bbbb2.py"
    file.write_text(file.read_text() + "\n# dbctl: accept drop-column because nobody reads it\n")
    assert chosen(repository).changed == ()
    file.write_text(file.read_text().replace("sa.Text", "sa.Integer"))
    assert [revision.id for revision in chosen(repository).changed] == ["bbbb2"]


def test_a_revision_that_is_gone_is_named(repository):
    (repository.versions / "bbbb2.py").unlink()
    repository.ids.pop()
    repository.add("cccc3")
    found = chosen(repository)
    assert found.gone == ("bbbb2",)
    assert [revision.id for revision in found.revisions] == ["cccc3"]


def test_the_remote_s_head_goes_before_a_local_main(repository, tmp_path):
    repository.git("switch", "-q", "main")
    repository.add("cccc3")
    repository.commit()
    shutil.move(repository.folder, tmp_path / "origin")
    repository.folder = tmp_path / "clone"
    repository.folder.mkdir()
    repository.git("clone", "-q", str(tmp_path / "origin"), ".")
    repository.add("dddd4")
    found = chosen(repository)
    assert found.said == "revisions added since origin/HEAD"
    assert [revision.id for revision in found.revisions] == ["dddd4"]


def test_a_base_that_git_does_not_know_is_usage_and_offers_one(repository):
    with pytest.raises(UsageError) as error:
        ids(repository, base="mian")
    assert "such as main" in error.value.hint


@pytest.mark.parametrize("base", ["--upload-pack=x", "-h", ""])
def test_a_base_is_never_an_option_of_git(repository, base):
    with pytest.raises(UsageError, match="no commit"):
        ids(repository, base=base)


def test_a_project_below_the_root_of_its_repository_is_found(written):
    written.git("init", "-q", "-b", "main", "..")
    written.add("aaaa1")
    written.commit()
    written.add("bbbb2")
    assert ids(written) == ["bbbb2"]


def test_the_variables_of_a_git_hook_lead_nowhere_else(repository, monkeypatch):
    repository.add("cccc3")
    monkeypatch.setenv("GIT_DIR", "/nowhere")
    monkeypatch.setenv("GIT_INDEX_FILE", "/nowhere/index")
    assert ids(repository) == ["cccc3"]
