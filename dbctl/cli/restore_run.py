"""The steps of ``dbctl restore``: what is chosen, what is asked, what runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

from dbctl.cli.command import Invocation
from dbctl.cli.storage import open_keyring, open_repositories
from dbctl.errors import UsageError

if TYPE_CHECKING:
    from dbctl.backup.archive import Archive
    from dbctl.backup.restore_model import Restored, RestoreOptions, TablesBack, Undone
    from dbctl.database import Target


@dataclass(frozen=True, slots=True)
class Wish:
    """Which backup the command line asks for, where it says that it comes from, and where it goes to."""

    reference: str | None
    at: str | None
    source: Mapping[str, str | None]
    migrate: bool
    to_env: str | None
    mask: bool
    unmasked: bool
    where: str | None


async def put_in_place(run: Invocation, wish: Wish, options: RestoreOptions) -> Restored:
    """Restore the wished backup, after the question that it needs."""
    from dbctl.backup.restore import restore_backup
    from dbctl.cli.restore_migrate import compare_with_code, migration

    there = _destination(run, wish)
    target = await there.target(direct=True)
    archive = await _choose(run, wish, target, replaces=options.beside is None)
    compare_with_code(there, archive.manifest, migrate=wish.migrate)
    database, backup_id = target.conninfo.database, archive.backup.id
    await there.announce_write(f"restores backup {backup_id} as database {options.beside or database}")
    if options.beside is None:
        there.ask_name(database, f"puts backup {backup_id} in the place of {database}")
    settings = there.loaded.settings.backup
    if wish.mask:
        # Where the data comes from has the last word.
        options = replace(options, masks={**settings.mask, **run.loaded.settings.backup.mask})
    with run.progress("Checking and restoring", unit="bytes") as progress:
        finish = migration(there) if wish.migrate else None
        return await restore_backup(
            target, archive, settings, options, finish=finish, progress=progress, say=run.say
        )


async def bring_back(
    run: Invocation, wish: Wish, names: Sequence[str], options: RestoreOptions
) -> TablesBack:
    """Restore single tables beside the live ones: that adds, and asks nothing."""
    from dbctl.backup.tables import restore_tables

    if options.beside is not None or wish.mask or wish.migrate:
        raise UsageError(
            "--table goes with none of --as, --mask and --migrate",
            why="tables come into the database itself, as they were",
        )
    there = _destination(run, wish)
    target = await there.target(direct=True)
    archive = await _choose(run, wish, target, replaces=False)
    await there.announce_write(f"restores {', '.join(names)} of backup {archive.backup.id} into a new schema")
    settings, jobs = there.loaded.settings.backup, options.jobs or 1
    with run.progress("Checking and restoring", unit="bytes") as progress:
        return await restore_tables(
            target, archive, settings, names, jobs=jobs, progress=progress, say=run.say
        )


async def put_back(run: Invocation, kept: str | None) -> Undone:
    """Take the last restore back, or bring back the database of that name, after the same question."""
    from dbctl.backup.undo import find_kept, undo_restore

    target = await run.target(direct=True)
    found, database = await find_kept(target, kept), target.conninfo.database
    await run.announce_write(f"puts database {found} in the place of {database}")
    run.ask_name(database, f"puts {found} in the place of {database}")
    return await undo_restore(target, found)


def _destination(run: Invocation, wish: Wish) -> Invocation:
    """The run itself, or the same one in the environment that the data goes to."""
    return run if wish.to_env is None else run.elsewhere(wish.to_env)


async def _choose(run: Invocation, wish: Wish, target: Target, *, replaces: bool) -> Archive:
    from dbctl.backup.archive import Archive
    from dbctl.backup.choose import check_crossing, choose_backup, parse_moment
    from dbctl.backup.repository import LATEST
    from dbctl.backup.several import newest
    from dbctl.backup.verify import note

    if (wish.reference is None) is (wish.at is None):
        raise UsageError(
            "which backup?",
            why="give its id, latest, or --at TIME: one of them",
            hint="see `dbctl backup list`",
        )
    source = dict(wish.source)
    if wish.to_env is not None:
        # --to-env says it all: the backup is of the environment, the database and the server of --env.
        ours = await run.target(direct=True)
        known = (ours.environment, ours.conninfo.database, ours.conninfo.place)
        names = ("from_environment", "from_database", "from_host")
        source = {name: source[name] or value for name, value in zip(names, known, strict=True)}
    moment = parse_moment(wish.at) if wish.at is not None else None
    repository, chosen = newest(
        open_repositories(run, wish.where),
        lambda one: choose_backup(
            one, wish.reference or LATEST, target, **source, replaces=replaces, moment=moment
        ),
        say=run.say,
    )
    check_crossing(chosen, target, masked=wish.mask, unmasked=wish.unmasked)
    # What turns out damaged must not be called good by the next list.
    return Archive(chosen, open_keyring(run), repository.storage, partial(note, repository, chosen))
