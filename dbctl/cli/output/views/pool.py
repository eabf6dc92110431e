"""How a report on the pool looks, and its benchmark."""

from __future__ import annotations

from collections.abc import Iterator

from dbctl.cli.output.blocks import Block, Cell, Either, Lines, Style, Table
from dbctl.pool.model import Benchmark, Bounds, Level, PoolReport, SessionGroup, Verdict

_STYLES: dict[Verdict, Style] = {Verdict.FINE: "good", Verdict.UNKNOWN: "warning"}
_BAR_WIDTH = 40
_MINUTES_FROM = 100
_MILLISECOND = 0.001
_EIGHTHS = " ▏▎▍▌▋▊▉"


def report(found: PoolReport) -> Iterator[Block]:
    """The sessions, the numbers that they are held against, and the verdict with its evidence."""
    if found.sessions:
        yield Table(
            ("application", "role", "state", "sessions", "oldest", "last statement"),
            [_group(one) for one in found.sessions],
            right=("sessions", "oldest"),
        )
    yield Table(("what", "how much", "meaning"), [*_rows(found)])
    yield Lines(
        [
            Cell(f"{found.environment}: {found.verdict}, {found.message}", _STYLES.get(found.verdict, "bad")),
            *(f"  {line}" for line in found.evidence),
            *([f"  next: {found.fix}"] if found.fix else []),
        ]
    )


def bounds(asked: Bounds) -> str:
    """What a benchmark will take."""
    return (
        f"reads SELECT 1 over at most {asked.connections} connections, up to {asked.levels[-1]} tasks at a time,"
        f" for about {asked.seconds:g} s"
    )


def benchmark(found: Benchmark) -> Iterator[Block]:
    """A line a level; on a terminal, bars too."""
    table = Table(
        ("tasks", "checkouts/s", "wait p50", "p95", "p99", "errors"),
        [_level(one) for one in found.levels],
        right=("tasks", "checkouts/s", "wait p50", "p95", "p99"),
    )
    yield Either([table, Lines(_plot(found.levels))], [table])
    if found.enough_tasks is not None:
        yield Lines(
            [f"{found.environment}: {found.enough_tasks} tasks at a time get nearly all there is to get"]
        )
    else:
        yield Lines([Cell(f"{found.environment}: no checkout succeeded", "bad")])


def _group(one: SessionGroup) -> tuple[str | Cell, ...]:
    held = one.state.startswith("idle in transaction")
    locked = f", {one.waiting_for_locks} wait for locks" if one.waiting_for_locks else ""
    return (
        one.application,
        one.role,
        Cell(one.state + locked, "warning" if held or locked else ""),
        str(one.sessions),
        duration(one.oldest_state_seconds),
        one.last_statement,
    )


def _rows(found: PoolReport) -> Iterator[tuple[str | Cell, ...]]:
    setup = found.settings
    behind = f", through {setup.pooler}" if setup.pooler else ""
    yield (
        "settings",
        f"{setup.size} + {setup.max_overflow}",
        f"a process's pool, and beyond it; a checkout waits {duration(setup.timeout_seconds)}{behind}",
    )
    if found.process:
        pool = found.process
        free = f"{pool.checked_in} free, {pool.overflow} beyond its size"
        yield "this process", f"{pool.checked_out} of {pool.size}", f"checked out; {free}"
    if slots := found.slots:
        reserved = f"{slots.max_connections} less {slots.reserved} reserved"
        yield "server's slots", f"{slots.used} of {slots.usable}", f"taken; {reserved}"
        for one in slots.limits:
            yield one.name, f"{one.used} of {one.limit}", "taken, by its own limit"
    yield from _arithmetic(found)


def _arithmetic(found: PoolReport) -> Iterator[tuple[str | Cell, ...]]:
    setup = found.settings
    if fleet := found.fleet:
        sum_ = f"{setup.processes} x ({setup.size} + {setup.max_overflow}) + {setup.jobs} jobs"
        against = f"{fleet.limit} of {fleet.limited_by}"
        verdict = {
            True: f"fit into {against}",
            False: f"do not fit into {against}",
            None: "end at the pooler",
        }
        style: Style = "bad" if fleet.fits is False else ""
        yield "full pools", str(fleet.connections), Cell(f"{sum_}: {verdict[fleet.fits]}", style)
    if load := found.load:
        yield (
            "held on average",
            "unknown" if load.held_on_average is None else f"{load.held_on_average:g}",
            f"{load.transactions_per_second:g} transactions/s x {duration(load.mean_hold_seconds)}:"
            f" {load.suggested_per_process} a process would do"
            if load.held_on_average is not None
            else "too few transactions between the two looks to say"
            if load.transactions_per_second is None
            else "the server counts no times before PostgreSQL 14",
        )
    if ping := found.ping:
        costs = "costs each checkout" if ping.enabled else "would cost each checkout"
        yield (
            "pre_ping",
            "on" if ping.enabled else "off",
            f"{costs} {duration(ping.ping_seconds)}, where a round trip takes {duration(ping.round_trip_seconds)}",
        )


def _level(one: Level) -> tuple[str | Cell, ...]:
    waits = (one.wait_p50_seconds, one.wait_p95_seconds, one.wait_p99_seconds)
    errors = ", ".join(f"{count} {kind}" for kind, count in one.errors.items())
    return (str(one.tasks), f"{one.per_second:.0f}", *map(duration, waits), Cell(errors, "bad"))


def _plot(levels: tuple[Level, ...]) -> list[str]:
    """Two bars a level, each against the longest of its kind."""
    most = max(one.per_second for one in levels)
    longest = max(one.wait_p95_seconds or 0 for one in levels)
    lines = ["", "tasks  checkouts/s" + " " * (_BAR_WIDTH - 9) + "wait p95"]
    return (
        lines
        + [
            f"{one.tasks:>5}  {bar(one.per_second, most):<{_BAR_WIDTH}}  {bar(one.wait_p95_seconds or 0, longest)}".rstrip()
            for one in levels
        ]
        + [""]
    )


def bar(value: float, most: float) -> str:
    """``value`` as a bar of at most 40 characters, to an eighth of one."""
    eighths = round(8 * _BAR_WIDTH * value / most) if most else 0
    return "█" * (eighths // 8) + _EIGHTHS[eighths % 8].strip()


def duration(seconds: float | None) -> str:
    """A time as a person reads it; nothing for one that is not known."""
    if seconds is None:
        return ""
    if seconds < 1:
        return f"{seconds * 1000:.{1 if seconds >= _MILLISECOND else 2}f} ms"
    return f"{seconds:.1f} s" if seconds < _MINUTES_FROM else f"{seconds / 60:.0f} min"
