"""Questions before a change; with nobody there to answer, a refusal that names the flag."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO

from dbctl.cli.loop import prompting
from dbctl.cli.output.streams import visible
from dbctl.errors import Refused


def ask(question: str, *, yes: bool) -> None:
    """For what can be undone: y or N. Raises Refused."""
    if yes:
        return
    if not _somebody_there():
        raise Refused("not confirmed", why="there is no terminal to ask", hint="add --yes")
    if _answer(f"{question} [y/N] ").strip().lower() not in {"y", "yes"}:
        raise Refused("not confirmed", why="the answer was no")


def ask_name(name: str, action: str, *, confirmed: str | None) -> None:
    """For what can't be undone: the name of what is meant. Raises Refused."""
    if confirmed is not None:
        if confirmed != name:
            raise Refused(f"not confirmed: this {action}", why=f"--confirm says {confirmed!r}, not {name!r}")
        return
    if not _somebody_there():
        raise Refused(
            f"not confirmed: this {action}", why="there is no terminal to ask", hint=f"add --confirm {name}"
        )
    if _answer(f"This {action}. Type {name} to go on: ").strip() != name:
        raise Refused(f"not confirmed: this {action}", why="that was another name")


def read_secret(prompt: str) -> str:
    """A line that nobody sees: typed at a terminal, or the first line of stdin."""
    if sys.stdin.isatty():
        with _unseen(sys.stdin):
            return _answer(f"{prompt}: ").rstrip("\r\n")
    return sys.stdin.readline().rstrip("\r\n")


def _somebody_there() -> bool:
    return sys.stdin.isatty() and sys.stderr.isatty()


def _answer(question: str) -> str:
    with prompting() as until_ready:
        sys.stderr.write(visible(question))
        sys.stderr.flush()
        until_ready(sys.stdin)
        return sys.stdin.readline()


@contextmanager
def _unseen(terminal: TextIO) -> Iterator[None]:
    """Show nothing of what is typed. `getpass` would do it, but a signal at the wrong moment would not end its read."""
    import termios

    before = termios.tcgetattr(terminal)
    silent = [*before[:3], before[3] & ~termios.ECHO, *before[4:]]
    termios.tcsetattr(terminal, termios.TCSAFLUSH, silent)
    try:
        yield
    finally:
        termios.tcsetattr(terminal, termios.TCSAFLUSH, before)
        sys.stderr.write("\n")
