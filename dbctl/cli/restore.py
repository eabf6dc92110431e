"""``dbctl restore``: a backup takes a database's place, which is kept under another name."""

from __future__ import annotations

from typing import Annotated

import typer

from dbctl.cli.command import Invocation, leaf
from dbctl.cli.restore_run import Wish, put_back, put_in_place

Name = str | None
Reference = Annotated[
    Name, typer.Argument(metavar="ID|latest", help="A backup's id, its beginning, or latest.")
]
At = Annotated[
    Name, typer.Option("--at", metavar="TIME", help="The newest good backup not after this time (RFC 3339).")
]
Beside = Annotated[
    Name, typer.Option("--as", metavar="NAME", help="Restore under this name and replace nothing.")
]
Undo = Annotated[bool, typer.Option("--undo", help="Bring back the database that the last restore replaced.")]
Jobs = Annotated[
    int | None,
    typer.Option(min=1, max=64, help="Tables and indexes at a time; else one a processor, up to 8."),
]
NoOwner = Annotated[
    bool,
    typer.Option("--no-owner", help="Leave out owners and grants: all belongs to the role that restores."),
]
NoTablespaces = Annotated[
    bool, typer.Option("--no-tablespaces", help="Put all into the database's own tablespace.")
]
NoRoomCheck = Annotated[
    bool, typer.Option("--no-room-check", help="Begin even where the disk seems too small.")
]
FromEnvironment = Annotated[
    Name, typer.Option(metavar="NAME", help="The backup is of this other environment.")
]
FromDatabase = Annotated[Name, typer.Option(metavar="NAME", help="The backup is of this other database.")]
FromHost = Annotated[Name, typer.Option(metavar="HOST", help="The backup is of this other server.")]


async def restore(
    run: Invocation,
    backup: Reference = None,
    *,
    at: At = None,
    beside: Beside = None,
    undo: Undo = False,
    jobs: Jobs = None,
    no_owner: NoOwner = False,
    no_tablespaces: NoTablespaces = False,
    no_room_check: NoRoomCheck = False,
    from_environment: FromEnvironment = None,
    from_database: FromDatabase = None,
    from_host: FromHost = None,
) -> None:
    """Restore a backup into a new database, compare its rows, then let it take the database's name.

    Every byte is checked first, and all that the server lacks is told at once. The replaced database stays as
    NAME_before_…; --undo brings it back, and the output says how to drop it. Sessions on the database are ended
    at the moment of the swap.

    Example: dbctl restore latest --as copy

    Example: dbctl restore --at 2026-11-22T17:15:00Z --confirm app

    Example: dbctl restore --undo --confirm app
    """
    from dbctl.backup.model import RestoreOptions
    from dbctl.cli.output.views import backup as views

    source = {"from_environment": from_environment, "from_database": from_database, "from_host": from_host}
    options = RestoreOptions(beside, not no_owner, not no_tablespaces, not no_room_check, jobs)
    if undo:
        return run.emit(await put_back(run, backup), views.undone, always=True)
    done = await put_in_place(run, Wish(backup, at, source), options)
    return run.emit(done, views.restored, always=True)


app = leaf(restore, emits="report", writes=True)
