"""A backfill in a project's revision: run by `dbctl migrate up` and by Alembic itself, killed, and planned."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import pytest

from tests.fixtures.cli import url_of
from tests.fixtures.database import ROOT, execute
from tests.migrate.plan.conftest import stamp, write_project

BODY = """
from dbctl.migrate import backfill
backfill(op, "t", set={"n": sa.column("n") + 1}, batch_rows=200, batch_seconds=0.03)
"""
ROWS = 30_000
PLACE = "SELECT walked_rows FROM dbctl_backfills"


@pytest.fixture
def at_work(empty_conninfo, tmp_path):
    """A project with a backfill, the arguments that name it, and a table to be filled."""
    stamp(empty_conninfo)
    execute(empty_conninfo, f"CREATE TABLE t AS SELECT g AS id, 0 AS n FROM generate_series(1, {ROWS}) g")
    execute(empty_conninfo, "ALTER TABLE t ADD PRIMARY KEY (id)", "ANALYZE t")
    ini = write_project(tmp_path / "filled", BODY)
    return ini, {"DATABASE_URL": url_of(empty_conninfo)}


def walked(conninfo):
    if not execute(conninfo, "SELECT to_regclass('dbctl_backfills')")[0][0]:
        return 0
    return next(iter(execute(conninfo, PLACE)), (0,))[0]


def test_killed_at_any_moment_the_next_run_goes_on_and_no_row_is_changed_twice(
    dbctl_process, at_work, empty_conninfo
):
    ini, env = at_work
    for goal in (1, ROWS // 3):
        with dbctl_process.start("migrate", "up", "--config", str(ini), env=env) as running:
            while walked(empty_conninfo) < goal and running.poll() is None:
                time.sleep(0.01)
            running.send_signal(signal.SIGKILL)
            running.communicate(timeout=60)
        assert 0 < walked(empty_conninfo) < ROWS
    done = dbctl_process("migrate", "up", "--config", str(ini), "--wait", "20", env=env)
    assert done.code == 0, done.stderr
    assert execute(empty_conninfo, "SELECT n, count(*) FROM t GROUP BY n") == [(1, ROWS)]
    assert execute(empty_conninfo, "SELECT to_regclass('dbctl_backfills')") == [(None,)]


def test_plain_alembic_runs_it_too(at_work, empty_conninfo):
    ini, _ = at_work
    url = empty_conninfo.psycopg2_url().render_as_string(hide_password=False)
    ini.write_text(ini.read_text() + f"\nsqlalchemy.url = {url.replace('%', '%%')}\n")
    command = [sys.executable, "-m", "alembic", "-c", str(ini), "upgrade", "head"]
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    subprocess.run(command, env=env, cwd=ini.parent, check=True, capture_output=True)
    assert execute(empty_conninfo, "SELECT n, count(*) FROM t GROUP BY n") == [(1, ROWS)]


def test_a_plan_shows_it_as_short_transactions_and_no_danger(dbctl, at_work):
    ini, env = at_work
    planned = dbctl("migrate", "plan", "--config", str(ini), "--format", "json", env=env)
    (revision,) = planned.json()["revisions"]
    changes = [one for one in revision["statements"] if one["sql"].startswith("WITH moved AS")]
    assert changes
    assert all(one["mode"] == "autocommit" for one in changes)
    assert all(one["estimate"]["is_brief"] for one in revision["statements"])
    assert {finding["hazard"] for finding in revision["findings"]} <= {"irreversible"}


def test_a_plan_of_one_that_fails_on_rows_finds_the_copy_as_it_was(dbctl, at_work):
    ini, env = at_work
    revision = ini.parent / "migrations" / "versions" / "r1.py"
    never_null = 'op.execute("ALTER TABLE t ALTER n SET NOT NULL")'
    revision.write_text(
        revision.read_text().replace("\n\n\ndef downgrade", f"\n    {never_null}\n\n\ndef downgrade")
    )
    planned = dbctl("migrate", "plan", "--config", str(ini), "--format", "json", env=env)
    (found,) = planned.json()["revisions"]
    assert "revision-fails" not in {finding["hazard"] for finding in found["findings"]}
    assert never_null[12:30] in found["statements"][-1]["sql"]
