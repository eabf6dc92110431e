"""``dbctl backup``: one command for cron, for a person and for a script."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import psycopg2
import pytest

from tests.fixtures.cli import url_of
from tests.fixtures.database import execute

BACKUPS = ".dbctl/backups"


@contextmanager
def locked_table(conninfo):
    """A table that nobody can dump: pg_dump waits for it."""
    execute(conninfo, "CREATE TABLE locked ()")
    with closing(psycopg2.connect(**conninfo.keywords)) as connection:
        connection.cursor().execute("LOCK TABLE locked IN ACCESS EXCLUSIVE MODE")
        yield


def wait_for_dump(project: Path) -> None:
    """Wait until a run has begun to write."""
    deadline = time.monotonic() + 30
    while not list((project / BACKUPS).glob(".partial/*/archive.dump")):
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_alone_it_makes_a_backup_and_prints_its_id_alone(dbctl, project):
    result = dbctl("backup")
    assert result.code == 0, result.stderr
    assert result.stdout == f"{next((project / BACKUPS).glob('2*')).name}\n"
    assert "backed up test_" in result.stderr


def test_in_cron_success_is_silent_and_failure_is_not(dbctl, project):
    done = dbctl("backup", "-q")
    assert (done.code, done.stdout, done.stderr) == (0, "", "")
    failed = dbctl("backup", "create", "--quiet", env={"DBCTL_BACKUP__TARGET": "alembic.ini"})
    assert failed.code == 6
    assert failed.stdout == ""
    (line,) = failed.stderr.splitlines()
    assert line.startswith("error: ")
    assert "alembic.ini" in line
    assert "; next: " in line


def test_in_cron_a_finding_is_said_in_a_line(dbctl, project):
    made = dbctl("backup").stdout.strip()
    with (project / BACKUPS / made / "archive.dump").open("ab") as archive:
        archive.write(b"x")
    for arguments in (("verify", made), ("verify", made, "--restore"), ("status",)):
        found = dbctl("backup", *arguments, "-q")
        assert (found.code, found.stdout) == (1, "")
        (line,) = found.stderr.splitlines()
        assert "no good backup" in line or f"{made} is not good: archive.dump has" in line
    told = dbctl("backup", "status", "-q", "--format", "json")
    assert (told.stderr, told.json()["level"]) == ("", "critical")


def test_create_gives_the_manifest_as_json(dbctl, conninfo):
    made = dbctl("backup", "create", "--format", "json").json()
    assert made["status"] == "good"
    assert made["manifest"]["database"] == conninfo.database
    assert made["manifest"]["created_at"].endswith("Z")
    assert {"schema": "public", "name": "users", "rows": 0, "digest": None} in made["manifest"]["facts"][
        "tables"
    ]


def test_list_is_an_array_and_needs_no_database(dbctl, dbctl_alone):
    assert dbctl_alone("backup", "list", "--format", "json").json() == []
    made = [dbctl("backup").stdout.strip() for _ in range(2)]
    listed = dbctl_alone("backup", "list", "--format", "json").json()
    assert {one["id"] for one in listed} == set(made)
    assert [one["created_at"] for one in listed] == sorted(
        (one["created_at"] for one in listed), reverse=True
    )
    assert {one["status"] for one in listed} == {"good"}
    assert len(dbctl_alone("backup", "list").stdout.splitlines()) == 3


def test_show_takes_latest_or_the_beginning_of_an_id(dbctl, dbctl_alone):
    made = dbctl("backup").stdout.strip()
    for reference in ((), ("latest",), (made[:-2],)):
        assert dbctl_alone("backup", "show", *reference, "--format", "json").json()["id"] == made
    assert "public\tusers\t0" in dbctl_alone("backup", "show").stdout
    missing = dbctl_alone("backup", "show", "2020")
    assert missing.code == 6
    assert "dbctl backup list" in missing.stderr


def test_verify_finds_a_flipped_bit_and_says_which_backup(dbctl, dbctl_alone, project):
    good, bad = (dbctl("backup").stdout.strip() for _ in range(2))
    archive = project / BACKUPS / bad / "archive.dump"
    data = bytearray(archive.read_bytes())
    data[len(data) // 2] ^= 16
    archive.write_bytes(data)
    assert dbctl_alone("backup", "verify", good).code == 0
    assert dbctl_alone("backup", "verify", bad).code == 1
    every = dbctl_alone("backup", "verify", "--all", "--format", "json")
    assert every.code == 1
    assert {one["id"]: one["good"] for one in every.json()} == {good: True, bad: False}


@pytest.mark.parametrize("manifest", ["{", '{"format_version": 99}', '{"format_version": 1}'])
def test_one_broken_manifest_hides_no_other_backup(dbctl, dbctl_alone, project, manifest):
    good, broken = (dbctl("backup").stdout.strip() for _ in range(2))
    (project / BACKUPS / broken / "manifest.json").write_text(manifest)
    listed = dbctl_alone("backup", "list", "--format", "json").json()
    assert {one["id"]: one["status"] for one in listed} == {good: "good", broken: "unreadable"}
    assert dbctl_alone("backup", "show", "latest", "--format", "json").json()["id"] == good
    assert dbctl_alone("backup", "verify", broken).code == 1


def test_a_wrong_password_and_a_dead_server_are_unreachable(dbctl_alone, project):
    result = dbctl_alone("backup", env={"DATABASE_URL": "postgresql://ada:s3cret@127.0.0.1:1/app"})
    assert result.code == 4
    assert "s3cret" not in result.stderr
    assert list((project / BACKUPS).glob("2*")) == []


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_an_interrupted_run_leaves_neither_file_nor_process(dbctl_process, conninfo, project, number, code):
    with locked_table(conninfo):
        process = dbctl_process.start("backup")
        wait_for_dump(project)
        process.send_signal(number)
        _, error = process.communicate(timeout=60)
        assert process.returncode == code, error
        assert list((project / BACKUPS / ".partial").iterdir()) == []
        assert_no_session(conninfo)


def test_a_killed_run_leaves_nothing_that_looks_like_a_backup(dbctl_process, dbctl, conninfo, project):
    with locked_table(conninfo):
        process = dbctl_process.start("backup")
        wait_for_dump(project)
        process.kill()
        process.communicate(timeout=60)
        assert_no_session(conninfo)
    assert dbctl("backup", "list", "--format", "json").json() == []
    assert dbctl("backup").code == 0
    assert list((project / BACKUPS / ".partial").iterdir()) == []


def dump_of(parent: int) -> int:
    """The pg_dump that a run has started (/proc), once it dumps."""
    for _ in range(400):
        for process in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):
                arguments = (process / "cmdline").read_bytes()
                # pid (name) state parent …
                mother = int((process / "stat").read_text().rpartition(")")[2].split()[1])
                if b"pg_dump\0" in arguments and b"--snapshot=" in arguments and mother == parent:
                    return int(process.name)
        time.sleep(0.02)
    raise AssertionError("no pg_dump was started")


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_killed_pg_dump_is_a_failure_with_nothing_left(dbctl_process, conninfo, project):
    with locked_table(conninfo):
        process = dbctl_process.start("backup")
        wait_for_dump(project)
        os.kill(dump_of(process.pid), signal.SIGKILL)
        _, error = process.communicate(timeout=60)
    assert process.returncode == 6, error
    assert "SIGKILL" in error
    assert list((project / BACKUPS / ".partial").iterdir()) == []


def test_of_two_runs_at_once_the_second_is_busy(dbctl_process, dbctl, conninfo, project):
    with locked_table(conninfo):
        process = dbctl_process.start("backup")
        wait_for_dump(project)
        second = dbctl("backup")
        elsewhere = dbctl("backup", env={"DBCTL_BACKUP__TARGET": "elsewhere"})
        process.terminate()
        process.communicate(timeout=60)
    assert (second.code, elsewhere.code) == (5, 5)
    assert str(process.pid) in second.stderr


def test_listing_loads_no_database_library(project):
    script = """
import sys
from dbctl.cli.root import run
assert run(["backup", "list"]) == 0
print([name for name in ("sqlalchemy", "asyncpg", "alembic", "psycopg2") if name in sys.modules])
"""
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=project, capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines()[-1] == "[]", done.stderr


def test_an_error_is_json_where_json_was_asked_for(dbctl_alone):
    result = dbctl_alone("backup", "show", "latest", "--format", "json")
    assert result.code == 6
    assert json.loads(result.stderr)["error"]


def assert_no_session(conninfo):
    """Nobody of ours is on the server any more."""
    for _ in range(100):
        if execute(
            conninfo,
            "SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'dbctl%' AND datname = current_database()",
        ) == [(0,)]:
            return
        time.sleep(0.05)
    raise AssertionError(url_of(conninfo))


def test_an_environment_may_be_called_like_a_command(dbctl):
    (dbctl.project / "configs" / "list.toml").write_text("")
    result = dbctl("backup", "-e", "list")
    assert result.code == 0, result.stderr
    assert dbctl("backup", "list", "--format", "json").json()[0]["environment"] == "list"
