"""How an import looks."""

from __future__ import annotations

from collections.abc import Iterator

from dbctl.cli.output.blocks import Block, Lines
from dbctl.users.transfer.model import Imported


def imported(done: Imported) -> Iterator[Block]:
    """One line."""
    counts = [f"{done.rows} rows", f"{done.added} added"]
    more = {"updated": done.updated, "skipped": done.skipped, "rejected": done.rejected}
    counts += [f"{count} {word}" for word, count in more.items() if count]
    lead = "would be: " if done.dry_run else ""
    resumed = f" (went on behind line {done.resumed_behind})" if done.resumed_behind else ""
    yield Lines([f"{lead}{', '.join(counts)}{resumed}"])
