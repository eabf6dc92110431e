"""How a health report looks."""

from __future__ import annotations

from collections.abc import Iterator

from dbctl.cli.output.blocks import Block, Cell, Lines, Style, Table
from dbctl.health.model import Report, Status

_STYLES: dict[Status, Style] = {Status.OK: "good", Status.WARNING: "warning", Status.CRITICAL: "bad"}


def report(found: Report) -> Iterator[Block]:
    """The worst first, each with its next step."""
    yield Table(
        ("check", "status", "message", "next"),
        [
            (one.check, Cell(one.status, _STYLES.get(one.status, "dim")), one.message, one.fix)
            for one in found.checks
        ],
    )
    yield Lines(
        [
            Cell(
                f"{found.environment}: {found.status} in {found.seconds:.2f} s",
                _STYLES.get(found.status, "dim"),
            )
        ]
    )
