"""How statements and their cost look."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from dbctl.cli.output.blocks import Block, Cell, Lines, Table
from dbctl.cli.output.durations import precise, size, span

if TYPE_CHECKING:
    from dbctl.activity.queries.model import RunningQuery, TopQuery, TopReport

_TOP = ("share", "total", "calls", "calls/s", "mean", "rows", "read", "temp", "i/o", "role", "query")
_RUNNING = ("pid", "for", "waits for", "role", "application", "request", "query")


def top(found: Sequence[TopQuery]) -> Iterator[Block]:
    """The most costly first."""
    if not found:
        yield Lines(["no statement has ended"])
        return
    yield Table(_TOP, [_cost(one) for one in found], right=_TOP[:-2])


def summary(report: TopReport) -> str:
    """What all statements together were."""
    watched = f" in {span(report.seconds)}" if report.seconds is not None else ""
    busy = f", {report.total_seconds / report.seconds:.2f} of them at a time" if report.seconds else ""
    return f"{report.calls:,} statements{watched} took {precise(report.total_seconds)} together{busy}"


def running(found: Sequence[RunningQuery]) -> Iterator[Block]:
    """The longest first."""
    if not found:
        yield Lines([Cell("nothing runs that long", "good")])
        return
    yield Table(_RUNNING, [_running(one) for one in found], right=("pid", "for"))


def _cost(one: TopQuery) -> tuple[str, ...]:
    rate = one.calls_per_second
    return (
        f"{one.share:.0%}",
        precise(one.total_seconds),
        f"{one.calls:,}",
        "?" if rate is None else f"{rate:,.1f}",
        precise(one.mean_seconds),
        f"{one.rows:,}",
        size(one.read_bytes),
        size(one.temp_bytes),
        "" if one.io_seconds is None else precise(one.io_seconds),
        one.role,
        f"(nested) {one.query}" if one.is_nested else one.query,
    )


def _running(one: RunningQuery) -> tuple[str, ...]:
    blocked = f" held by {', '.join(map(str, one.blocked_by))}" if one.blocked_by else ""
    return (
        str(one.pid),
        span(one.seconds),
        f"{one.waits_for}{blocked}",
        f"{one.role}@{one.database}",
        one.application,
        one.request_id,
        one.query,
    )
