"""``dbctl locks``: the tree on one screen, again and again, and one that is ended."""

from __future__ import annotations

import os
import pty
import signal
from subprocess import DEVNULL

from tests.activity.conftest import pid_of, sessions, until
from tests.fixtures.database import execute


def blocked(conninfo, made):
    execute(conninfo, "CREATE TABLE IF NOT EXISTS orders (id int)")
    root = made.holds("LOCK TABLE orders", application="re\x1b[31mport")
    return root, made.waits("SELECT 'secret', * FROM orders", application="web")


def test_nobody_waits_is_exit_0_and_an_empty_array(dbctl):
    assert dbctl("locks", "--fail").code == 0
    assert dbctl("locks", "--format", "json").json() == []
    assert dbctl("locks").stdout == "nobody waits for a lock\n"


def test_a_tree_as_a_table_names_root_waiter_and_the_way_out(dbctl, conninfo):
    with sessions(conninfo) as made:
        root, waiter = blocked(conninfo, made)
        shown, found = dbctl("locks"), dbctl("locks", "--fail", "--format", "json")
        rows = dbctl("locks", "--format", "csv").stdout.splitlines()
    lines = shown.stdout.splitlines()
    assert shown.code == 0
    assert found.code == 1
    assert lines[1].startswith(f"{pid_of(root)}\t")
    assert lines[2].startswith(f"└ {pid_of(waiter)}\tAccessShareLock on public.orders\t")
    assert f"dbctl locks kill {pid_of(root)}" in lines[3]
    assert "secret" not in shown.stdout
    assert "\x1b" not in shown.stdout
    assert [one["blocks"] for one in found.json()] == [1, 0]
    assert len(rows) == 3


def test_kill_asks_says_who_it_is_and_then_ends_it(dbctl, conninfo):
    with sessions(conninfo) as made:
        root, _ = blocked(conninfo, made)
        pid = str(pid_of(root))
        refused = dbctl("locks", "kill", pid)
        done = dbctl("locks", "kill", pid, "--yes", "--format", "json")
    assert refused.code == 3
    assert "--yes" in refused.stderr
    assert "1 waits for it" in refused.stderr
    assert done.code == 0
    assert done.json()["how"] == "terminated"


def test_kill_in_a_protected_environment_wants_its_name(dbctl, conninfo):
    protected = {"DBCTL_PROTECTED": "true"}
    with sessions(conninfo) as made:
        root, _ = blocked(conninfo, made)
        pid = str(pid_of(root))
        assert dbctl("locks", "kill", pid, "--yes", env=protected).code == 3
        assert made.ask(f"SELECT count(*) FROM pg_stat_activity WHERE pid = {pid}") == 1
        assert dbctl("locks", "kill", pid, "--confirm", "local", env=protected).code == 0


def test_watch_draws_again_and_again_and_leaves_the_terminal_clean(dbctl_process, conninfo):
    parent, child = pty.openpty()
    environ = {"TERM": "xterm", "COLUMNS": "200", "LINES": "40"}
    with dbctl_process.start(
        "locks", "--watch", "--interval", "100ms", env=environ, stdin=child, stdout=child, stderr=child
    ) as process:
        os.close(child)
        screen = Screen(parent)
        until(lambda: "nobody waits" in screen.read())
        with sessions(conninfo) as made:
            root, _ = blocked(conninfo, made)
            until(lambda: f"dbctl locks kill {pid_of(root)}" in screen.read())
        # Its own session was ended with the others: it connects anew.
        seen = len(screen.read())
        until(lambda: "nobody waits" in screen.read()[seen:])
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=60) == 130
        until(lambda: "\x1b[?1049l" in screen.read())
    assert "error" not in screen.text
    assert screen.text.count("\x1b[?1049h") == screen.text.count("\x1b[?1049l") == 1
    assert screen.text.rindex("\x1b[?25h") > screen.text.rindex("\x1b[?25l")


def test_watch_in_a_pipe_writes_plain_text(dbctl_process):
    with dbctl_process.start("locks", "--watch", "--interval", "100ms", stderr=DEVNULL) as process:
        lines = [process.stdout.readline() for _ in range(6)]
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=60) == 143
    assert lines.count("nobody waits for a lock\n") >= 2
    assert "\x1b" not in "".join(lines)


class Screen:
    """What a program has written to its terminal so far."""

    def __init__(self, parent: int) -> None:
        self._parent = parent
        self.text = ""
        os.set_blocking(parent, False)

    def read(self) -> str:
        """All of it, up to now."""
        try:
            while chunk := os.read(self._parent, 65536):
                self.text += chunk.decode(errors="replace")
        except OSError:
            pass
        return self.text
