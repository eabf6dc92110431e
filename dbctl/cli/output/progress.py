"""Progress bars, on a terminal only: a pipe or a log gets none."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

Report = Callable[[int], None]


@contextmanager
def progress(description: str, *, total: int | None, unit: str, quiet: bool) -> Iterator[Report]:
    """Give a function that takes how much is done so far, in ``unit`` (``bytes``, ``rows`` or nothing)."""
    if quiet or not sys.stderr.isatty():
        yield lambda _done: None
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(*_columns(unit), console=Console(stderr=True), transient=True) as bars:
        task = bars.add_task(description, total=total)
        yield lambda done: bars.update(task, completed=done)


def _columns(unit: str) -> list[Any]:
    from rich.progress import BarColumn, DownloadColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn

    amount = DownloadColumn() if unit == "bytes" else MofNCompleteColumn()
    return [TextColumn("{task.description}", markup=False), BarColumn(), amount, TimeElapsedColumn()]
