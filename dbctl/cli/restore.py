"""``dbctl restore``: a backup takes a database's place, which is kept under another name."""

from __future__ import annotations

from typing import Annotated

import typer

from dbctl.cli.command import Invocation, leaf
from dbctl.cli.restore_run import Wish, bring_back, put_back, put_in_place
from dbctl.cli.storage import Where

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
Tables = Annotated[
    list[str] | None,
    typer.Option("--table", "-t", metavar="NAME", help="Only this table, beside the live one; repeatable."),
]
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
Migrate = Annotated[bool, typer.Option("--migrate", help="Apply the code's newer revisions before the swap.")]
ToEnv = Annotated[
    Name,
    typer.Option("--to-env", metavar="NAME", help="Restore into the database of this other environment."),
]
Mask = Annotated[
    bool, typer.Option("--mask", help="Replace personal data first, by the rules of [backup.mask].")
]
Unmasked = Annotated[
    bool,
    typer.Option("--unmasked", help="Take another environment's data as it is: somebody answers for it."),
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
    table: Tables = None,
    jobs: Jobs = None,
    no_owner: NoOwner = False,
    no_tablespaces: NoTablespaces = False,
    no_room_check: NoRoomCheck = False,
    migrate: Migrate = False,
    to_env: ToEnv = None,
    mask: Mask = False,
    unmasked: Unmasked = False,
    from_environment: FromEnvironment = None,
    from_database: FromDatabase = None,
    from_host: FromHost = None,
    where: Where = None,
) -> None:
    """Restore a backup into a new database, compare its rows, then let it take the database's name.

    Every byte is checked first, and all that the server lacks is told at once. The replaced database stays as
    NAME_before_…; --undo brings it back, and the output says how to drop it. Sessions on the database are ended
    at the moment of the swap. Data of one environment goes into another masked, or by --unmasked.

    Example: dbctl restore latest --as copy

    Example: dbctl restore --at 2026-11-22T17:15:00Z --confirm app

    Example: dbctl restore latest --table orders

    Example: dbctl restore latest -e production --to-env staging --mask --confirm app

    Example: dbctl restore --undo --confirm app
    """
    from dbctl.backup.restore_model import RestoreOptions
    from dbctl.cli.output.views import backup as views

    source = {"from_environment": from_environment, "from_database": from_database, "from_host": from_host}
    options = RestoreOptions(beside, not no_owner, not no_tablespaces, not no_room_check, jobs)
    if undo:
        return run.emit(await put_back(run, backup), views.undone, always=True)
    wish = Wish(backup, at, source, migrate, to_env, mask, unmasked, where)
    if table:
        return run.emit(await bring_back(run, wish, table, options), views.tables_back, always=True)
    done = await put_in_place(run, wish, options)
    return run.emit(done, views.restored, always=True)


app = leaf(restore, emits="report", writes=True)
