"""Finds where a revision's code speaks to the driver itself, past SQLAlchemy: what it sends there nobody hears."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from dbctl.migrate.model import Direction

_WAYS = {
    "dbapi_connection",
    "driver_connection",
    "get_raw_connection",
    "raw_connection",
    "run_async",
    "cursor",
    "copy_expert",
}
_ANY = re.compile(rb"\b(?:" + "|".join(sorted(_WAYS)).encode() + rb")\b")
_FUNCTIONS = {Direction.UP: "upgrade", Direction.DOWN: "downgrade"}


def line_past_driver(path: Path, direction: Direction) -> int | None:
    """The first line that does so on the way up or down, by its text; helpers beside the two functions count for both."""
    source = path.read_bytes()
    if not _ANY.search(source):
        return None
    other = _FUNCTIONS[Direction.DOWN if direction is Direction.UP else Direction.UP]
    return min(_lines(ast.parse(source), other), default=None)


def _lines(tree: ast.Module, left_out: str) -> Iterator[int]:
    for top in tree.body:
        if isinstance(top, ast.FunctionDef | ast.AsyncFunctionDef) and top.name == left_out:
            continue
        for node in ast.walk(top):
            if isinstance(node, ast.Attribute) and node.attr in _WAYS:
                yield node.lineno
