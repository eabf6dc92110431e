"""Revisions run on scratch through the project's own env.py, and one that fails does not end the run."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import alembic
import pytest

from dbctl.errors import DbctlError, Failed, SettingsError, ToolMissing
from dbctl.migrate.model import Step
from dbctl.migrate.project import read_project
from dbctl.migrate.trace.run import TraceOptions, replay, trace
from dbctl.migrate.trace.scratch import Scratch, made_scratch
from dbctl.postgres.lock_modes import LockMode
from tests.fixtures.database import execute
from tests.migrate.conftest import PROJECTS, tables
from tests.migrate.trace.making import make_project, traced

TABLE = "op.execute('CREATE TABLE t (id int PRIMARY KEY, n int)')"
COLUMN = "op.execute('ALTER TABLE t ADD c int')"
HALF = """
op.execute('ALTER TABLE t ADD first int')
with op.get_context().autocommit_block():
    op.execute('CREATE INDEX CONCURRENTLY i ON t (n)')
op.execute('{}')
"""


@pytest.fixture
def scratch() -> Iterator[Scratch]:
    with made_scratch() as made:
        yield made


@pytest.mark.parametrize("name", ["sync_template", "async_template", "one_transaction", "concurrently"])
async def test_every_template_is_traced_and_leaves_its_tables(scratch, name, tmp_path):
    folder = shutil.copytree(PROJECTS / name, tmp_path / name)
    project = read_project(folder / "alembic.ini")
    if name == "one_transaction":
        (folder / "migrations/versions/b2.py").write_text(
            "revision = 'b2'\ndown_revision = 'a1'\ndef upgrade(): pass\n"
        )
    ids = sorted(file.stem for file in project.version_locations[0].glob("*.py"))
    found = await trace(project, scratch, ids)
    assert [one.revision for one in found] == ids
    assert not any(one.failure for one in found)
    assert all(statement.line for one in found for statement in one.statements)
    assert "a" in tables(scratch.address)


async def test_an_env_py_that_moves_its_revisions_or_its_version_table_is_traced(scratch):
    for name in ("moved_versions", "version_schema"):
        project = read_project(PROJECTS / name / "alembic.ini")
        found = await trace(project, scratch, ["a1"])
        assert [one.revision for one in found] == ["a1"]
        scratch.reset(scratch.address.database)


async def test_branches_are_traced_whatever_is_chosen(scratch):
    project = read_project(PROJECTS / "branches/alembic.ini")
    found = await trace(project, scratch, ["left2", "right1", "left1"])
    assert {one.revision for one in found} == {"left1", "left2", "right1"}


async def test_only_what_the_chosen_ones_build_on_runs_before_them(scratch, tmp_path):
    project = make_project(tmp_path, {"a1": TABLE, "b2": COLUMN, "c3": "op.execute('SELECT 1/0')"})
    heard: list[Step] = []
    found = await trace(project, scratch, ["b2"], progress=heard.append)
    assert [one.revision for one in found] == ["b2"]
    assert [(step.number, step.total, step.revision) for step in heard] == [(1, 2, "a1"), (2, 2, "b2")]


async def test_replay_goes_to_the_heads_or_as_far_as_it_is_told(scratch, tmp_path):
    project = make_project(tmp_path, {"a1": TABLE, "b2": COLUMN, "c3": COLUMN.replace("c int", "d int")})
    assert await replay(project, scratch, ["b2"]) == ("b2",)
    assert await replay(project, scratch) == ("c3",)
    assert await replay(project, scratch) == ("c3",)
    assert await trace(project, scratch, ["c3"]) == ()


async def test_what_fails_in_the_history_is_stamped_and_said(scratch, tmp_path):
    project = make_project(tmp_path, {"a1": TABLE, "b2": "op.execute('SELECT 1/0')", "c3": COLUMN})
    assert await replay(project, scratch) == ("c3",)
    assert scratch.skipped == {"b2": "division by zero"}


@pytest.mark.parametrize(
    ("body", "state", "message"),
    [
        ("op.execute('SELECT 1/0')", "22012", "division by zero"),
        ("raise RuntimeError('no')", "", "RuntimeError: no"),
        ("import sys\nsys.exit(3)", "", "it raised SystemExit(3)"),
        (
            """op.execute('CREATE TABLE u (id int REFERENCES t DEFERRABLE INITIALLY DEFERRED)')
op.execute('INSERT INTO u VALUES (77)')""",
            "23503",
            "foreign key",
        ),
        ("op.execute('SELECT pg_terminate_backend(pg_backend_pid())')", "", "OperationalError"),
    ],
)
async def test_a_revision_that_fails_is_undone_and_the_next_has_its_turn(
    scratch, tmp_path, body, state, message
):
    body = f"op.execute('ALTER TABLE t ADD gone int')\n{body}"
    project = make_project(tmp_path, {"a1": TABLE, "b2": body, "c3": COLUMN})
    found = await traced(project, scratch=scratch)
    failure = found["b2"].failure
    assert failure
    assert failure.sqlstate == state
    assert message in failure.message
    assert not failure.on_rows
    assert not found["c3"].failure
    assert columns(scratch) == ["id", "n", "c"]
    assert list(scratch.skipped) == ["b2"]


async def test_the_line_of_a_failure_is_known(tmp_path):
    found = await traced(make_project(tmp_path, {"a1": f"{TABLE}\n\nraise RuntimeError"}))
    text = found["a1"].path.read_text().splitlines()
    assert "raise RuntimeError" in text[(found["a1"].failed_line or 0) - 1]


async def test_a_failure_for_want_of_what_an_earlier_one_should_have_made_is_marked(tmp_path):
    bodies = {
        "a1": "op.execute('CREATE TABLE t (id int)')\nraise RuntimeError",
        "b2": COLUMN,
        "c3": "op.execute('SELECT 1/0')",
    }
    found = await traced(make_project(tmp_path, bodies))
    assert found["b2"].consequence_of == ("a1",)
    assert found["c3"].consequence_of == ()


@pytest.mark.parametrize("connected_by", ["engine.connect()", "engine.begin()"])
async def test_a_failure_on_rows_is_traced_again_without_them(scratch, tmp_path, connected_by):
    body = f"op.execute('ALTER TABLE t ADD d int NOT NULL')\n{COLUMN}"
    project = make_project(tmp_path, {"a1": TABLE, "b2": body, "c3": "op.execute('ALTER TABLE t ADD e int')"})
    env = project.env_py.read_text().replace("engine.connect()", connected_by)
    project.env_py.write_text(env)
    found = (await traced(project, scratch=scratch))["b2"]
    assert found.failure
    assert (found.failure.sqlstate, found.failure.on_rows) == ("23502", True)
    assert [bool(statement.failure) for statement in found.statements] == [True, False]
    assert found.statements[0].strongest == LockMode.ACCESS_EXCLUSIVE
    assert found.seeded
    assert scratch.skipped == {}
    assert columns(scratch) == ["id", "n", "d", "c", "e"]


async def test_types_of_an_attempt_that_was_undone_are_made_again(tmp_path):
    body = (
        "op.create_table('u', sa.Column('id', sa.Integer), sa.Column('k', sa.Enum('x', name='kind')))\n"
        "op.execute('ALTER TABLE t ADD d int NOT NULL')"
    )
    found = await traced(make_project(tmp_path, {"a1": TABLE, "b2": body}))
    assert found["b2"].failure
    assert found["b2"].failure.on_rows


async def test_python_that_fails_on_rows_only_is_a_note(tmp_path):
    body = f"for row in op.get_bind().execute(sa.text('SELECT * FROM t')):\n    raise ValueError('odd')\n{COLUMN}"
    found = (await traced(make_project(tmp_path, {"a1": TABLE, "b2": body})))["b2"]
    assert not found.failure
    assert len(found.statements) == 2
    assert "with synthetic rows it raises ValueError: odd; traced without rows" in found.notes


async def test_without_rows_nothing_fails_on_them(tmp_path):
    project = make_project(tmp_path, {"a1": TABLE, "b2": "op.execute('ALTER TABLE t ADD d int NOT NULL')"})
    assert not (await traced(project, rows=False))["b2"].failure


@pytest.mark.parametrize("begun", ["empty", "with tables"])
async def test_a_half_applied_revision_gets_its_database_back(scratch, tmp_path, begun):
    last = "ALTER TABLE t ADD d int NOT NULL"
    project = make_project(
        tmp_path, {"a1": TABLE, "b2": HALF.format(last), "c3": "op.execute('ALTER TABLE t ADD e int')"}
    )
    if begun == "with tables":
        execute(scratch.address, "CREATE TABLE kept (id int)")
        assert await replay(project, scratch, ["a1"]) == ("a1",)
    found = await traced(project, "b2", "c3", scratch=scratch)
    failure = found["b2"].failure
    assert failure
    assert (failure.sqlstate, failure.on_rows) == ("23502", True)
    assert found["b2"].statements[-1].failure == failure
    assert not found["c3"].failure
    assert columns(scratch) == ["id", "n", "first", "d", "e"]
    assert ("kept" in tables(scratch.address)) == (begun == "with tables")


async def test_a_database_that_is_given_back_has_no_rows_from_before(scratch, tmp_path):
    last = "ALTER TABLE t ADD d int NOT NULL"
    project = make_project(tmp_path, {"a1": TABLE, "a2": COLUMN, "b2": HALF.format(last)})
    execute(scratch.address, "CREATE TABLE kept (id int)")
    await replay(project, scratch, ["a1"])
    # The rows that it fails on were there when the copy was made.
    found = await traced(project, "a2", "b2", scratch=scratch)
    assert found["a2"].seeded
    failure = found["b2"].failure
    assert failure
    assert (failure.sqlstate, failure.on_rows) == ("23502", True)


async def test_a_half_applied_revision_that_fails_without_rows_too_is_left_as_it_is(scratch, tmp_path):
    project = make_project(tmp_path, {"a1": TABLE, "b2": HALF.format("SELECT 1/0"), "c3": COLUMN})
    found = await traced(project, scratch=scratch)
    failure = found["b2"].failure
    assert failure
    assert (failure.sqlstate, failure.on_rows) == ("22012", False)
    assert not found["c3"].failure
    assert columns(scratch) == ["id", "n", "first", "c"]


@pytest.mark.parametrize(
    "body",
    [
        f"{COLUMN}\nop.get_bind().commit()\nop.execute('ALTER TABLE t ADD d int')",
        f"op.execute('COMMIT')\n{COLUMN}",
    ],
)
async def test_a_revision_that_commits_by_hand_is_got_over(tmp_path, body):
    found = await traced(make_project(tmp_path, {"a1": TABLE, "b2": body, "c3": "op.execute('SELECT 1')"}))
    assert list(found) == ["a1", "b2", "c3"]
    assert not any(one.failure for one in found.values())


async def test_several_engines_give_a_trace_each(tmp_path):
    ini = (
        "[alembic]\nscript_location = %(here)s/migrations\npath_separator = os\ndatabases = one, two\n"
        "[one]\nsqlalchemy.url = postgresql+psycopg2://db.example.com/one\n"
        "[two]\nsqlalchemy.url = postgresql+psycopg2://db.example.com/two\n"
    )
    body = (
        "def upgrade(engine_name):\n    globals()['upgrade_' + engine_name]()\n"
        "def upgrade_one():\n    op.execute('CREATE TABLE in_one ()')\n"
        "def upgrade_two():\n    op.execute('CREATE TABLE in_two ()')\n    op.execute('CREATE TABLE more ()')\n"
    )
    template = Path(alembic.__file__).parent / "templates/multidb/env.py"
    project = make_project(
        tmp_path,
        {
            "a1": body,
            "b2": body.replace("_one ()", "_one2 ()")
            .replace("more", "most")
            .replace("in_two ()", "in_two2 ()"),
        },
        env=template.read_text(),
        ini=ini,
    )
    with made_scratch() as scratch:
        found = await trace(project, scratch, ["a1", "b2"])
        assert [(one.revision, len(one.statements)) for one in found] == [
            ("a1", 1),
            ("a1", 2),
            ("b2", 1),
            ("b2", 2),
        ]
        assert not any(one.failure for one in found)
        first, second = scratch.databases
        assert tables(first) == {"in_one", "in_one2"}
        assert tables(second) == {"in_two", "in_two2", "more", "most"}


async def test_a_missing_extension_is_named_with_the_way_out(tmp_path):
    project = make_project(tmp_path, {"a1": "op.execute('CREATE EXTENSION IF NOT EXISTS postgis')"})
    with pytest.raises(ToolMissing, match="the scratch server lacks the extension postgis") as caught:
        await traced(project)
    assert "--scratch-url" in caught.value.hint
    assert "revision a1" in caught.value.why


async def test_what_a_missing_extension_is_not_needed_for_is_traced_without_it(tmp_path):
    project = make_project(
        tmp_path,
        {
            "a1": """
                op.execute("CREATE TABLE place (id int PRIMARY KEY, at timestamp)")
                op.execute("CREATE EXTENSION IF NOT EXISTS postgis")
                op.execute("COMMENT ON EXTENSION postgis IS 'where'")
                op.execute("CREATE TABLE visit (id bigint PRIMARY KEY)")
            """,
            "b2": "op.execute('CREATE EXTENSION pg_elsewhere; ALTER TABLE visit ADD COLUMN n int')",
            "c3": "op.execute('ALTER TABLE place ADD COLUMN shape geometry')",
            "d4": "op.execute('ALTER TABLE place ALTER COLUMN id TYPE bigint')",
        },
    )
    with made_scratch() as scratch:
        found = await traced(project, "b2", "c3", "d4", scratch=scratch, spare_extensions=True)
        assert [
            one for one in scratch.notes if "lacks the extension postgis" in one and "--scratch-url" in one
        ]
    assert [one.extension for one in found["b2"].lacking] == ["pg_elsewhere"]
    assert found["b2"].lacking[0].line
    assert found["b2"].failure is None
    assert "the extension postgis" in found["c3"].consequence_of
    assert [one.name for one in found["d4"].statements[0].rewritten] == ["place"]


@pytest.mark.parametrize(
    ("env", "revision", "error", "hint"),
    [
        ("from shop.models import Base", "pass", (Failed, "env.py imports shop,"), "--isolated"),
        ("", "def upgrade():\n    pass\nimport shop.models", (Failed, "a1.py imports shop,"), "install it"),
        ("import sys; sys.exit('no config')", "pass", (Failed, "SystemExit\\(no config\\)"), "--isolated"),
        ("", "def upgrade(:", (SettingsError, "a1.py does not parse, line"), "mend that line"),
        ("import os; os.environ['SECRET']", "pass", (Failed, "KeyError: 'SECRET'"), "--isolated"),
    ],
)
async def test_what_can_t_run_here_says_why_and_what_to_do(tmp_path, env, revision, error, hint):
    kind, said = error
    project = make_project(tmp_path, {"a1": revision})
    project.env_py.write_text(f"{env}\n{project.env_py.read_text()}")
    with pytest.raises(kind, match=said) as caught:
        await traced(project)
    assert hint in caught.value.hint


async def test_an_env_py_without_an_offline_mode_is_enough_and_one_that_runs_nothing_is_not(tmp_path):
    project = make_project(tmp_path, {"a1": TABLE})
    assert "offline" not in project.env_py.read_text()
    assert (await traced(project))["a1"].statements
    project.env_py.write_text("")
    with pytest.raises(Failed, match="ran no migrations"):
        await traced(project)


async def test_isolated_runs_without_env_py_and_with_the_project_s_names(scratch, tmp_path):
    body = "op.create_table('u', sa.Column('n', sa.Integer), sa.CheckConstraint('n > 0', name='positive'))"
    project = make_project(tmp_path, {"a1": body}, env="from shop.models import Base")
    options = TraceOptions(isolated=True)
    assert not (await trace(project, scratch, ["a1"], options=options))[0].failure
    assert any("naming convention" in note for note in scratch.notes)
    (tmp_path / "models.py").write_text(
        'Base(naming_convention={"ck": "ck_%(table_name)s_%(constraint_name)s"})'
    )
    with made_scratch() as other:
        await trace(project, other, ["a1"], options=options)
        assert other.notes == ()
        names = execute(
            other.address,
            "SELECT conname FROM pg_constraint WHERE conrelid = 'u'::regclass AND contype = 'c'",
        )
    assert names == [("ck_u_positive",)]


async def test_an_unknown_revision_is_refused(tmp_path):
    with pytest.raises(DbctlError, match="zz9"):
        await traced(make_project(tmp_path, {"a1": TABLE}), "zz9")


async def test_a_project_without_revisions_is_an_error(scratch, tmp_path):
    with pytest.raises(SettingsError, match="no revision found"):
        await replay(make_project(tmp_path, {}), scratch)


def columns(scratch: Scratch) -> list[str]:
    rows = execute(
        scratch.address,
        "SELECT attname FROM pg_attribute WHERE attrelid = 't'::regclass AND attnum > 0 AND NOT attisdropped"
        " ORDER BY attnum",
    )
    return [name for (name,) in rows]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (
            "raise RuntimeError('at import')",
            "the revision file b2.py can't be loaded: RuntimeError: at import",
        ),
        (
            "import psycopg2; psycopg2.connect('host=db.example.com dbname=shop')",
            "b2.py leads to db.example.com",
        ),
    ],
)
async def test_a_revision_that_fails_when_it_is_loaded_is_named_and_not_env_py(tmp_path, line, said):
    project = make_project(tmp_path, {"a1": "pass", "b2": f"{line}\ndef upgrade():\n    pass"})
    with pytest.raises(DbctlError, match=said) as caught:
        await traced(project)
    assert "b2.py, line" in caught.value.why
