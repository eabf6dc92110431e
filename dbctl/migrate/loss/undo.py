"""Undoes revisions once what they would lose is saved: the database must be where it was looked at."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

from dbctl.migrate import runner
from dbctl.migrate.loss.look import Look
from dbctl.migrate.loss.model import Undone
from dbctl.migrate.loss.save import save
from dbctl.migrate.model import Run
from dbctl.migrate.runner import RunOptions
from dbctl.migrate.runner.journal import Progress
from dbctl.migrate.site import Site


async def undo(
    site: Site,
    seen: Look,
    *,
    save_to: Path | None,
    progress: Progress,
    wait_seconds: float = 0,
    options: RunOptions | None = None,
) -> Undone:
    """Save what would be lost to ``save_to`` (None: nothing is saved), then run the downgrades.

    Raises what `save` and `runner.down` raise; nothing is undone unless all is saved.
    """
    saved = await save(site, seen, save_to) if save_to else None
    outlook = seen.outlook
    run = await runner.down(
        site,
        outlook.destination,
        progress=progress,
        wait_seconds=wait_seconds,
        expected=outlook.current or None,
        options=options,
    )
    known = {field.name: getattr(run, field.name) for field in fields(Run)}
    return Undone(**known, outlook=outlook, saved=saved)
