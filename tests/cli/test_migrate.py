"""``dbctl migrate`` as a person or a pipeline runs it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import psycopg2
import pytest

from tests.fixtures.cli import url_of
from tests.fixtures.database import ROOT, execute
from tests.migrate.conftest import PROJECTS, tables


def config(name):
    return ("--config", str(PROJECTS / name / "alembic.ini"))


@pytest.fixture
def empty(empty_conninfo):
    """The environment that leads to an empty database."""
    return {"DATABASE_URL": url_of(empty_conninfo)}


def wait_for(condition, seconds=60.0):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def sleepers(conninfo):
    query = "SELECT pid FROM pg_stat_activity WHERE wait_event = 'PgSleep' AND datname = current_database()"
    return execute(conninfo, query)


def test_this_repository_goes_up_and_down(dbctl, empty, empty_conninfo):
    assert dbctl("migrate", "status", "--check", env=empty).code == 1
    up = dbctl("migrate", "up", "--format", "json", env=empty)
    assert up.code == 0, up.stderr
    assert [step["direction"] for step in up.json()["applied"]] == ["up"] * len(up.json()["applied"])
    assert f"database {empty_conninfo.database}" in up.stderr
    assert dbctl("migrate", "status", "--check", env=empty).code == 0
    down = dbctl("migrate", "down", "base", "--confirm", empty_conninfo.database, env=empty)
    assert down.code == 0, down.stderr
    assert tables(empty_conninfo) == set()
    assert (
        execute(empty_conninfo, "SELECT proname FROM pg_proc WHERE pronamespace = 'public'::regnamespace")
        == []
    )


def test_a_plain_alembic_takes_the_address_of_the_environment(project, conninfo):
    command = [sys.executable, "-m", "alembic", "current"]
    env = {**os.environ, "DATABASE_URL": url_of(conninfo), "PYTHONPATH": str(ROOT)}
    current = subprocess.run(command, cwd=project, env=env, capture_output=True, text=True, check=True)
    assert "(head)" in current.stdout


def test_up_at_head_does_nothing_and_says_so(dbctl):
    again = dbctl("migrate", "up")
    assert again.code == 0
    assert "nothing to do" in again.stdout


def test_down_needs_a_target_and_the_database_s_name(dbctl, conninfo):
    assert dbctl("migrate", "down").code == 2
    refused = dbctl("migrate", "down", "-1")
    assert refused.code == 3
    assert f"--confirm {conninfo.database}" in refused.stderr
    done = dbctl("migrate", "down", "-1", "--confirm", conninfo.database, "--format", "json")
    assert len(done.json()["applied"]) == 1


def test_stamp_asks_and_records(dbctl):
    assert dbctl("migrate", "stamp", "base").code == 3
    assert dbctl("migrate", "stamp", "base", "--yes", "--format", "json").json()["after"] == []


def test_status_reports_and_exits_0_unless_asked_to_check(dbctl, empty):
    found = dbctl("migrate", "status", "--format", "json", env=empty)
    assert found.code == 0
    assert found.json()["at_head"] is False
    assert found.json()["pending"][0]["id"]


def test_history_needs_no_database(dbctl_alone):
    listed = dbctl_alone("migrate", "history", "--format", "json", *config("needs_secret"))
    assert (listed.code, listed.stderr) == (0, "")
    assert [revision["id"] for revision in listed.json()] == ["a1"]


def test_heads_fails_where_there_are_several_and_says_how_to_merge_them(dbctl_alone):
    one = dbctl_alone("migrate", "heads", "--format", "json", *config("sync_template"))
    assert (one.code, len(one.json()), one.stderr) == (0, 1, "")
    several = dbctl_alone("migrate", "heads", *config("branches"))
    assert several.code == 1
    assert "next: alembic merge -m 'merge' right1 left2" in several.stderr


def test_history_imports_neither_alembic_nor_sqlalchemy(project):
    code = (
        "import sys; from dbctl.cli.root import run; code = run(['migrate', 'history'])\n"
        "sys.exit(code or str({'alembic', 'sqlalchemy', 'asyncpg', 'psycopg2'} & set(sys.modules) or ''))"
    )
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=project, env=env, capture_output=True, text=True, check=False
    )
    assert done.stderr.strip() == ""
    assert "head" in done.stdout


def test_sql_prints_and_asks_no_server(dbctl_alone, empty_conninfo):
    printed = dbctl_alone(
        "migrate", "up", "--sql", env={"DATABASE_URL": "postgresql://nobody@127.0.0.1:1/nothing"}
    )
    assert printed.code == 0, printed.stderr
    parts = [part for part in printed.stdout.split("\n\n") if part.strip() and not part.startswith("--")]
    execute(empty_conninfo, *parts)
    assert "users" in tables(empty_conninfo)


def test_new_writes_a_file_into_the_project(dbctl_alone, project):
    created = dbctl_alone("migrate", "new", "add orders", "--format", "json")
    assert created.code == 0, created.stderr
    (entry,) = created.json()
    assert entry["path"].startswith(str(project / "migrations" / "versions"))


def test_json_stays_json_when_the_project_prints(dbctl, empty):
    done = dbctl("migrate", "up", "--format", "json", *config("prints"), env=empty)
    assert done.json()["after"] == ["a1"]
    assert "a revision prints" in done.stderr


def test_a_missing_ini_is_named(dbctl):
    missing = dbctl("migrate", "up", "--config", "nowhere/alembic.ini")
    assert missing.code == 2
    assert "nowhere" in missing.stderr
    assert "--config" in missing.stderr


def test_a_revision_that_raises_exits_6_and_says_what_is_left(dbctl, empty):
    failed = dbctl("migrate", "up", *config("raises_midway"), env=empty)
    assert failed.code == 6
    assert "error: revision b2 failed: division by zero" in failed.stderr
    assert "the database is at a1" in failed.stderr


def test_two_at_once_one_is_told_who_holds_the_lock_or_waits(dbctl_process, empty, empty_conninfo):
    env = {**empty, "DBCTL_MIGRATE__LOCK_TIMEOUT": "5min"}
    waiting = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
    with closing(psycopg2.connect(**empty_conninfo.keywords)) as gate, gate.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(42)")
        with dbctl_process.start("migrate", "up", *config("waits"), env=env) as first:
            wait_for(lambda: execute(empty_conninfo, waiting) == [(1,)])
            second = dbctl_process("migrate", "up", *config("waits"), env=env)
            with dbctl_process.start("migrate", "up", "--wait", "60", *config("waits"), env=env) as patient:
                gate.rollback()
                said = [process.communicate(timeout=60) for process in (first, patient)]
    assert (first.returncode, second.code, patient.returncode) == (0, 5, 0), said
    assert "locked by another run" in second.stderr
    assert "nothing to do" in said[1][0]


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_rolls_back_and_leaves_nothing(dbctl_process, empty, empty_conninfo, number, code):
    with dbctl_process.start("migrate", "up", *config("sleeps"), env=empty) as running:
        wait_for(lambda: sleepers(empty_conninfo))
        running.send_signal(number)
        _, said = running.communicate(timeout=60)
    assert running.returncode == code, said
    assert tables(empty_conninfo) == {"a"}
    others = (
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
    )
    wait_for(lambda: execute(empty_conninfo, others) == [(0,)])


def test_after_kill_9_the_next_run_goes_on(dbctl_process, empty, empty_conninfo):
    with dbctl_process.start("migrate", "up", *config("sleeps"), env=empty) as running:
        wait_for(lambda: sleepers(empty_conninfo))
        running.send_signal(signal.SIGKILL)
        running.communicate(timeout=60)
    # The server notices only when the statement ends: here it is ended, in life it runs out.
    execute(empty_conninfo, f"SELECT pg_terminate_backend({sleepers(empty_conninfo)[0][0]})")
    done = dbctl_process("migrate", "up", "--wait", "10", *config("sync_template"), env=empty)
    assert done.code == 0, done.stderr
    assert tables(empty_conninfo) == {"a", "b"}


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="reads /proc")
def test_no_password_in_arguments_output_or_errors(dbctl_process, empty_conninfo):
    password = "h%dden-Pa55"
    url = url_of(empty_conninfo.with_password(password))
    with dbctl_process.start("migrate", "up", *config("sleeps"), env={"DATABASE_URL": url}) as running:
        wait_for(lambda: sleepers(empty_conninfo))
        arguments = Path(f"/proc/{running.pid}/cmdline").read_text(encoding="utf-8")
        execute(empty_conninfo, f"SELECT pg_cancel_backend({sleepers(empty_conninfo)[0][0]})")
        out, err = running.communicate(timeout=60)
    assert running.returncode == 6
    assert "migrate" in arguments
    assert "h%dden" not in arguments + out + err
    assert "h%25dden" not in arguments + out + err


@pytest.mark.parametrize("command", ["up", "down", "stamp", "plan"])
def test_an_empty_revision_as_of_an_unset_variable_is_no_revision(dbctl, command):
    refused = dbctl("migrate", command, "")
    assert refused.code == 2
    assert "REVISION is empty" in refused.stderr
