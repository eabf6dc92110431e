"""The error boundary and the command tree: every failure has its exit code, every command its help."""

from __future__ import annotations

import json
import os
import pty
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import typer

from dbctl.cli.lazy import RootGroup
from dbctl.cli.root import app
from tests.fixtures.database import ROOT


def commands():
    """Every command of the tree, by the words that call it."""
    root: Any = typer.main.get_command(app)
    for name, stub in root.commands.items():
        command = stub.load()
        for sub, leaf in getattr(command, "commands", {}).items():
            yield f"{name} {sub}", leaf
        if not hasattr(command, "commands"):
            yield name, command


COMMANDS = dict(commands())


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help_that_ends_with_an_example_of_itself(name):
    example = re.search(r"Example: dbctl (.*)", COMMANDS[name].help)
    assert example
    words = name.split()
    assert example[1].split()[:1] == words[:1]
    assert example[1].startswith(name) or words[1] in {"create", "show", "status", "run"}


@pytest.mark.parametrize("name", COMMANDS)
def test_every_option_has_help(name):
    assert [p.name for p in COMMANDS[name].params if not getattr(p, "help", None) and p.name != "help"] == []


def test_every_module_of_the_table_is_there():
    assert all((ROOT / f"{module.replace('.', '/')}.py").exists() for module, _ in RootGroup.members.values())


def test_a_wrong_command_offers_the_nearest(dbctl_alone):
    result = dbctl_alone("usrs")
    assert (result.code, result.stdout) == (2, "")
    assert "'users'" in result.stderr


def test_a_wrong_option_is_usage(dbctl_alone):
    result = dbctl_alone("env", "list", "--wat")
    assert result.code == 2
    assert "dbctl env list --help" in result.stderr


def test_dbctl_alone_shows_its_help(dbctl_process):
    result = dbctl_process()
    assert result.code == 2
    assert result.stderr.startswith("Usage: dbctl")
    assert "Traceback" not in result.stderr


def test_a_usage_error_is_an_object_too_where_json_is_wanted(dbctl_alone):
    result = dbctl_alone("env", "list", "--wat", "--format", "json")
    assert result.code == 2
    assert json.loads(result.stderr)["error"]["kind"] == "usage"


def test_a_value_called_json_does_not_make_errors_json(dbctl_alone):
    assert dbctl_alone("env", "list", "-e", "json").stdout.startswith("environment")
    assert dbctl_alone("health", "-e", "json").stderr.startswith("error: ")


def test_an_empty_environment_name_is_a_mistake_not_local(dbctl_alone):
    result = dbctl_alone("env", "show", "-e", "")
    assert result.code == 2
    assert "--env is empty" in result.stderr


def test_an_error_is_three_lines_on_stderr(dbctl_alone):
    result = dbctl_alone("health", "-e", "nowhere")
    assert (result.code, result.stdout) == (2, "")
    assert [line.partition(":")[0] for line in result.stderr.splitlines()] == ["error", "why", "next"]


def test_an_error_is_an_object_where_json_is_wanted(dbctl_alone):
    result = dbctl_alone("health", "-e", "nowhere", "--format", "json")
    assert json.loads(result.stderr)["error"]["kind"] == "settings"


def test_a_traceback_is_for_debug_only(dbctl_alone):
    assert "Traceback" not in dbctl_alone("health", "-e", "nowhere").stderr
    assert "Traceback" in dbctl_alone("health", "-e", "nowhere", "--debug").stderr


def test_a_bug_has_its_own_exit_code_and_a_report_without_secrets(dbctl_alone, monkeypatch):
    def broken(_loaded):
        raise ZeroDivisionError("while connecting to postgresql://ada:s3cret@db/app")

    monkeypatch.setattr("dbctl.settings.show.list_settings", broken)
    result = dbctl_alone("env", "show")
    assert result.code == 70
    report = Path(result.stderr.rpartition("report: ")[2].strip())
    text = report.read_text()
    report.unlink()
    assert "ZeroDivisionError" in text
    assert "s3cret" not in text + result.stderr


@pytest.mark.parametrize(
    "arguments",
    [("-e", "staging", "env", "show"), ("env", "-e", "staging", "show"), ("env", "show", "-e", "staging")],
)
def test_the_environment_may_be_named_anywhere(dbctl_alone, arguments):
    assert "configs/staging.toml" in dbctl_alone(*arguments).stdout


def test_dbctl_env_names_the_environment_and_the_option_wins(dbctl_alone):
    listed = dbctl_alone("env", "list", "--format", "json", env={"DBCTL_ENV": "test"}).json()
    assert [one["name"] for one in listed if one["current"]] == ["test"]
    listed = dbctl_alone("env", "list", "-e", "staging", "--format", "json", env={"DBCTL_ENV": "test"}).json()
    assert [one["name"] for one in listed if one["current"]] == ["staging"]


def test_quiet_says_nothing_and_verbose_shows_sql_without_values(dbctl):
    assert dbctl("users", "list", "-q").stderr == ""
    # A finding is no silence: cron mails it.
    (line,) = dbctl("health", "-q").stderr.splitlines()
    assert line.startswith("local: critical, durability: ")
    assert "SELECT" in dbctl("users", "list", "-v").stderr


def test_help_is_plain_in_a_pipe_and_has_a_short_name(dbctl_process):
    long, short = dbctl_process("--help"), dbctl_process("-h")
    assert long.stdout == short.stdout
    assert "\x1b" not in long.stdout
    assert "╭" not in long.stdout


def test_a_reader_that_leaves_early_is_no_error(dbctl_process):
    process = dbctl_process.start("users", "list", "--format", "json")
    process.stdout.close()
    stderr = process.stderr.read()
    process.stderr.close()
    process.wait()
    assert "Traceback" not in stderr
    assert "error" not in stderr


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_a_command_cleanly_with_its_code(dbctl_process, tmp_path, number, code):
    started = tmp_path / "started"
    env = {"DBCTL_DATABASE__PASSWORD_COMMAND": f"sh -c 'touch {started}; sleep 60'"}
    process = dbctl_process.start("health", env=env)
    while not started.exists():
        time.sleep(0.02)
    process.send_signal(number)
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == code
    assert stderr.splitlines()[0] == "error: interrupted"


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_a_prompt_at_once(dbctl_process, number, code):
    assert dbctl_process("users", "create", "ada", "ada@example.com", "--no-password").code == 0
    parent, child = pty.openpty()
    with dbctl_process.start("users", "delete", "ada", stdin=child, stdout=child, stderr=child) as process:
        os.close(child)
        seen = b""
        while b"to go on: " not in seen:
            seen += os.read(parent, 4096)
        process.send_signal(number)
        try:
            assert process.wait(timeout=60) == code
        finally:
            process.kill()
        rest = os.read(parent, 4096)
    os.close(parent)
    assert b"interrupted" in rest
    assert b"Traceback" not in rest
    assert dbctl_process("users", "count", "--format", "json").json() == {"users": 1}


def test_a_signal_that_the_caller_ignores_stays_ignored(dbctl_process, tmp_path):
    started = tmp_path / "started"
    env = {"DBCTL_DATABASE__PASSWORD_COMMAND": f"sh -c 'touch {started}; sleep 1; echo x'"}
    ignoring = {"preexec_fn": lambda: signal.signal(signal.SIGINT, signal.SIG_IGN)}
    with dbctl_process.start("health", "reachable", env=env, **ignoring) as process:
        while not started.exists():
            time.sleep(0.02)
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=60)
    assert process.returncode == 0


def test_a_second_signal_does_not_cut_the_clean_up_short(dbctl_process, tmp_path):
    script = tmp_path / "slow.py"
    script.write_text(
        "import asyncio, sys\n"
        "from dbctl.cli.loop import run_coroutine\n"
        "from dbctl.errors import Interrupted\n"
        "async def work():\n"
        "    try:\n"
        "        print('ready', flush=True)\n"
        "        await asyncio.sleep(60)\n"
        "    finally:\n"
        "        print('cleaning', flush=True)\n"
        "        await asyncio.sleep(1)\n"
        "        print('clean', flush=True)\n"
        "try:\n    run_coroutine(work())\nexcept Interrupted as e:\n    sys.exit(e.exit_code)\n"
    )
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    pipe = subprocess.PIPE
    with subprocess.Popen([sys.executable, script], env=env, stdout=pipe, stderr=pipe, text=True) as process:
        assert process.stdout
        assert process.stdout.readline() == "ready\n"
        process.send_signal(signal.SIGINT)
        assert process.stdout.readline() == "cleaning\n"
        process.send_signal(signal.SIGINT)
        output, complaint = process.communicate(timeout=60)
    assert output == "clean\n"
    assert "still cleaning up" in complaint
    assert process.returncode == 130


SWALLOWED = """
    os.kill(os.getpid(), signal.SIGINT)
    with contextlib.suppress(asyncio.CancelledError):
        await asyncio.sleep(60)
"""
AT_THE_END = """
    asyncio.current_task().add_done_callback(lambda _: os.kill(os.getpid(), signal.SIGINT))
"""


@pytest.mark.parametrize("body", [SWALLOWED, AT_THE_END], ids=["swallowed", "at the very end"])
def test_a_signal_that_cancels_nothing_still_stops_what_comes_next(tmp_path, body):
    script = tmp_path / "work.py"
    script.write_text(
        "import asyncio, contextlib, os, signal\n"
        "from dbctl.cli.loop import run_coroutine\n"
        f"async def work():{body}"
        "run_coroutine(work())\nprint('the next step')\n"
    )
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, script], env=env, capture_output=True, text=True, check=False)
    assert "Interrupted" in done.stderr
    assert done.stdout == ""


def test_rich_draws_for_a_terminal_only_and_no_color_is_obeyed():
    def drawn(**environ: str) -> bytes:
        parent, child = pty.openpty()
        done = subprocess.run(
            [sys.executable, "-m", "dbctl", "env", "list"],
            stdout=child,
            stderr=child,
            cwd=ROOT,
            env={**os.environ, "TERM": "xterm", **environ},
            check=True,
        )
        os.close(child)
        output = os.read(parent, 65536)
        os.close(parent)
        assert done.returncode == 0
        return output

    assert b"\x1b[33m" in drawn()
    assert b"\x1b[33m" not in drawn(NO_COLOR="1")


def test_ctrl_c_within_a_finalizer_which_python_swallows_ends_the_command_all_the_same(dbctl, monkeypatch):
    monkeypatch.setattr("sys.unraisablehook", lambda _lost: None)

    class Finalized:
        def __del__(self) -> None:
            signal.raise_signal(signal.SIGINT)

    def list_environments(*_args: object) -> list[object]:
        Finalized()
        return []

    monkeypatch.setattr("dbctl.settings.show.list_environments", list_environments)
    assert dbctl("env", "list").code == 130
