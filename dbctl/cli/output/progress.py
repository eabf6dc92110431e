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
    bar = _Bar(description, total, unit)
    try:
        yield bar.report
    finally:
        bar.stop()


class _Bar:
    """A bar that appears with the first report: what is said before has the terminal for itself."""

    def __init__(self, description: str, total: int | None, unit: str) -> None:
        self._what = (description, total, unit)
        self._bars: Any = None

    def report(self, done: int) -> None:
        if self._bars is None:
            self._bars = self._start()
        self._bars.update(self._bars.task_ids[0], completed=done)

    def stop(self) -> None:
        if self._bars is not None:
            self._bars.stop()

    def _start(self) -> Any:
        from rich.console import Console
        from rich.progress import Progress

        description, total, unit = self._what
        # Rich would put back the stdout that it met, which may be the one of a project's code.
        bars = Progress(
            *_columns(unit),
            console=Console(stderr=True),
            transient=True,
            redirect_stdout=False,
            redirect_stderr=False,
        )
        bars.add_task(description, total=total)
        bars.start()
        return bars


def _columns(unit: str) -> list[Any]:
    from rich.progress import BarColumn, DownloadColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn

    amount = DownloadColumn() if unit == "bytes" else MofNCompleteColumn()
    return [TextColumn("{task.description}", markup=False), BarColumn(), amount, TimeElapsedColumn()]
