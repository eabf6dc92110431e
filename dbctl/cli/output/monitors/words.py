"""What every monitor's format needs: names that can't break out of their line or their quotes."""

from __future__ import annotations

import re

# What would begin performance data, or a second line; and what a terminal would obey.
_NOT_IN_A_LINE = re.compile(r"[|\x00-\x1f\x7f-\x9f]+")
_ESCAPES = {"\\": "\\\\", '"': '\\"', "\n": "\\n"}


def one_line(text: str) -> str:
    """Text for Nagios: on one line, and without the mark of performance data."""
    return _NOT_IN_A_LINE.sub(" ", text)


def labels(**values: str) -> str:
    """Labels for Prometheus, in braces."""
    inside = ",".join(f'{name}="{_escaped(value)}"' for name, value in values.items())
    return f"{{{inside}}}"


def _escaped(value: str) -> str:
    return "".join(_ESCAPES.get(letter, letter) for letter in value)
