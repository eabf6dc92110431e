"""Questions before a change, and what happens where nobody can answer."""

from __future__ import annotations

import io
import os
import pty
import subprocess
import sys
import termios

import pytest

from dbctl.cli import confirm
from dbctl.errors import Refused


def test_with_no_terminal_a_question_is_a_refusal_that_names_the_flag(monkeypatch):
    monkeypatch.setattr("sys.stdin", io.StringIO())
    with pytest.raises(Refused) as caught:
        confirm.ask("Really?", yes=False)
    assert "--yes" in caught.value.hint
    with pytest.raises(Refused) as caught:
        confirm.ask_name("app", "drops it", confirmed=None)
    assert "--confirm app" in caught.value.hint


def test_the_flags_answer(capsys):
    confirm.ask("Really?", yes=True)
    confirm.ask_name("app", "drops it", confirmed="app")
    assert capsys.readouterr() == ("", "")


def test_another_name_is_no_confirmation():
    with pytest.raises(Refused, match="'other'"):
        confirm.ask_name("app", "drops it", confirmed="other")


def test_a_protected_environment_takes_no_write_without_its_name(dbctl):
    refused = dbctl("users", "seed", "1", "-e", "production")
    assert refused.code == 3
    assert "--confirm production" in refused.stderr
    assert dbctl("users", "seed", "1", "-e", "production", "--confirm", "staging").code == 3
    assert dbctl("users", "seed", "1", "-e", "production", "--confirm", "production").code == 0


def test_a_protected_environment_answers_reads_without_a_question(dbctl):
    assert dbctl("users", "count", "-e", "production").code == 0


def test_every_write_says_where_it_goes(dbctl, conninfo):
    said = dbctl("users", "seed", "1").stderr
    assert "local" in said
    assert conninfo.database in said
    assert conninfo.role in said


@pytest.mark.parametrize(("answer", "code"), [("y", 0), ("n", 3), ("", 3)])
def test_a_person_at_a_terminal_is_asked(answer, code):
    script = (
        "import sys\nfrom dbctl.cli.confirm import ask\nfrom dbctl.errors import Refused\n"
        "try: ask('Really?', yes=False)\nexcept Refused as e: sys.exit(e.exit_code)"
    )
    parent, child = pty.openpty()
    with subprocess.Popen([sys.executable, "-c", script], stdin=child, stdout=child, stderr=child) as process:
        assert b"Really? [y/N]" in os.read(parent, 100)
        os.write(parent, f"{answer}\n".encode())
        assert process.wait(timeout=60) == code
    os.close(parent)
    os.close(child)


def test_a_password_is_typed_unseen_and_the_terminal_is_as_before(dbctl_process):
    parent, child = pty.openpty()
    before = termios.tcgetattr(child)
    with dbctl_process.start(
        "users", "create", "ada", "ada@example.com", stdin=child, stderr=child
    ) as process:
        for prompt in (b"Password: ", b"The same again: "):
            seen = b""
            while prompt not in seen:
                seen += os.read(parent, 1000)
            assert b"correct horse" not in seen
            os.write(parent, b"correct horse battery\n")
        process.communicate(timeout=60)
    assert process.returncode == 0
    assert b"correct horse" not in os.read(parent, 1000)
    assert termios.tcgetattr(child) == before
    os.close(parent)
    os.close(child)
