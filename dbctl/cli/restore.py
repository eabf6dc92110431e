"""``dbctl restore``: a backup takes a database's place, which is kept under another name."""

from __future__ import annotations

from typing import Annotated

import typer

from dbctl.cli.backup import Reference
from dbctl.cli.command import Invocation, leaf
from dbctl.cli.storage import open_folder, open_keyring


async def restore(
    run: Invocation,
    backup: Reference,
    *,
    beside: Annotated[
        str | None, typer.Option("--as", metavar="NAME", help="Restore under this name and replace nothing.")
    ] = None,
    no_owner: Annotated[
        bool,
        typer.Option(
            "--no-owner", help="Leave out owners and grants: all belongs to the role that restores."
        ),
    ] = False,
    from_environment: Annotated[
        str | None, typer.Option(metavar="NAME", help="The backup is of this other environment.")
    ] = None,
    from_database: Annotated[
        str | None, typer.Option(metavar="NAME", help="The backup is of this other database.")
    ] = None,
    from_host: Annotated[
        str | None, typer.Option(metavar="HOST", help="The backup is of this other server.")
    ] = None,
) -> None:
    """Restore a backup into a new database, compare its rows, then let it take the database's name.

    Every byte is checked first. The replaced database stays as NAME_before_…; the output says how to go
    back to it, and how to drop it. Sessions on the database are ended at the moment of the swap.

    Example: dbctl restore latest --as copy
    """
    from dbctl.backup.archive import Archive
    from dbctl.backup.choose import choose_backup
    from dbctl.backup.restore import restore_backup
    from dbctl.cli.output.views import backup as views

    target = await run.target()
    source = {"from_environment": from_environment, "from_database": from_database, "from_host": from_host}
    chosen = choose_backup(open_folder(run), backup, target, **source, replaces=beside is None)
    await run.announce_write(f"restores backup {chosen.id} as database {beside or target.conninfo.database}")
    if beside is None:
        run.ask_name(
            target.conninfo.database, f"puts backup {chosen.id} in the place of {target.conninfo.database}"
        )
    settings, archive = run.loaded.settings.backup, Archive(chosen, open_keyring(run))
    with run.progress("Checking and restoring", unit="bytes") as progress:
        done = await restore_backup(
            target, archive, settings, beside=beside, owners=not no_owner, progress=progress, say=run.say
        )
    run.emit(done, views.restored, always=True)


app = leaf(restore, emits="report", writes=True)
