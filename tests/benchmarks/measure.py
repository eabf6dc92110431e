"""CPU time of whole processes, pair by pair: the machine's speed drifts, the ratio of neighbours does not."""

from __future__ import annotations

import os
import pty
import resource
import statistics
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

Command = Sequence[str | Path]


@dataclass(frozen=True)
class Conditions:
    """How both commands of a pair run; ``terminal`` gives them one to write to."""

    cwd: Path | None = None
    env: Mapping[str, str] = field(default_factory=dict)
    terminal: bool = False
    runs: int = 15


def cpu_seconds(argv: Command, how: Conditions) -> float:
    """User and system time of one run; the run must succeed."""
    with _output(terminal=how.terminal) as output:
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run(
            argv, check=True, cwd=how.cwd, env={**os.environ, **how.env}, stdout=output, stderr=output
        )
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return (after.ru_utime - before.ru_utime) + (after.ru_stime - before.ru_stime)


def ratio(name: str, ours: Command, peer: Command, how: Conditions | None = None) -> float:
    """The median of ``ours`` / ``peer`` over pairs of runs, after one warm-up; printed."""
    how = how or Conditions()
    pairs = [(cpu_seconds(ours, how), cpu_seconds(peer, how)) for _ in range(how.runs + 1)][1:]
    found = statistics.median(one / other for one, other in pairs)
    medians = [statistics.median(times) * 1000 for times in zip(*pairs, strict=True)]
    print(f"\n{name}: {found:.2f} ({medians[0]:.0f} / {medians[1]:.0f} ms CPU, {how.runs} pairs)")
    return found


@contextmanager
def _output(*, terminal: bool) -> Iterator[int]:
    if not terminal:
        yield subprocess.DEVNULL
        return
    parent, child = pty.openpty()
    try:
        # A help text fits into the terminal's buffer: nobody has to read it.
        yield child
    finally:
        os.close(child)
        os.close(parent)
