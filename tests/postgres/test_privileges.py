"""Root becomes somebody whom PostgreSQL accepts, and dying with a parent survives that."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from dbctl.errors import ToolMissing
from dbctl.postgres import privileges
from dbctl.postgres.privileges import Launcher, choose_launcher, namespaces_work, temporary_root
from tests.postgres.processes import alive, eventually

PARENT = """
import os, subprocess, sys, time
from dbctl.postgres.privileges import choose_launcher
argv = choose_launcher(sys.argv[1]).wrap(["/bin/sleep", "600"], parent=os.getpid(), last_word=9)
print(subprocess.Popen(argv).pid, flush=True)
time.sleep(600)
"""

needs_root = pytest.mark.skipif(os.getuid() != 0, reason="only root has to be somebody else")


def user_id(launcher: Launcher) -> int:
    argv = launcher.wrap(["/usr/bin/id", "-u"])
    return int(subprocess.run(argv, capture_output=True, text=True, check=True).stdout)


def test_whoever_is_not_root_stays_who_they_are() -> None:
    assert user_id(choose_launcher("direct")) == os.getuid()
    assert choose_launcher("direct").wrap(["ls", "-l"]) == ["ls", "-l"]


@needs_root
def test_root_becomes_somebody_else(launcher: Launcher) -> None:
    assert user_id(launcher) == (launcher.owner[0] if launcher.owner else 1000)


@needs_root
def test_the_namespace_is_chosen_where_it_works() -> None:
    assert choose_launcher().name == ("user namespace" if namespaces_work() else "user postgres")


def test_a_child_dies_with_its_parent_whoever_it_became(launcher: Launcher) -> None:
    mode = launcher.mode if launcher.owner is None else "drop"
    with subprocess.Popen([sys.executable, "-c", PARENT, mode], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout
        child = int(parent.stdout.readline())
        assert eventually(lambda: Path(f"/proc/{child}/cmdline").read_bytes().startswith(b"/bin/sleep"))
        assert alive(child)
        parent.send_signal(signal.SIGKILL)
    assert eventually(lambda: not alive(child))


def test_a_program_that_is_not_there_ends_with_127() -> None:
    argv = Launcher("direct").wrap(["/no/such/program"], parent=os.getpid())
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.returncode == 127
    assert "No such file" in done.stderr


@needs_root
def test_a_closed_folder_is_seen_as_closed(tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    assert choose_launcher("namespace").may_enter(closed)
    assert not choose_launcher("drop").may_enter(closed)
    os.chown(closed, 12345, 12345)
    assert not choose_launcher("namespace").may_enter(closed)


@needs_root
def test_without_any_user_to_be_the_error_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(privileges, "_SERVANTS", ("nobody-of-that-name",))
    with pytest.raises(ToolMissing, match="refuses to run as root"):
        choose_launcher("drop")


def test_no_place_for_temporary_files_is_an_error() -> None:
    with pytest.raises(ToolMissing, match="no place for PostgreSQL's files"):
        temporary_root(choose_launcher(), room=200)
