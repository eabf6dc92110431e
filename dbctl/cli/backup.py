"""``dbctl backup``: write backups, list them, look at one, check their bytes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from dbctl.cli.command import Group, Invocation

if TYPE_CHECKING:
    from dbctl.backup.folder import BackupFolder

group = Group(
    "backup", "Write, list, show and verify backups. Alone, it is `dbctl backup create`.", default="create"
)
app = group.app

Reference = Annotated[
    str, typer.Argument(metavar="ID|latest", help="A backup's id, its beginning, or latest.")
]


def open_folder(run: Invocation) -> BackupFolder:
    """The environment's folder of backups."""
    from dbctl.backup.folder import BackupFolder

    return BackupFolder(run.loaded.path(run.loaded.settings.backup.target))


@group.command("create", emits="report")
async def create(run: Invocation) -> None:
    """Dump the database into the folder of backups. `dbctl backup` alone does this.

    Prints the new backup's id. With -q it says nothing unless it fails: for cron.

    Example: dbctl backup create --env production -q
    """
    from dbctl.backup.create import create_backup
    from dbctl.cli.output.views import backup as views

    target, settings = await run.target(direct=True), run.loaded.settings.backup
    with run.progress("Dumping", unit="bytes") as progress:
        made = await create_backup(target, open_folder(run), settings, progress=progress, say=run.say)
    run.say(views.sentence(made))
    run.emit(made, views.created)


@group.command("list", emits="list")
def list_(run: Invocation) -> None:
    """List the backups in the environment's folder, the newest first. Asks no database.

    Example: dbctl backup list --format json
    """
    from dbctl.cli.output.views import backup as views

    run.emit([one.summary for one in open_folder(run).backups()], views.backups)


@group.command("show", emits="report")
def show(run: Invocation, backup: Reference = "latest") -> None:
    """Show what a backup's manifest says. Asks no database.

    Example: dbctl backup show latest
    """
    from dbctl.cli.output.views import backup as views

    run.emit(open_folder(run).find(backup, environment=run.loaded.environment), views.details)


@group.command("verify", emits="list")
async def verify(
    run: Invocation,
    backup: Reference = "latest",
    *,
    every: Annotated[bool, typer.Option("--all", help="Every backup in the folder.")] = False,
) -> None:
    """Compare every byte of a backup with its manifest. Asks no database; exit code 1 if one is not good.

    Example: dbctl backup verify --all
    """
    from dbctl.backup.verify import verify_bytes
    from dbctl.cli.output.views import backup as views

    folder = open_folder(run)
    chosen = folder.backups() if every else [folder.find(backup, environment=run.loaded.environment)]
    with run.progress("Reading", unit="bytes") as progress:
        results = [await verify_bytes(one, progress=progress) for one in chosen]
    run.emit(results, views.verified)
    run.verdict(all(result.good for result in results))
