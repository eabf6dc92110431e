"""How the embedded server looks."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from dbctl.cli.output.blocks import Block, Cell, Table

if TYPE_CHECKING:
    from dbctl.postgres.embedded import ServerStatus


def status(found: ServerStatus) -> Iterator[Block]:
    """A line a fact."""
    state = Cell(f"running, pid {found.pid}", "good") if found.running else Cell("stopped", "warning")
    yield Table(
        ("server", "value"),
        [
            ("state", state),
            ("version", f"PostgreSQL {found.version}, {found.origin}"),
            ("data", str(found.folder)),
            ("socket", str(found.socket_folder)),
            ("runs as", found.launcher),
            ("log", str(found.log)),
        ],
    )
