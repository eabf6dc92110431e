"""Writes: announced, guarded, and whole or not at all."""

from __future__ import annotations

import os
import pty
import resource
import subprocess
import sys

import pytest

from dbctl.cli.output.blocks import Lines
from dbctl.cli.output.emit import emit
from dbctl.errors import Failed


@pytest.mark.parametrize(("answer", "code"), [("app", 0), ("other", 3), ("", 3), ("APP", 3)])
def test_a_person_types_the_name_itself(answer, code):
    script = (
        "import sys\nfrom dbctl.cli.confirm import ask_name\nfrom dbctl.errors import Refused\n"
        "try: ask_name('app', 'drops it', confirmed=None)\nexcept Refused as e: sys.exit(e.exit_code)"
    )
    parent, child = pty.openpty()
    with subprocess.Popen([sys.executable, "-c", script], stdin=child, stdout=child, stderr=child) as process:
        seen = b""
        while b"to go on: " not in seen:
            seen += os.read(parent, 200)
        os.write(parent, f"{answer}\n".encode())
        assert process.wait(timeout=60) == code
    os.close(parent)
    os.close(child)


WRITES = [
    ("migrate", "up"),
    ("migrate", "down", "base", "--accept-loss"),
    ("migrate", "stamp", "head", "--yes"),
    ("users", "create", "eve", "eve@example.com", "--no-password"),
    ("users", "update", "ada", "--full-name", "A", "--yes"),
    ("users", "activate", "ada"),
    ("users", "deactivate", "ada", "--yes"),
    ("users", "delete", "ada"),
    ("users", "password", "ada", "--no-password"),
    ("users", "seed", "1"),
]


@pytest.mark.parametrize("command", WRITES, ids=" ".join)
def test_no_write_reaches_a_protected_environment_without_its_name(dbctl, conninfo, command):
    """And its own name, not the database's: `--confirm app` means another thing."""
    dbctl("users", "create", "ada", "ada@example.com", "--no-password")
    for confirm in ((), ("--confirm", conninfo.database), ("--confirm", "ada")):
        refused = dbctl(*command, "-e", "production", *confirm)
        assert refused.code == 3
        assert f"production: {conninfo}: " in refused.stderr


@pytest.mark.parametrize("command", WRITES, ids=" ".join)
def test_every_write_says_on_one_line_where_it_goes(dbctl, conninfo, command):
    said = dbctl(*command, "--confirm", conninfo.database).stderr
    assert sum(line.startswith(f"local: {conninfo}: ") for line in said.splitlines()) == 1


def test_a_write_that_fails_leaves_the_old_file(tmp_path):
    file = tmp_path / "out"
    file.write_text("old")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, hard))
    try:
        with pytest.raises(Failed, match="File too large"):
            emit("x", lambda _: [Lines(["new" * 100])], "table", file)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert file.read_text() == "old"
    assert list(tmp_path.iterdir()) == [file]
