"""The history before the range: replayed once, then copied, and never when anything that matters has changed."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from dbctl.migrate.lint.model import Report
from dbctl.migrate.lint.request import Request, Where
from dbctl.migrate.lint.run import lint_project
from dbctl.migrate.project import read_project
from dbctl.migrate.trace.options import TraceOptions

TABLE = (
    'op.create_table("t{n}", sa.Column("id", sa.BigInteger, primary_key=True), sa.Column("name", sa.Text))'
)


async def lint(written, wanted: str, **changes) -> Report:
    request = Request(here=written.folder, range=wanted)
    project = read_project(written.config, x_arguments=changes.pop("x", ()))
    return await lint_project(project, replace(request, **changes), lambda _: None)


@pytest.fixture
def long(written):
    """Twelve revisions, and a new one."""
    for number in range(12):
        written.add(f"r{number:03}", TABLE.format(n=number))
    written.add("new", 'op.create_index("ix", "t3", ["name"])')
    return written


async def test_the_second_lint_of_a_new_revision_starts_from_a_copy(long):
    first, second = await lint(long, "new"), await lint(long, "new")
    assert (first.history, second.history) == ("replayed", "cached")
    assert second.history_revisions == 12
    assert [f.hazard for f in first.findings] == [f.hazard for f in second.findings] == ["create-index"]


async def test_a_lint_of_everything_is_the_history_of_the_next_revision(long):
    assert (await lint(long, "base:r011")).history == "empty"
    found = await lint(long, "new")
    assert found.history == "cached"
    assert [one.hazard for one in found.findings] == ["create-index"]


async def test_a_copy_of_the_beginning_saves_its_part(long):
    await lint(long, "new")
    long.add("newer", 'op.drop_column("t3", "name")')
    seen: list[str] = []
    found = await lint_project(
        read_project(long.config),
        Request(long.folder, range="newer"),
        lambda step: seen.append(step.revision),
    )
    assert seen == ["new", "newer"]
    assert found.history == "replayed"
    assert {one.hazard for one in found.findings} == {"drop-column"}


@pytest.mark.parametrize("what", ["an older revision", "env.py", "a file beside it", "the ini", "-x", "rows"])
async def test_nothing_is_taken_from_a_copy_when_what_made_it_is_another(long, what):
    await lint(long, "new")
    changes: dict[str, Any] = {}
    if what == "an older revision":
        file = long.versions / "r003.py"
        file.write_text(file.read_text().replace("sa.Text", "sa.String"))
    elif what == "env.py":
        with (long.folder / "migrations" / "env.py").open("a") as env_py:
            env_py.write("# another\n")
    elif what == "a file beside it":
        (long.versions / "data.sql").write_text("SELECT 1")
    elif what == "the ini":
        with long.config.open("a") as ini:
            ini.write("prepend_sys_path = .\n")
    elif what == "-x":
        changes["x"] = ("tenant=a",)
    else:
        changes["options"] = TraceOptions(rows=False)
    assert (await lint(long, "new", **changes)).history == "replayed"


async def test_a_module_that_the_project_imports_counts_too(long, monkeypatch):
    helper = long.folder / "shop_names_for_lint.py"
    helper.write_text("NAME = 'a'\n")
    monkeypatch.syspath_prepend(str(long.folder))
    env_py = long.folder / "migrations" / "env.py"
    env_py.write_text("import shop_names_for_lint\n" + env_py.read_text())
    await lint(long, "new")
    assert (await lint(long, "new")).history == "cached"
    helper.write_text("NAME = 'b'\n")
    assert (await lint(long, "new")).history == "replayed"


async def test_a_damaged_copy_is_thrown_away_and_replayed(long, templates_folder):
    await lint(long, "new")
    (kept,) = templates_folder.glob("template-*/")
    (kept / "data" / "global" / "pg_control").write_bytes(b"")
    assert (await lint(long, "new")).history == "replayed"
    assert (await lint(long, "new")).history == "cached"


async def test_a_copy_that_does_not_start_is_thrown_away_and_replayed(long, templates_folder):
    await lint(long, "new")
    (kept,) = templates_folder.glob("template-*/")
    control = kept / "data" / "global" / "pg_control"
    control.write_bytes(b"x" * control.stat().st_size)
    assert (await lint(long, "new")).history == "replayed"
    assert (await lint(long, "new")).history == "cached"


async def test_what_a_trace_wrote_out_of_synthetic_rows_is_never_kept(long):
    long.add("copies", 'op.execute("INSERT INTO t1 (id, name) SELECT id + 100, name FROM t2")')
    await lint(long, "base:copies")
    assert (await lint(long, "copies")).history == "replayed"


async def test_rows_that_a_template_brings_fail_a_revision_as_fresh_ones_do(long):
    long.add("strict", 'op.add_column("t3", sa.Column("must", sa.Integer, nullable=False))')
    fresh, cached = await lint(long, "strict"), await lint(long, "strict")
    assert (fresh.history, cached.history) == ("replayed", "cached")
    for found in (fresh, cached):
        assert [one.hazard for one in found.findings] == ["add-col-not-null-no-default"]
        assert "made-up rows" in found.revisions[0].failure


async def test_a_history_that_fails_is_not_kept(long, templates_folder):
    long.add("broken", "raise ValueError('no')")
    long.add("last", 'op.drop_table("t0")')
    found = await lint(long, "last")
    assert found.revisions[0].revision == "last"
    assert (await lint(long, "last")).history == "replayed"


async def test_a_revision_between_old_ones_is_linted_where_it_stands(long):
    file = long.versions / "r006.py"
    file.write_text(file.read_text().replace("'r005'", "'between'"))
    long.add("between", 'op.drop_column("t5", "name")', down="r005")
    found = await lint(long, "between")
    assert found.history_revisions == 6
    assert "drop-column" in {one.hazard for one in found.findings}


async def test_another_major_has_its_own_copies(long):
    await lint(long, "new")
    assert (await lint(long, "new", where=Where(major=15))).history == "replayed"
