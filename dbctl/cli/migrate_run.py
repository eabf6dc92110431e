"""How a run of revisions goes by the settings, and what is said of it while it goes on."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from dbctl.cli.command import Invocation

if TYPE_CHECKING:
    from dbctl.migrate.model import Event
    from dbctl.migrate.patience import Patience
    from dbctl.migrate.runner import RunOptions


@contextmanager
def run_options(run: Invocation, rerun: str | None = None, *, history: bool = True) -> Iterator[RunOptions]:
    """How the settings want a run to go, told on stderr while it goes."""
    from dbctl.migrate.runner import RunOptions

    history = history and run.loaded.settings.migrate.history
    with _hearing(run) as hear:
        yield RunOptions(patience=_patience(run), history=history, rerun=rerun, hear=hear)


def _patience(run: Invocation) -> Patience:
    """How patient the settings are."""
    from dbctl.migrate.patience import Patience

    ours = run.loaded.settings.migrate
    return Patience(
        lock_seconds=ours.lock_timeout,
        data_lock_seconds=ours.data_lock_timeout,
        ddl_seconds=ours.ddl_timeout,
        data_seconds=ours.data_timeout,
        concurrent_seconds=ours.concurrent_timeout,
        retry_budget_seconds=ours.retry_budget,
    )


@contextmanager
def _hearing(run: Invocation) -> Iterator[Callable[[Event], None]]:
    """Says what is new while revisions run; on a terminal a bar shows how far an index is."""
    from dbctl.cli.output.views import migrate_events as view
    from dbctl.migrate.model import Building

    last = ""
    with run.progress("Building the index, % of this phase", total=100) as report:

        def hear(event: Event) -> None:
            nonlocal last
            if isinstance(event, Building) and event.waits_for is None and sys.stderr.isatty():
                return report(view.percent(event))
            told = view.line(event)
            if told != last:
                run.say(told)
            last = told
            return None

        yield hear
