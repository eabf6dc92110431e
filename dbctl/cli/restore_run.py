"""The steps of ``dbctl restore``: what is chosen, what is asked, what runs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from dbctl.cli.command import Invocation
from dbctl.cli.storage import open_folder, open_keyring
from dbctl.errors import UsageError

if TYPE_CHECKING:
    from dbctl.backup.model import Backup, Restored, RestoreOptions, Undone
    from dbctl.database import Target


@dataclass(frozen=True, slots=True)
class Wish:
    """Which backup the command line asks for, and where it says that it comes from."""

    reference: str | None
    at: str | None
    source: Mapping[str, str | None]


async def put_in_place(run: Invocation, wish: Wish, options: RestoreOptions) -> Restored:
    """Restore the wished backup, after the question that it needs."""
    from dbctl.backup.archive import Archive
    from dbctl.backup.restore import restore_backup

    target = await run.target(direct=True)
    chosen = _choose(run, wish, target, replaces=options.beside is None)
    database = target.conninfo.database
    await run.announce_write(f"restores backup {chosen.id} as database {options.beside or database}")
    if options.beside is None:
        run.ask_name(database, f"puts backup {chosen.id} in the place of {database}")
    settings, archive = run.loaded.settings.backup, Archive(chosen, open_keyring(run))
    with run.progress("Checking and restoring", unit="bytes") as progress:
        return await restore_backup(target, archive, settings, options, progress=progress, say=run.say)


async def put_back(run: Invocation, kept: str | None) -> Undone:
    """Take the last restore back, or bring back the database of that name, after the same question."""
    from dbctl.backup.undo import find_kept, undo_restore

    target = await run.target(direct=True)
    found, database = await find_kept(target, kept), target.conninfo.database
    await run.announce_write(f"puts database {found} in the place of {database}")
    run.ask_name(database, f"puts {found} in the place of {database}")
    return await undo_restore(target, found)


def _choose(run: Invocation, wish: Wish, target: Target, *, replaces: bool) -> Backup:
    from dbctl.backup.choose import choose_backup, parse_moment
    from dbctl.backup.folder import LATEST

    if (wish.reference is None) is (wish.at is None):
        raise UsageError(
            "which backup?",
            why="give its id, latest, or --at TIME: one of them",
            hint="see `dbctl backup list`",
        )
    moment = parse_moment(wish.at) if wish.at is not None else None
    return choose_backup(
        open_folder(run),
        wish.reference or LATEST,
        target,
        **wish.source,
        replaces=replaces,
        moment=moment,
    )
