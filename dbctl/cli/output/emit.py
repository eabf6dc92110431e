"""Writes a result where it belongs, in the form that was asked for."""

from __future__ import annotations

import io
import os
import stat
import sys
from collections.abc import Callable
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import Any

from dbctl.cli.output.blocks import Blocks
from dbctl.cli.output.streams import OutputClosed, is_terminal
from dbctl.errors import Failed, UsageError

View = Callable[[Any], Blocks]

# The formats that have a module of their own; the others are JSON's relatives.
_MODULES = {
    "github": "github",
    "sarif": "sarif",
    "gitlab": "gitlab",
}
# Those that each room's report has its own words for.
_OF_ROOMS = {"nagios", "prometheus", "junit"}


def check_output(output: Path, *, option: str = "--output") -> None:
    """Raise UsageError, before any work is done, where a result could not be written."""
    folder, why = output.parent, ""
    if not os.access(folder, os.F_OK | os.X_OK):
        why = f"there is no folder {folder}, or none that we may enter"
    elif output.is_dir():
        why = "it is a folder"
    elif not os.access(output if output.exists() else folder, os.W_OK):
        why = "no permission"
    if why:
        raise UsageError(
            f"can't write {option} {str(output)!r}", why=why, hint="name a file in a folder of yours"
        )


def emit(result: Any, view: View, format_name: str, output: Path | None) -> None:
    """Write ``result`` to stdout, or whole or not at all to the file ``output``."""
    try:
        if output is None:
            _write(result, view, format_name, sys.stdout, terminal=is_terminal())
            sys.stdout.flush()
            return
        text = io.StringIO()
        _write(result, view, format_name, text, terminal=False)
        # What a collector of another user reads; numbers alone are nobody's secret.
        put(output, text.getvalue(), mode=0o644 if format_name == "prometheus" else 0o600)
    except BrokenPipeError:
        raise OutputClosed from None
    except OSError as error:
        where = output or "the result to stdout"
        raise Failed(f"can't write {where}", why=error.strerror or str(error)) from None


def _write(result: Any, view: View, format_name: str, stream: Any, *, terminal: bool) -> None:
    if format_name == "table":
        from dbctl.cli.output import tables

        (tables.write_rich if terminal else tables.write_plain)(view(result), stream)
    else:
        module = import_module(f"dbctl.cli.output.{_module(result, format_name)}")
        getattr(module, f"write_{format_name}")(result, stream)


def _module(result: Any, format_name: str) -> str:
    if format_name in _OF_ROOMS:
        return f"monitors.{type(result).__module__.split('.')[1]}"
    return _MODULES.get(format_name, "json")


def put(output: Path, text: str, *, mode: int) -> None:
    """Write the whole file, or leave the one that is there. Raises OSError."""
    in_place = output.exists() and not (output.is_file() and os.access(output.resolve().parent, os.W_OK))
    if in_place:
        # A device or a pipe, such as /dev/stdout, or a file in a folder where we may make no other.
        output.write_text(text, encoding="utf-8")
    else:
        _replace(output.resolve(), text, mode)


def _replace(path: Path, text: str, mode: int) -> None:
    import tempfile

    # Ours alone to read, but for `mode`: a result can hold people's data, or a password that was just made.
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".partial", dir=path.parent)
    try:
        with open(handle, "w", encoding="utf-8") as file:  # noqa: PTH123 - a file descriptor
            os.fchmod(handle, stat.S_IMODE(path.stat().st_mode) if path.exists() else mode)
            file.write(text)
        Path(name).replace(path)
    except BaseException:
        with suppress(OSError):
            Path(name).unlink()
        raise
