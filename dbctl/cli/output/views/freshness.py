"""Whether backups are fresh, and which of them stay, as a person reads it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from dbctl.backup.model import Freshness, FreshnessReport, Level, Verdict
from dbctl.cli.output.blocks import Block, Cell, Lines, Style, Table
from dbctl.cli.output.durations import span
from dbctl.cli.output.views.backup import beside_targets, size_text

_STYLES: dict[Level, Style] = {Level.OK: "good", Level.WARNING: "warning", Level.CRITICAL: "bad"}
_HOUR, _DAY = 3600, 86400


def report(found: FreshnessReport) -> Iterator[Block]:
    """One row a database, then the state of all."""
    headings = ("database", "state", "newest good", "age", "proven", "good", "problem")
    table = Table(headings, [_row(one) for one in found.databases], right=("age", "proven", "good"))
    yield beside_targets(table, [f"{one.target}/" for one in found.databases])
    yield Lines([Cell(line(found), _STYLES[found.level])])


def line(found: FreshnessReport) -> str:
    """The state of all."""
    return f"{found.environment}: {found.level}, {found.message}"


def verdicts(judged: Sequence[Verdict]) -> Iterator[Block]:
    """One row a backup, the newest first, with the reason for each."""
    headings = ("id", "verdict", "environment", "database", "size", "why")
    rows: list[list[str | Cell]] = [
        [
            one.id,
            _verdict(one),
            one.environment or "",
            one.database or "",
            "" if one.size_bytes is None else size_text(one.size_bytes),
            ", ".join(one.reasons) or "nothing keeps it",
        ]
        for one in judged
    ]
    yield beside_targets(Table(headings, rows, right=("size",)), [one.path for one in judged])


def outcome(judged: Sequence[Verdict]) -> str:
    """What was removed, or would be."""
    removed, going = [one for one in judged if one.removed], [one for one in judged if not one.keep]
    freed = size_text(sum(one.size_bytes or 0 for one in removed or going))
    if removed:
        return f"removed {len(removed)} of {len(judged)}, {freed}"
    return (
        f"nothing was removed; {len(going)} of {len(judged)} would go ({freed}): add --yes"
        if going
        else "all stay"
    )


def _verdict(one: Verdict) -> Cell:
    if one.keep:
        return Cell("keep", style="good")
    return Cell("removed" if one.removed else "remove", style="warning")


def _row(one: Freshness) -> list[str | Cell]:
    return [
        one.database,
        Cell(one.level, _STYLES[one.level]),
        one.newest_id or "none",
        _ago(one.age_seconds),
        _ago(one.proven_seconds_ago),
        str(one.good),
        one.problem,
    ]


def _ago(seconds: float | None) -> str:
    if seconds is None:
        return "never"
    if seconds < _HOUR:
        return span(seconds)
    return f"{seconds / _HOUR:.1f} h" if seconds < _DAY else f"{seconds / _DAY:.1f} d"
