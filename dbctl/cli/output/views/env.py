"""How environments and settings look."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from dbctl.cli.output.blocks import Block, Cell, Table

if TYPE_CHECKING:
    from dbctl.database.check import Checked
    from dbctl.settings.show import Environment, Setting


def environments(found: Sequence[Environment]) -> Iterator[Block]:
    """A line an environment."""
    yield Table(
        ("environment", "in use", "protected", "server"),
        [
            (
                one.name,
                "yes" if one.current else "",
                Cell("yes", "warning") if one.protected else "",
                one.server,
            )
            for one in found
        ],
    )


def settings(found: Sequence[Setting]) -> Iterator[Block]:
    """A line a key."""
    yield Table(
        ("key", "value", "source"),
        [
            (one.key, one.value or "", Cell(one.source, "dim" if one.source == "default" else ""))
            for one in found
        ],
    )


def checks(found: Sequence[Checked]) -> Iterator[Block]:
    """A line a check, with its fix."""
    yield Table(
        ("check", "status", "detail", "next"),
        [
            (one.check, Cell("ok", "good") if one.ok else Cell("failed", "bad"), one.detail, one.fix)
            for one in found
        ],
    )
