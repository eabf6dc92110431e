"""What a run says of itself is so: cut short, half committed, or led elsewhere."""

from __future__ import annotations

import asyncio
import shutil
import threading

import pytest

from dbctl.errors import Failed, MigrationFailed, Refused
from dbctl.migrate.author import autogenerate_revision
from dbctl.migrate.runner import up
from tests.fixtures.database import execute
from tests.migrate.conftest import PROJECTS, quiet, tables


@pytest.fixture
def with_revision(site, tmp_path):
    """The sync template with one revision more, c3, that does what is given."""

    def make(*lines: str):
        copied = shutil.copytree(PROJECTS / "sync_template", tmp_path / "copied")
        body = "\n".join(f"    {line}" for line in lines)
        (copied / "migrations" / "versions" / "c3.py").write_text(
            f'import time\nfrom alembic import op\nrevision = "c3"\ndown_revision = "b2"\n\ndef upgrade():\n{body}\n'
        )
        return site("", config=copied / "alembic.ini")

    return make


@pytest.mark.parametrize("times", [1, 2])
async def test_a_cancelled_run_starts_no_further_statement(with_revision, times):
    here, begun = with_revision("time.sleep(1)", 'op.execute("CREATE TABLE late ()")'), threading.Event()

    def progress(step):
        if step.revision == "c3":
            begun.set()

    running = asyncio.create_task(up(here, progress=progress))
    await asyncio.to_thread(begun.wait, 10)
    for _ in range(times):
        running.cancel()
        await asyncio.sleep(0.1)
    with pytest.raises(MigrationFailed, match="2 revisions applied, then stopped: rolled back"):
        await running
    await asyncio.sleep(1.5)
    assert "late" not in tables(here.address)
    assert execute(here.address, "SELECT version_num FROM alembic_version") == [("b2",)]


@pytest.mark.parametrize("commit", ["COMMIT", "-- done\\nCOMMIT;", "/* a */ END", "SELECT 1; COMMIT"])
async def test_a_commit_written_as_sql_counts_as_one(with_revision, commit):
    here = with_revision(
        'op.execute("CREATE TABLE kept ()")', f'op.execute("{commit}")', 'op.execute("SELECT 1/0")'
    )
    with pytest.raises(
        MigrationFailed, match=r"half applied: statement 1 is done and noted.*; the database is at b2"
    ):
        await up(here, progress=quiet)
    assert "kept" in tables(here.address)


async def test_a_commit_that_fails_leaves_nothing_and_says_so(with_revision):
    here = with_revision(
        'op.execute("CREATE TABLE base (id int PRIMARY KEY)")',
        'op.execute("CREATE TABLE late (id int REFERENCES base DEFERRABLE INITIALLY DEFERRED)")',
        'op.execute("INSERT INTO late VALUES (42)")',
    )
    with pytest.raises(MigrationFailed, match="rolled back; the database is at b2"):
        await up(here, progress=quiet)
    assert "late" not in tables(here.address)


async def test_autogenerate_compares_with_no_other_database(site, other_conninfo):
    url = other_conninfo.psycopg2_url().render_as_string(hide_password=False)
    with pytest.raises(Refused, match=r"env\.py leads to another database"):
        await autogenerate_revision(site("elsewhere", f"url={url}"), "x", head="head", branch_label=None)


async def test_the_beginning_of_an_id_in_the_database_is_no_revision_of_ours(with_revision):
    here = with_revision("pass")
    file = here.project.script_location / "versions" / "c3.py"
    file.write_text(file.read_text().replace('"c3"', '"c3c3c3"'))
    await up(here, progress=quiet)
    execute(here.address, "UPDATE alembic_version SET version_num = 'c3c3'")
    with pytest.raises(Refused, match="c3c3, which this project does not have"):
        await up(here, progress=quiet)


@pytest.mark.parametrize("code", ["0", "3"])
async def test_a_project_that_exits_does_not_end_us_nor_pass_for_done(with_revision, code):
    here = with_revision("import sys", f"sys.exit({code})")
    with pytest.raises(MigrationFailed, match=rf"SystemExit\({code}\).*rolled back; the database is at b2"):
        await up(here, progress=quiet)


async def test_an_env_py_that_exits_is_an_error(with_revision):
    here = with_revision("pass")
    env_py = here.project.env_py
    env_py.write_text("import sys\nsys.exit(0)\n" + env_py.read_text())
    with pytest.raises(Failed, match=r"env\.py failed"):
        await up(here, progress=quiet)
