"""The README's tour: every command runs, in order, and prints what is shown."""

from __future__ import annotations

import os
import pty
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from tests.fixtures.database import ROOT

README = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"```(console|python)\n(.*?)```", README, re.DOTALL)
# A block of Python that names a file is that file; a command that does not end with 0 says so.
FILE = re.compile(r"# (migrations/\S+\.py)\n")
EXIT_CODE = re.compile(r"# exit code (\d+)")
WIDTH = 110
# What differs from run to run, and what it is called in the comparison.
CHANGING = (
    (r"\d{8}T\d{6}Z-[0-9a-f]+", "ID"),
    (r"\d{4}-\d\d-\d\d[ T]\d\d:\d\d(:\d\d)?", "TIME"),
    (r"\d+(\.\d+)? (ms|s|KiB|bytes|B)\b", "AMOUNT"),
    (r"\b0\.\d+\b", "SECONDS"),
    (r"/[\w./-]*\.dbctl", ".dbctl"),
    (r"/[\w/-]*/?dbctl-\d+-[0-9a-f]+", "SOCKET"),
    (r"PostgreSQL \d+\.\d+", "VERSION"),
    (r"[ ─]+", " "),
)


def shown() -> list[tuple[str, str]]:
    """The commands of the tour with the output that the README shows for each; a file's name with its text."""
    steps: list[tuple[str, str]] = []
    for kind, text in BLOCKS:
        if kind == "console":
            parts = (step.partition("\n") for step in text.split("$ ")[1:])
            steps += [(command, output) for command, _, output in parts]
        elif named := FILE.match(text):
            steps.append((named[1], text))
    return steps


def normal(text: str) -> list[str]:
    """The lines, without what changes."""
    for pattern, name in CHANGING:
        text = re.sub(pattern, name, text)
    return [line.strip() for line in text.replace("\r", "").splitlines() if line.strip()]


def on_a_terminal(command: str, project: Path) -> str:
    """What a person sees who types ``command``."""
    parent, child = pty.openpty()
    environ = {"COLUMNS": str(WIDTH), "NO_COLOR": "1", "TERM": "xterm", "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(
        [sys.executable, "-m", *shlex.split(command, comments=True)],
        stdin=child, stdout=child, stderr=child, cwd=project, env={**os.environ, **environ},
    ) as process:  # fmt: skip
        os.close(child)
        output = b""
        try:
            while chunk := os.read(parent, 65536):
                output += chunk
        except OSError:
            pass
        os.close(parent)
        expected = EXIT_CODE.search(command)
        assert process.wait(timeout=60) == (int(expected[1]) if expected else 0), output
    return without_bars(output.decode())


def without_bars(text: str) -> str:
    """What is left on the screen: a progress bar draws itself again and again, and erases itself at its end."""
    redrawn = re.sub(r"[^\r\n]*\r\x1b\[2K", "", text)
    erased = re.sub(r"[^\n]*\n\x1b\[\?25h\r\x1b\[1A\x1b\[2K", "", redrawn)
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", erased)


@pytest.mark.skipif(sys.platform != "linux", reason="the shown paths are Linux's")
def test_the_tour_prints_what_the_readme_shows(project):
    try:
        for command, output in shown():
            if FILE.match(output):
                (project / command).write_text(output)
                continue
            assert normal(on_a_terminal(command, project)) == normal(output), command
    finally:
        subprocess.run(
            [sys.executable, "-m", "dbctl", "server", "stop", "-q"],
            cwd=project,
            check=True,
            capture_output=True,
        )


def test_the_tour_shows_the_main_jobs():
    commands = " ".join(command for command, _ in shown())
    for job in ("migrate up", "migrate lint", "users seed", "users search", "health", "backup", "restore"):
        assert job in commands
