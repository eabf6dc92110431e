"""Other people's SQL, shown without their data."""

from __future__ import annotations

import re

MASK = "?"
_SHOWN_CHARACTERS = 160
# pg_stat_activity cuts a query where it likes: what is open at the end is masked to the end.
_LITERALS = re.compile(
    r"""
      (?P<comment>--[^\n]*|/\*.*?(?:\*/|\Z))
    | (?P<dollar>\$(?P<tag>[A-Za-z_\u0080-\uffff][\w\u0080-\uffff]*)\$.*?(?:\$(?P=tag)\$|\Z))
    | (?P<bare>\$\$.*?(?:\$\$|\Z))
    | (?P<escaped>\b[eE]'(?:[^'\\]|\\.|'')*(?:'|\Z))
    | (?P<text>(?:\b[uU]&|\b[bBxXnN])?'(?:[^']|'')*(?:'|\Z))
    | (?P<name>"(?:[^"]|"")*(?:"|\Z))
    | (?P<parameter>\$\d+)
    | (?P<number>(?<![\w.$])\d[\w.]*(?:[eE][+-]?\d+)?)
    """,
    re.VERBOSE | re.DOTALL,
)
_KEPT = {"name", "parameter"}


def mask_literals(sql: str, most: int = _SHOWN_CHARACTERS) -> str:
    """``sql`` on one line, cut to ``most`` characters, its texts and numbers as ``?``, without its comments."""
    masked = _LITERALS.sub(_shown, sql)
    line = " ".join(masked.split())
    return line if len(line) <= most else f"{line[: most - 1]}…"


def _shown(found: re.Match[str]) -> str:
    kind = found.lastgroup
    if kind in _KEPT:
        return found[0]
    return " " if found["comment"] is not None else MASK
