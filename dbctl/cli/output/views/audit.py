"""How the record of changes looks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC
from typing import TYPE_CHECKING

from dbctl.cli.output.blocks import Block, Cell, Style, Table
from dbctl.cli.output.durations import span

if TYPE_CHECKING:
    from dbctl.audit.model import Entry

_STYLES: dict[str, Style] = {"done": "good", "running": "", "unfinished": "bad"}


def entries(found: Sequence[Entry]) -> Iterator[Block]:
    """A line a command."""
    yield Table(
        ("when (UTC)", "who", "environment", "command", "what", "outcome", "exit code", "took", "changed"),
        [
            (
                f"{one.at.astimezone(UTC):%Y-%m-%d %H:%M:%S}",
                f"{one.user}@{one.host}",
                one.environment,
                one.command,
                f"{one.place}: {one.action}",
                Cell(one.outcome, _STYLES.get(one.outcome, "warning")),
                "" if one.exit_code is None else str(one.exit_code),
                "" if one.duration_seconds is None else span(one.duration_seconds),
                ", ".join(f"{name} {_value(value)}" for name, value in one.changed.items()),
            )
            for one in found
        ],
        right=("exit code", "took"),
    )


def _value(value: object) -> str:
    return (" ".join(map(str, value)) or "none") if isinstance(value, list) else str(value)
