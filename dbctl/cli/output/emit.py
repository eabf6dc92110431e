"""Writes a result where it belongs, in the form that was asked for."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from dbctl.cli.output.blocks import Blocks
from dbctl.cli.output.streams import is_terminal
from dbctl.errors import Failed

View = Callable[[Any], Blocks]


def emit(result: Any, view: View, format_name: str, output: Path | None) -> None:
    """Write ``result`` to stdout, or whole or not at all to the file ``output``."""
    if output is None:
        _write(result, view, format_name, sys.stdout, terminal=is_terminal())
        return
    text = io.StringIO()
    _write(result, view, format_name, text, terminal=False)
    _replace(output, text.getvalue())


def _write(result: Any, view: View, format_name: str, stream: Any, *, terminal: bool) -> None:
    if format_name == "table":
        from dbctl.cli.output import tables

        (tables.write_rich if terminal else tables.write_plain)(view(result), stream)
    else:
        from dbctl.cli.output import json

        getattr(json, f"write_{format_name}")(result, stream)


def _replace(path: Path, text: str) -> None:
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        partial.write_text(text, encoding="utf-8")
        partial.replace(path)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise Failed(f"can't write {path}", why=error.strerror or str(error)) from None
