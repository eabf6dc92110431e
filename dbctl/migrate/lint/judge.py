"""Judges traces while the next ones are made: who traces waits for the server half of the time."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager

from dbctl.migrate.rules.levels import Levels
from dbctl.migrate.rules.model import Finding
from dbctl.migrate.trace.model import RevisionTrace


class Judge:
    """Judges by the rules, in a thread of its own what it is given ``at_work``."""

    def __init__(self, levels: Levels) -> None:
        self.levels = levels
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="dbctl judge")
        # With the trace: the id of one that is gone would be another's.
        self._begun: dict[int, tuple[RevisionTrace, Future[tuple[Finding, ...]]]] = {}

    @contextmanager
    def at_work(self) -> Iterator[None]:
        """While it lasts, `begin` may be called; after an error nothing is judged any more."""
        try:
            yield
        except BaseException:
            self._pool.shutdown(wait=False, cancel_futures=True)
            raise
        self._pool.shutdown(wait=False)

    def begin(self, trace: RevisionTrace) -> None:
        """Begin with a trace."""
        self._begun[id(trace)] = trace, self._pool.submit(self._judge, trace)

    def findings(self, trace: RevisionTrace) -> tuple[Finding, ...]:
        """What is to be said of a trace, whether it was begun or not."""
        begun = self._begun.get(id(trace))
        return begun[1].result() if begun else self._judge(trace)

    def _judge(self, trace: RevisionTrace) -> tuple[Finding, ...]:
        # All rules are loaded with it, meanwhile as well.
        from dbctl.migrate.rules.judge import judge

        return judge(trace, self.levels).findings
