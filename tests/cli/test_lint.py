"""``dbctl migrate lint`` as a developer or a pull request runs it: no database, no settings."""

from __future__ import annotations

import json
import shutil

import pytest

from tests.migrate.conftest import PROJECTS
from tests.migrate.lint.writing import Written

CREATE = 'op.create_table("t", sa.Column("id", sa.BigInteger, primary_key=True), sa.Column("name", sa.Text))'
INDEX = 'op.create_index("ix_t_name", "t", ["name"])'


@pytest.fixture
def shop(tmp_path):
    made = Written.make(tmp_path / "shop")
    made.add("aaaa1", CREATE)
    return made


@pytest.fixture
def lint(dbctl_alone, shop):
    def run(*arguments, cwd=None, **how):
        return dbctl_alone("migrate", "lint", *arguments, cwd=cwd or shop.folder, **how)

    return run


def test_it_needs_no_settings_and_no_database(lint, shop):
    shop.add("bbbb2", INDEX)
    result = lint(env={"DATABASE_URL": "postgresql://nobody@127.0.0.1:1/nowhere"})
    assert result.code == 1
    assert "create-index" in result.stdout
    assert "traced on PostgreSQL" in result.stdout


def test_what_is_safe_passes(lint):
    result = lint()
    assert result.code == 0
    assert "no hazard in 1 revision" in result.stdout


def test_json_keeps_its_promise(lint, shop):
    file = shop.add("bbbb2", INDEX)
    (finding,) = lint("--format", "json").json()["findings"]
    assert finding["hazard"] == "create-index"
    assert finding["level"] == "danger"
    assert finding["revision"] == "bbbb2"
    assert finding["file"] == str(file.relative_to(shop.folder))
    assert finding["line"] == 11
    assert finding["statement"] == "CREATE INDEX ix_t_name ON t (name)"
    assert finding["lock_mode"] == "ShareLock"
    assert finding["tables"] == ["t"]
    assert (finding["rewrites"], finding["scans"]) == (False, True)
    assert finding["why"]
    assert "CREATE INDEX CONCURRENTLY ix_t_name ON t (name)" in finding["fix"]


def test_only_the_range_is_linted_and_its_history_is_there(lint, shop):
    shop.add("bbbb2", INDEX)
    shop.add("cccc3", 'op.drop_column("t", "name")')
    result = lint("cccc3", "--format", "json").json()
    assert {one["hazard"] for one in result["findings"]} >= {"drop-column"}
    assert [one["revision"] for one in result["revisions"]] == ["cccc3"]
    assert (result["history"], result["history_revisions"]) == ("replayed", 2)


def test_it_goes_on_past_a_revision_that_fails(lint, shop):
    shop.add("bbbb2", 'op.execute("ALTER TABLE nowhere ADD x int")')
    shop.add("cccc3", "raise ValueError('no')")
    shop.add("dddd4", INDEX)
    result = lint("--format", "json")
    assert result.code == 1
    found = {(one["revision"], one["hazard"]) for one in result.json()["findings"]}
    assert ("dddd4", "create-index") in found
    assert ("bbbb2", "revision-fails") in found
    failures = {one["revision"]: one["failure"] for one in result.json()["revisions"]}
    assert "nowhere" in failures["bbbb2"]
    assert "ValueError" in failures["cccc3"]


@pytest.mark.parametrize(
    ("fail_on", "body", "code"),
    [
        ("danger", INDEX, 1),
        ("caution", INDEX, 1),
        ("never", INDEX, 0),
        ("danger", 'op.add_column("t", sa.Column("doc", sa.JSON))', 0),
        ("caution", 'op.add_column("t", sa.Column("doc", sa.JSON))', 1),
    ],
)
def test_fail_on_is_the_mildest_level_that_fails(lint, shop, fail_on, body, code):
    shop.add("bbbb2", body)
    assert lint("--fail-on", fail_on).code == code


def test_a_finding_accepted_with_a_reason_does_not_fail_and_is_told(lint, shop):
    shop.add("bbbb2", INDEX, tail="\n# dbctl: accept create-index because t is empty in production\n")
    result = lint("--format", "json")
    assert result.code == 0
    assert result.json()["findings"][0]["accepted"] == "t is empty in production"
    assert result.json()["summary"] == {"danger": 0, "caution": 0, "notice": 0, "accepted": 1}
    assert "1 accepted" in lint().stdout


def test_an_accept_that_does_nothing_is_told(lint, shop):
    shop.add(
        "bbbb2", INDEX, tail="\n# dbctl: accept create-index\n# dbctl: accept drop-table because I say so\n"
    )
    result = lint("--format", "json")
    assert result.code == 1
    notes = "\n".join(note for one in result.json()["revisions"] for note in one["notes"])
    assert "create-index does not count: it gives no reason" in notes
    assert "drop-table does not count" in notes
    for line in ("note: bbbb2: line", "create-index does not count: it gives no reason"):
        assert line in lint().stdout
    assert "::warning file=" in lint("--format", "github").stdout


def test_levels_come_from_the_settings_and_a_wrong_one_is_named(lint, shop):
    shop.add("bbbb2", INDEX)
    configs = shop.folder / "configs"
    configs.mkdir()
    (configs / "base.toml").write_text('[migrate.levels]\ncreate-index = "notice"\n')
    assert lint().code == 0
    (configs / "base.toml").write_text('[migrate.levels]\ncreate-indx = "notice"\n')
    result = lint()
    assert result.code == 2
    assert "did you mean create-index" in result.stderr


def test_a_nearer_ini_wins_over_settings_further_up_unless_they_name_one(lint, shop):
    configs = shop.folder / "configs"
    configs.mkdir()
    (configs / "base.toml").write_text("")
    inner = Written.make(shop.folder / "inner")
    inner.add("inner1", CREATE)
    below = inner.folder / "migrations"

    def linted(cwd):
        return [one["revision"] for one in lint("--format", "json", cwd=cwd).json()["revisions"]]

    assert (linted(inner.folder), linted(below), linted(configs)) == (["inner1"], ["inner1"], ["aaaa1"])
    (configs / "base.toml").write_text('[migrate]\nconfig = "alembic.ini"\n')
    assert linted(inner.folder) == ["aaaa1"]


def test_nothing_new_says_so(lint, shop):
    shop.git("init", "-q", "-b", "main")
    shop.commit()
    result = lint()
    assert (result.code, result.stdout) == (0, "nothing to lint: no revisions added since main\n")
    assert lint("--format", "json").json()["findings"] == []


def test_what_a_branch_adds_is_linted_with_what_it_changes(lint, shop):
    shop.git("init", "-q", "-b", "main")
    (shop.folder / "models.py").write_text("x = 1\n")
    shop.commit()
    (shop.folder / "models.py").write_text("x = 2\n")
    file = shop.versions / "aaaa1.py"
    file.write_text(file.read_text().replace("sa.Text", "sa.String"))
    shop.add("bbbb2", 'op.drop_column("t", "name")')
    result = lint("--format", "json").json()
    assert [one["revision"] for one in result["revisions"]] == ["bbbb2"]
    assert [one["hazard"] for one in result["findings"]] == ["drop-column", "mixed-PR"]
    assert "models.py" in result["findings"][1]["why"]
    assert any("aaaa1 was changed since main" in note for note in result["notes"])
    inside = shop.folder / "migrations"
    told = lint("--format", "github", "-c", "../alembic.ini", cwd=inside).stdout
    assert "::error file=migrations/versions/bbbb2.py,line=" in told
    told = lint("--format", "json", "-c", "../alembic.ini", cwd=inside).json()
    assert told["findings"][0]["file"] == "versions/bbbb2.py"


def test_every_format_goes_to_a_file_as_well(lint, shop, tmp_path):
    shop.add("bbbb2", INDEX)
    for name in ("table", "json", "github", "sarif", "gitlab"):
        out = tmp_path / f"out.{name}"
        assert lint("--format", name, "-o", str(out)).stdout == ""
        assert "create-index" in out.read_text()
    assert json.loads((tmp_path / "out.sarif").read_text())["version"] == "2.1.0"


def test_a_pipe_gets_a_row_a_finding_and_verbose_a_row_a_statement(lint, shop):
    shop.add("bbbb2", INDEX)
    heading, row, *_ = lint().stdout.splitlines()
    assert dict(zip(heading.split("\t"), row.split("\t"), strict=True))["hazard"] == "create-index"
    assert any(line.startswith("aaaa1\t11\t") for line in lint("-v").stdout.splitlines())


def test_verbose_and_json_show_which_locks_are_still_held(lint, shop):
    both = 'op.add_column("t", sa.Column("a", sa.Integer))\nop.execute("ANALYZE t")'
    shop.add("bbbb2", both)
    one, other = lint("--format", "json").json()["revisions"][-1]["statements"]
    held = [{"table": "t", "mode": "AccessExclusiveLock"}]
    assert (one["held"], other["held"]) == ([], held)
    (row,) = [line for line in lint("-v").stdout.splitlines() if "ANALYZE" in line]
    assert row.endswith("\tAccessExclusiveLock on t")


def test_graph_findings_have_their_lines_and_all_of_them_are_told(lint, shop):
    long = "a_revision_id_that_is_longer_than_32_characters"
    shop.add(long)
    shop.add("cccc3", INDEX, down="aaaa1")
    result = lint("--format", "json").json()
    lines = {(one["hazard"], one["revision"]): one["line"] for one in result["findings"]}
    assert lines["revision-id-too-long", long] == 6
    assert lines["multiple-heads", "cccc3"] == 7
    assert ("create-index", "cccc3") in lines


def test_branches_with_labels_of_their_own_are_no_several_heads(lint, shop):
    shop.add("bbbb2", tail='\nbranch_labels = ("billing",)\n')
    shop.add("cccc3", down="aaaa1", tail='\nbranch_labels = ("mail",)\n')
    assert lint("--format", "json").json()["findings"] == []


def test_a_down_revision_that_is_not_there_is_a_finding_at_its_line(lint, shop):
    shop.add("cccc3", INDEX, down="zzzz9")
    result = lint("--format", "json")
    assert result.code == 1
    found = {one["hazard"]: one for one in result.json()["findings"]}
    assert found["unknown-down-revision"]["line"] == 7
    assert "zzzz9" in found["unknown-down-revision"]["why"]
    assert any("nothing was traced" in note for note in result.json()["notes"])


def test_an_empty_downgrade_is_told(lint, shop):
    file = shop.add("bbbb2", 'op.add_column("t", sa.Column("note", sa.Text))')
    file.write_text(file.read_text().replace('op.execute("SELECT 1")', "pass"))
    (finding,) = lint("--format", "json").json()["findings"]
    assert (finding["hazard"], finding["line"]) == ("irreversible", 14)


def test_a_revision_that_is_no_python_is_named_with_its_line(lint, shop):
    file = shop.add("bbbb2")
    file.write_text("revision = 'bbbb2'\ndef upgrade(:\n")
    result = lint()
    assert result.code == 2
    assert f"{file} does not parse, line 2" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("aaab1",), "did you mean aaaa1"),
        (("aaaa1:zzzz",), "no revision 'zzzz'"),
        (("--base", "main"), "can't tell what was added since main"),
        (("--min-pg", "new"), "--min-pg 'new'"),
        (("--min-pg", "9.6"), "--min-pg '9.6'"),
        (("--min-pg", "0"), "--min-pg '0'"),
        (("-n", "other"), "-n"),
        (("--fail-on", "all"), "danger"),
        (("--format", "csv"), "github"),
        (("--scratch-url", "mysql://root:s3cret@db/x"), "--scratch-url can't be read"),
    ],
)
def test_bad_input_is_usage_and_says_what_to_do(lint, arguments, said):
    result = lint(*arguments)
    assert (result.code, result.stdout) == (2, "")
    assert said in result.stderr
    assert "s3cret" not in result.stderr


def test_min_pg_adds_what_older_versions_lack(lint, shop):
    shop.add("bbbb2", 'op.execute("ALTER TABLE t ADD COLUMN g int GENERATED ALWAYS AS (1) STORED")')
    shop.add("cccc3", 'op.execute("ALTER TABLE t ALTER COLUMN g SET EXPRESSION AS (2)")')
    plain = {one["hazard"] for one in lint("--format", "json").json()["findings"]}
    older = {one["hazard"] for one in lint("--min-pg", "13", "--format", "json").json()["findings"]}
    assert older > plain


def test_the_server_may_be_chosen(lint, shop):
    assert lint("--pg", "15", "--format", "json").json()["server_version"].startswith("15.")


def test_scratch_may_be_made_on_a_server_that_is_named_and_nothing_is_left_there(lint, shop, server):
    from tests.fixtures.cli import url_of
    from tests.fixtures.database import execute

    shop.add("bbbb2", INDEX)
    before = execute(server, "SELECT datname FROM pg_database ORDER BY 1")
    result = lint("--scratch-url", url_of(server), "--format", "json")
    assert result.code == 1, result.stderr
    assert result.json()["findings"][0]["hazard"] == "create-index"
    left = {name for (name,) in execute(server, "SELECT datname FROM pg_database")}
    assert not any(name.startswith("dbctl_scratch") for name in left - {name for (name,) in before})


def test_two_projects_in_one_ini_are_told_apart_by_name(lint, shop):
    shutil.copytree(shop.folder / "migrations", shop.folder / "other")
    (shop.folder / "other" / "versions" / "aaaa1.py").unlink()
    text = (shop.versions / "aaaa1.py").read_text()
    (shop.folder / "other" / "versions" / "oooo1.py").write_text(text.replace("'aaaa1'", "'oooo1'"))
    here = "path_separator = os\nscript_location = %(here)s"
    shop.config.write_text(f"[shop]\n{here}/migrations\n[other]\n{here}/other\n")
    assert lint().code == 2
    assert [r["revision"] for r in lint("-n", "other", "--format", "json").json()["revisions"]] == ["oooo1"]


@pytest.mark.parametrize(
    "name", ["sync_template", "async_template", "branches", "one_transaction", "prints", "moved_versions"]
)
def test_projects_of_every_kind_are_linted(dbctl_alone, name, tmp_path):
    shutil.copytree(PROJECTS / name, tmp_path / name)
    result = dbctl_alone("migrate", "lint", "--format", "json", "--fail-on", "never", cwd=tmp_path / name)
    assert result.code == 0, result.stderr
    assert result.json()["revisions"]


def test_a_project_without_a_revision_says_so(lint, shop):
    (shop.versions / "aaaa1.py").unlink()
    result = lint()
    assert result.code == 2
    assert "no revision found" in result.stderr


def test_a_pull_request_s_own_process_gives_the_exit_code(shop, dbctl_process):
    shop.add("bbbb2", INDEX)
    result = dbctl_process("migrate", "lint", "--format", "github", cwd=shop.folder)
    assert result.code == 1
    assert "::error file=migrations/versions/bbbb2.py,line=11,title=create-index in bbbb2::" in result.stdout
    assert result.stderr == ""


def test_runs_at_once_share_what_they_keep(shop, dbctl_process, tmp_path):
    for number in range(12):
        shop.add(f"r{number:03}", f'op.add_column("t", sa.Column("c{number}", sa.Text))')
    shop.add("new", INDEX)
    how = {"cwd": shop.folder, "env": {"XDG_CACHE_HOME": str(tmp_path / "cache")}}
    for _ in range(2):
        runs = [dbctl_process.start("migrate", "lint", "new", "--format", "json", **how) for _ in range(3)]
        outputs = [run.communicate(timeout=120) for run in runs]
        assert [run.returncode for run in runs] == [1, 1, 1], outputs
    histories = [json.loads(out)["history"] for out, _ in outputs]
    assert histories == ["cached"] * 3
    assert len(list((tmp_path / "cache" / "dbctl").glob("template-*/"))) == 1
