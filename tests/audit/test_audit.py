"""The record of what changed something: complete, tamper-shy, and never in the way."""

from __future__ import annotations

import json
import multiprocessing
import os
import pwd
import signal
import stat
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg2
import pytest

from dbctl.audit.file import append, read
from dbctl.audit.model import End, Start
from tests.fixtures.database import psycopg2_arguments

HERE = os.uname().nodename


@pytest.fixture
def record(tmp_path: Path, monkeypatch) -> Path:
    path = tmp_path / "states" / "audit.jsonl"
    monkeypatch.setenv("DBCTL_AUDIT__FILE", str(path))
    return path


def start(key: str, **changes) -> Start:
    values = {
        "id": key,
        "at": datetime.now(UTC),
        "command": "migrate up",
        "action": "applies",
        "arguments": {},
        "user": "ada",
        "host": HERE,
        "pid": os.getpid(),
        "life": "never",
        "environment": "local",
        "place": "database app",
        "version": "1",
    }
    return Start(**{**values, **changes})


def events(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def append_many(path: Path, name: str) -> None:
    for number in range(30):
        append(path, start(f"{name}{number}", arguments={"x": name * 5000}))


def wait_until(condition) -> None:
    until = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.05)


def test_what_changes_something_is_recorded_with_who_where_and_what_came_of_it(dbctl, record):
    assert dbctl("users", "create", "eve", "eve@example.com", "--generate").code == 0
    begun, ended = events(record)
    assert (begun["event"], ended["event"], begun["id"]) == ("start", "end", ended["id"])
    assert begun["command"] == "users create"
    assert begun["user"] == pwd.getpwuid(os.getuid()).pw_name
    assert begun["arguments"]["username"] == "eve"
    assert stat.S_IMODE(record.stat().st_mode) == 0o600

    shown = dbctl("audit", "--format", "json").json()
    assert [(one["outcome"], one["exit_code"], one["host"]) for one in shown] == [("done", 0, HERE)]
    assert shown[0]["changed"]["username"] == "eve"
    assert shown[0]["duration_seconds"] > 0
    assert "database " in shown[0]["place"]


def test_revisions_and_rows_that_changed_are_in_it(dbctl, record):
    assert dbctl("migrate", "up", "--no-plan").code == 0
    assert dbctl("users", "seed", "7", "--yes").code == 0
    ups = dbctl("audit", "--command", "migrate up", "--format", "json").json()
    assert ups[0]["changed"]["after"]
    seeds = dbctl("audit", "--command", "users", "--format", "json").json()
    assert [one["changed"]["rows"] for one in seeds] == [7]


def test_no_password_that_was_given_or_made_is_in_it(dbctl, record):
    made = dbctl("users", "create", "eve", "eve@example.com", "--generate", "--format", "json").json()
    failed = dbctl("migrate", "up", "-x", "password=hunter22", "--scratch-url", "postgresql://a:hunter23@h/d")
    assert failed.code in (0, 4, 6)
    text = record.read_text()
    assert made["generated_password"] not in text
    assert "hunter2" not in text
    assert '"command":"migrate up"' in text


def test_what_only_reads_is_not_recorded(dbctl, record):
    for command in (["users", "list"], ["migrate", "status"], ["env", "show"], ["audit"], ["locks"]):
        assert dbctl(*command).code == 0
    assert not record.exists()


def test_what_was_refused_and_what_failed_are_in_it_with_the_reason(dbctl, record):
    assert dbctl("users", "activate", "nobody", "--yes").code == 6
    protected = {"DBCTL_PROTECTED": "true"}
    assert dbctl("users", "create", "eve", "eve@example.com", "--no-password", env=protected).code == 3
    failed, refused = dbctl("audit", "--format", "json").json()
    assert (failed["outcome"], failed["exit_code"]) == ("not_found", 6)
    assert "nobody" in failed["why"]
    assert (refused["outcome"], refused["exit_code"]) == ("refused", 3)


def test_a_backup_is_recorded_and_a_prune_that_only_looks_is_not(dbctl, record):
    assert dbctl("backup", "-q").code == 0
    assert dbctl("backup", "prune").code == 0
    shown = dbctl("audit", "--format", "json").json()
    assert [(one["command"], one["outcome"]) for one in shown] == [("backup create", "done")]
    assert shown[0]["changed"]


def test_a_command_that_was_killed_is_shown_as_unfinished(dbctl, dbctl_process, conninfo, record):
    with psycopg2.connect(**psycopg2_arguments(conninfo)) as blocker:
        blocker.cursor().execute("LOCK TABLE users")
        process = dbctl_process.start(
            "users",
            "create",
            "eve",
            "eve@example.com",
            "--no-password",
            env={"DBCTL_DATABASE__LOCK_TIMEOUT": "0"},
        )
        wait_until(lambda: record.exists() and record.read_text().endswith("\n"))
        assert dbctl("audit", "--format", "json").json()[0]["outcome"] == "running"
        process.send_signal(signal.SIGKILL)
        process.communicate()
    (left,) = dbctl("audit", "--unfinished", "--format", "json").json()
    assert (left["outcome"], left["exit_code"], left["duration_seconds"]) == ("unfinished", None, None)
    assert "unfinished" in dbctl("audit").stdout


@pytest.mark.parametrize("kind", ["link", "pipe", "folder", "writable by all"])
def test_a_place_that_is_not_safe_takes_no_record_and_stops_no_command(dbctl, record, kind):
    record.parent.mkdir()
    elsewhere = record.with_name("elsewhere")
    elsewhere.touch()
    make = {
        "link": lambda: record.symlink_to(elsewhere),
        "pipe": lambda: os.mkfifo(record),
        "folder": record.mkdir,
        "writable by all": lambda: (record.touch(), record.chmod(0o666)),
    }
    make[kind]()
    done = dbctl("users", "create", "eve", "eve@example.com", "--no-password")
    assert done.code == 0
    assert f"warning: {record} takes no record of this: " in done.stderr
    assert elsewhere.read_bytes() == b""


def test_lines_that_were_cut_or_are_not_ours_hide_no_other(record):
    append(record, start("one"))
    with record.open("ab") as file:
        file.write(b'{"event":"start","id":"tw\n\xff\xfe\n[]\n{"event":"else"}\n{"event":"end","id"')
    append(record, start("three", command="users\u2028\ud800"))
    append(record, End("three", datetime.now(UTC), 1, "done", 0, "", {}))
    entries, unread = read(record, HERE)
    assert [(one.id, one.outcome) for one in entries] == [("one", "unfinished"), ("three", "done")]
    assert unread == 5


def test_commands_at_the_same_time_mix_no_lines(record):
    fork = multiprocessing.get_context("fork")
    writers = [fork.Process(target=append_many, args=(record, name)) for name in "abc"]
    for one in writers:
        one.start()
    for one in writers:
        one.join()
    entries, unread = read(record, HERE)
    assert (len(entries), unread) == (90, 0)


def test_since_and_the_environment_choose(dbctl, record):
    append(record, start("old", at=datetime(2020, 1, 1, tzinfo=UTC)))
    append(record, start("elsewhere", environment="staging"))
    append(record, start("here"))

    def shown(*options: str) -> list[str]:
        return [one["id"] for one in dbctl("audit", *options, "--format", "json").json()]

    assert shown() == ["elsewhere", "here"]
    assert shown("--since", "36500d") == ["old", "elsewhere", "here"]
    assert shown("--env", "local") == ["here"]
    assert shown("--command", "migrate") == ["elsewhere", "here"]
    assert shown("--command", "migr") == []
    assert dbctl("audit", "--since", "soon").code == 2


def test_it_can_be_switched_off(dbctl, record):
    off = {"DBCTL_AUDIT__ENABLED": "false"}
    assert dbctl("users", "create", "eve", "eve@example.com", "--no-password", env=off).code == 0
    assert not record.exists()
