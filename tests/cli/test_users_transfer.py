"""``dbctl users import`` and ``export`` as they are typed."""

from __future__ import annotations

import gzip
import json
import os
import signal
import subprocess
import sys
import time

import pytest

from tests.fixtures.database import ROOT, execute

PEOPLE = "username,email,full_name\nada,ada@example.com,Ada Lovelace\ngrace,grace@example.com,\n"
BAD = PEOPLE + "x,no address,\n"


@pytest.fixture
def people(dbctl):
    path = dbctl.project / "people.csv"
    path.write_text(PEOPLE)
    return path


def test_what_is_imported_is_counted(dbctl, people):
    done = dbctl("users", "import", str(people), "--format", "json")
    assert (done.code, done.json()["added"]) == (0, 2)
    assert dbctl("users", "count").stdout == "2\n"


def test_bad_rows_import_nothing_until_they_have_a_place_to_go(dbctl, people):
    people.write_text(BAD)
    refused = dbctl("users", "import", str(people))
    assert refused.code == 1
    assert "line 4: email: " in refused.stderr
    assert "--rejects" in refused.stderr
    taken = dbctl("users", "import", str(people), "--rejects", "bad.csv")
    assert taken.code == 1
    assert dbctl("users", "count").stdout == "2\n"
    rejects = dbctl.project / "bad.csv"
    assert rejects.stat().st_mode & 0o777 == 0o600
    assert rejects.read_text().splitlines()[1].startswith("4,email,")


def test_rejected_rows_are_imported_once_they_are_mended(dbctl, people):
    people.write_text(BAD)
    dbctl("users", "import", str(people), "--rejects", "bad.csv")
    rejects = dbctl.project / "bad.csv"
    rejects.write_text(rejects.read_text().replace("no address", "x@example.com"))
    assert dbctl("users", "import", "bad.csv").code == 0
    assert dbctl("users", "count").stdout == "3\n"


def test_no_secret_is_written_among_the_rejects(dbctl):
    (dbctl.project / "p.csv").write_text("username,email,password\nx,nowhere,my very own secret\n")
    done = dbctl("users", "import", "p.csv", "--rejects", "bad.ndjson")
    assert "secret" not in (dbctl.project / "bad.ndjson").read_text() + done.stdout + done.stderr


@pytest.mark.parametrize("ending", ["csv", "ndjson", "csv.gz", "ndjson.zst"])
def test_export_and_import_go_through_every_kind_of_file(dbctl, people, conninfo, ending):
    dbctl("users", "import", str(people))
    exported = dbctl("users", "export", f"all.{ending}")
    assert (exported.code, exported.stdout) == (0, "")
    assert (dbctl.project / f"all.{ending}").stat().st_mode & 0o777 == 0o600
    execute(conninfo, "TRUNCATE users")
    assert dbctl("users", "import", f"all.{ending}").code == 0
    assert dbctl("users", "get", "ada", "--format", "json").json()["full_name"] == "Ada Lovelace"


def test_export_to_stdout_is_csv_unless_told(dbctl, people):
    dbctl("users", "import", str(people))
    assert dbctl("users", "export", "--fields", "username,email").stdout == (
        "username,email\nada,ada@example.com\ngrace,grace@example.com\n"
    )
    lines = dbctl("users", "export", "--format", "ndjson").stdout.splitlines()
    assert [json.loads(line)["username"] for line in lines] == ["ada", "grace"]


@pytest.mark.parametrize(
    ("content", "options", "expected"),
    [
        (PEOPLE.encode("utf-16"), (), (2, "--encoding utf-16")),
        (b"\xef\xbb\xbf" + PEOPLE.encode(), (), (0, "")),
        (PEOPLE.replace("Ada", "Zo\xeb").encode("latin-1"), (), (1, "UTF-8")),
        (PEOPLE.replace("Ada", "Zo\xeb").encode("latin-1"), ("--encoding", "latin-1"), (0, "")),
        (PEOPLE.encode(), ("--encoding", "klingon"), (2, "klingon")),
        (PEOPLE.encode("utf-16")[:-1], ("--encoding", "utf-16"), (6, "cut short")),
        (PEOPLE.encode(), ("--encoding", "punycode"), (6, "not in that encoding")),
        (PEOPLE.encode()[:-8], (), (1, "line 3")),
        (gzip.compress(PEOPLE.encode(), mtime=0)[:-12], (), (6, "damaged")),
        (b"", (), (2, "nothing")),
        (PEOPLE.encode(), ("--map", "username"), (2, "HEADER=FIELD")),
        (PEOPLE.encode(), ("--rejects", "/nonexistent/bad.csv"), (6, "can't write")),
        (PEOPLE.encode(), ("--batch", "1", "--dry-run"), (2, "--batch")),
    ],
)
def test_a_file_that_is_not_as_it_should_be(dbctl, people, content, options, expected):
    code, said = expected
    people.write_bytes(content)
    done = dbctl("users", "import", str(people), *options)
    assert done.code == code
    assert said in done.stderr


def test_a_file_that_is_not_there_or_has_no_known_ending(dbctl):
    assert dbctl("users", "import", "nosuch.csv").code == 6
    (dbctl.project / "people.txt").write_text(PEOPLE)
    assert dbctl("users", "import", "people.txt").code == 2
    assert dbctl("users", "import", "people.txt", "--file-format", "csv").code == 0


def test_users_come_from_stdin_too(dbctl_process):
    arguments = ("users", "import", "-", "--file-format", "csv")
    with dbctl_process.start(*arguments, stdin=subprocess.PIPE) as process:
        _, said = process.communicate(PEOPLE, timeout=60)
    assert (process.returncode, said.count("imports users from -")) == (0, 1)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_who_is_interrupted_waits_for_no_more_of_stdin(dbctl_process, conninfo, number, code):
    arguments = ("users", "import", "-", "--file-format", "csv")
    copying = "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND query LIKE 'COPY%'"
    with dbctl_process.start(*arguments, stdin=subprocess.PIPE) as process:
        process.stdin.write(PEOPLE)
        process.stdin.flush()
        until(lambda: execute(conninfo, copying))
        process.send_signal(number)
        # Nobody closes its stdin.
        assert process.wait(timeout=60) == code
        assert "interrupted" in process.stderr.read()
    assert execute(conninfo, "SELECT count(*) FROM users") == [(0,)]


@pytest.mark.parametrize(
    ("command", "code", "said"),
    [
        ("import - --file-format csv", 2, "nothing in the file"),
        ("delete ada", 3, "--confirm ada"),
        ("create x x@example.com", 2, "no password"),
    ],
)
def test_a_closed_stdin_is_an_empty_one(dbctl_process, command, code, said):
    assert dbctl_process("users", "create", "ada", "ada@example.com", "--no-password").code == 0
    script = f"exec {sys.executable} -m dbctl users {command} <&-"
    done = subprocess.run(
        ["/bin/sh", "-c", script],
        cwd=dbctl_process.project,
        env={**os.environ, **dbctl_process.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, said in done.stderr) == (code, True), done.stderr


def until(ready) -> None:
    ends = time.monotonic() + 60
    while not ready():
        assert time.monotonic() < ends
        time.sleep(0.02)


def test_an_update_of_those_that_are_there_asks_first(dbctl, people):
    dbctl("users", "import", str(people))
    assert dbctl("users", "import", str(people), "--on-conflict", "update").code == 3
    done = dbctl("users", "import", str(people), "--on-conflict", "update", "--yes", "--format", "json")
    assert done.json()["updated"] == 2


def test_the_same_file_in_batches_is_told_to_be_in_already(dbctl, people):
    assert dbctl("users", "import", str(people), "--batch", "1").code == 0
    again = dbctl("users", "import", str(people), "--batch", "1")
    assert (again.code, "imported already" in again.stderr) == (3, True)


def test_a_disk_that_is_full_of_rejected_rows_is_named_and_nothing_is_imported(dbctl, tmp_path):
    file = tmp_path / "people.csv"
    file.write_text(PEOPLE + "bad name,x,\n" * 10_000)
    # Every write to it says that the disk is full.
    full = tmp_path / "full.csv"
    full.symlink_to("/dev/full")
    result = dbctl("users", "import", str(file), "--rejects", str(full))
    assert (result.code, f"can't write {full}" in result.stderr) == (6, True), result.stderr
    assert dbctl("users", "count").stdout == "0\n"


@pytest.mark.parametrize("more", [(), ("--batch", "1")])
@pytest.mark.parametrize("name", ["people.csv", "other.csv"])
def test_the_file_that_is_read_is_never_the_one_for_rejected_rows(dbctl, people, name, more):
    people.write_text(BAD)
    if name != people.name:
        (dbctl.project / name).symlink_to(people)
    done = dbctl("users", "import", str(people), "--rejects", name, *more)
    assert (done.code, "both read and written" in done.stderr) == (2, True)
    assert people.read_text() == BAD
