"""What goes to a terminal or a pipe, made harmless: data can't move the cursor, colour text or end a line."""

from __future__ import annotations

import os
import sys
import unicodedata

# Marks that reorder what stands around them; joiners inside emoji are of the same category and stay.
_BIDIRECTIONAL = set("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
# The descriptor: while a project's code runs, sys.stderr is an object that has none.
_STDERR = 2
_HARMFUL = {"Cc", "Cs", "Zl", "Zp"}


class OutputClosed(Exception):
    """The reader of our output went away, as ``| head`` does; no OSError, which Typer would take for its own."""


def visible(text: str) -> str:
    """``text`` on one line, with control characters and direction marks written as escapes."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(_escape(char) if _is_harmful(char) else char for char in text)


def say(text: str) -> None:
    """A line for the person who runs the command, on stderr. Nobody there to read it stops no work."""
    try:
        print(visible(text), file=sys.stderr, flush=True)
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), _STDERR)


def is_terminal() -> bool:
    """Whether a person reads stdout."""
    return sys.stdout.isatty()


def wants_colour() -> bool:
    """Whether stdout takes colour: a terminal, and nobody said no (NO_COLOR, TERM=dumb)."""
    return is_terminal() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def _is_harmful(char: str) -> bool:
    return char in _BIDIRECTIONAL or unicodedata.category(char) in _HARMFUL


def _escape(char: str) -> str:
    short = {"\t": "\\t", "\n": "\\n", "\r": "\\r"}.get(char)
    return short or ascii(char).strip("'")
