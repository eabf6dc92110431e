"""What nobody watches: pings, metrics, and the schedules that run them."""

from __future__ import annotations

import re
import signal
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import psycopg2
import pytest

from tests.fixtures.database import psycopg2_arguments


@dataclass
class Checks:
    """A server like healthchecks.io: its address, and what it was told."""

    url: str
    told: list[tuple[str, str]] = field(default_factory=list)


@pytest.fixture
def checks() -> Iterator[Checks]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"])).decode()
            heard.told.append((self.path, body))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_arguments: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        heard = Checks(f"http://127.0.0.1:{server.server_port}/a-secret")
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield heard
        server.shutdown()


def metrics(path) -> dict[str, float]:
    lines = [line for line in path.read_text().splitlines() if not line.startswith("#")]
    return {line.partition("{")[0]: float(line.rpartition(" ")[2]) for line in lines}


def test_a_backup_that_nobody_watches_says_when_it_begins_and_ends(dbctl, checks, tmp_path):
    file = tmp_path / "backup.prom"
    done = dbctl("backup", "-q", "--ping", f"{checks.url}?rid=1", "--metrics-file", str(file))
    assert (done.code, done.stdout, done.stderr) == (0, "", "")
    assert checks.told == [("/a-secret/start?rid=1", ""), ("/a-secret?rid=1", "")]
    first = metrics(file)
    assert (first["dbctl_job_success"], first["dbctl_job_exit_code"]) == (1, 0)
    assert 'command="backup create",environment="' in file.read_text()
    assert first["dbctl_job_duration_seconds"] > 0

    failed = dbctl(
        "backup", "-q", "--table", "nosuch", "--metrics-file", str(file), env={"DBCTL_PING": checks.url}
    )
    assert failed.code == 6
    assert checks.told[2] == ("/a-secret/start", "")
    assert (checks.told[3][0], "nosuch" in checks.told[3][1]) == ("/a-secret/fail", True)
    assert "a-secret" not in failed.stderr
    second = metrics(file)
    assert (second["dbctl_job_success"], second["dbctl_job_exit_code"]) == (0, 6)
    # When it last went well is not forgotten.
    assert (
        second["dbctl_job_last_success_timestamp_seconds"]
        == first["dbctl_job_last_success_timestamp_seconds"]
    )


def test_a_finding_is_a_failure_and_says_what_was_found(dbctl, checks):
    found = dbctl("backup", "status", "--max-age", "1s", "--ping", checks.url)
    assert found.code == 1
    assert checks.told[-1] == ("/a-secret/fail", "local: critical, no backup of local at all")


def test_nobody_who_answers_fails_no_backup_and_the_address_stays_a_secret(dbctl):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    done = dbctl("backup", "--ping", f"http://127.0.0.1:{port}/a-secret")
    assert done.code == 0
    assert done.stderr.count("note: the ping of 127.0.0.1 failed: ") == 2
    assert "a-secret" not in done.stderr


def test_one_who_hears_and_never_answers_holds_nothing_up_for_ever(dbctl, monkeypatch):
    monkeypatch.setattr("dbctl.cli.unattended._PATIENCE_SECONDS", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        done = dbctl("backup", "--ping", f"http://127.0.0.1:{deaf.getsockname()[1]}/a-secret")
    assert done.code == 0
    assert done.stderr.count("note: the ping of 127.0.0.1 failed: ") == 2
    assert "a-secret" not in done.stderr


def test_metrics_that_somebody_else_spoilt_are_written_anew(dbctl, tmp_path):
    file = tmp_path / "status.prom"
    for spoilt in (
        b"\xff\xfe",
        b'dbctl_job_last_success_timestamp_seconds{command="backup status",environment="local"} z',
    ):
        file.write_bytes(spoilt)
        assert dbctl("backup", "status", "--metrics-file", str(file)).code == 1
        assert metrics(file)["dbctl_job_exit_code"] == 1


@pytest.mark.parametrize(
    "url",
    [
        "https://ada:s3cret@hc-ping.com/x",
        "hc-ping.com/x",
        "ftp://hc-ping.com/x",
        "file:///etc/passwd",
        "http://",
    ],
)
def test_what_is_no_address_is_refused_before_anything_is_done(dbctl, tmp_path, url):
    wrong = dbctl("backup", f"--ping={url}")
    assert (wrong.code, "--ping takes the URL of a check" in wrong.stderr) == (2, True)
    assert "s3cret" not in wrong.stderr
    nowhere = dbctl("backup", "--metrics-file", str(tmp_path / "no" / "file.prom"))
    assert (nowhere.code, "can't write --metrics-file" in nowhere.stderr) == (2, True)
    assert dbctl("backup", "list", "--format", "json").json() == []


def test_an_interrupted_backup_says_so(dbctl_process, checks, conninfo):
    with closing(psycopg2.connect(**psycopg2_arguments(conninfo))) as blocker, blocker.cursor() as cursor:
        cursor.execute("LOCK TABLE users IN ACCESS EXCLUSIVE MODE")
        process = dbctl_process.start("backup", "--ping", checks.url)
        deadline = time.monotonic() + 60
        while not checks.told and time.monotonic() < deadline:
            time.sleep(0.05)
        process.send_signal(signal.SIGTERM)
        _, said = process.communicate(timeout=60)
    assert (process.returncode, "interrupted" in said) == (143, True)
    assert checks.told[-1][0] == "/a-secret/fail"
    assert "interrupted" in checks.told[-1][1]


def test_schedules_name_this_program_this_project_and_this_environment(dbctl, tmp_path):
    printed = dbctl("schedule", "print", "cron", "--alert", "ops@example.com")
    assert printed.code == 0
    assert len(re.findall(rf"cd {dbctl.project} && .*--env local$", printed.stdout, re.MULTILINE)) == 4
    assert dbctl("backup", "schedule", "--cron").stdout.count("--env local\n") == 3
    written = dbctl("schedule", "print", "systemd", "health", "--into", str(tmp_path))
    assert (written.code, sorted(path.name for path in tmp_path.glob("dbctl-*"))) == (
        0,
        ["dbctl-health-local.service", "dbctl-health-local.timer"],
    )
    assert dbctl("backup", "schedule", "--k8s").code == 2
    assert dbctl("backup", "schedule").code == 2
    assert dbctl("schedule", "print", "systemd", "--into", str(tmp_path / "no")).code == 6
    assert "--alert" in dbctl("schedule", "print", "--help").stdout
