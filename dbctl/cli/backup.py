"""``dbctl backup``: write backups, prove them, list them, see whether they are fresh, remove old ones."""

from __future__ import annotations

from typing import Annotated

import typer

from dbctl.cli.command import Group, Invocation
from dbctl.cli.storage import agrees_to_remove, open_folder, open_keyring, seconds_of

group = Group(
    "backup",
    "Write, prove, list, show, verify and prune backups. Alone, it is `dbctl backup create`.",
    default="create",
)
app = group.app

Reference = Annotated[
    str, typer.Argument(metavar="ID|latest", help="A backup's id, its beginning, or latest.")
]
Patterns = list[str] | None


@group.command("create", emits="report")
async def create(
    run: Invocation,
    *,
    prove: Annotated[bool, typer.Option("--prove", help="Restore it on scratch and compare it.")] = False,
    digests: Annotated[
        bool, typer.Option("--digests", help="Note what the rows hold, for a later proof. [backup.digests]")
    ] = False,
    jobs: Annotated[
        int | None,
        typer.Option(min=1, max=64, help="Dump so many tables at a time, into a folder. [backup.jobs]"),
    ] = None,
    table: Annotated[
        Patterns, typer.Option("--table", "-t", metavar="NAME", help="Only these tables: a partial backup.")
    ] = None,
    schema: Annotated[Patterns, typer.Option(metavar="NAME", help="Only these schemas.")] = None,
    exclude: Annotated[Patterns, typer.Option(metavar="NAME", help="Without these tables.")] = None,
) -> None:
    """Dump the database into the folder of backups. `dbctl backup` alone does this.

    Prints the new backup's id. With -q it says nothing unless it fails: for cron. A partial backup counts
    neither as latest nor for retention.

    Example: dbctl backup create --env production --prove -q
    """
    from dbctl.backup.make import make_backup
    from dbctl.backup.model import Request, Selection
    from dbctl.cli.output.views import backup as views

    wanted = Selection(tuple(table or ()), tuple(schema or ()), tuple(exclude or ()))
    request, keyring = Request(wanted, jobs, digests), open_keyring(run)
    target, folder = await run.target(direct=True), open_folder(run)
    with run.progress("Dumping", unit="bytes") as progress:
        made = await make_backup(
            target, folder, request, prove=prove, keyring=keyring, progress=progress, say=run.say
        )
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
    """Show what a backup's manifest says, and what its last proof found. Asks no database.

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
    restore: Annotated[
        bool, typer.Option("--restore", help="Restore it on scratch and compare rows, values and catalog.")
    ] = False,
) -> None:
    """Compare every byte of a backup with its manifest, or prove that it restores. Asks no database of yours.

    What is found is noted beside the backup: one that is not good counts for nothing. Exit code 1 for that.

    Example: dbctl backup verify latest --restore
    """
    from dbctl.backup.check import check_backups
    from dbctl.cli.output.views import backup as views

    folder, keyring = open_folder(run), open_keyring(run)
    chosen = folder.backups() if every else [folder.find(backup, environment=run.loaded.environment)]
    with run.progress("Reading", unit="bytes") as progress:
        results = await check_backups(
            folder, chosen, run.loaded, restore=restore, keyring=keyring, progress=progress
        )
    run.emit(results, views.verified)
    run.verdict(all(result.good for result in results))


@group.command("status", emits="monitor")
def status(
    run: Invocation,
    *,
    max_age: Annotated[
        str | None, typer.Option(metavar="TIME", help="How old the newest good one may be, such as 26h.")
    ] = None,
    max_unproven: Annotated[
        str | None,
        typer.Option(metavar="TIME", help="How long ago the last proof may be, such as 7d; 0: any."),
    ] = None,
) -> None:
    """Say whether there is a fresh backup, and a proven one. Asks no database: any machine with the storage can.

    Exit code 1 if not; under --format nagios 1 is a warning and 2 critical.

    Example: dbctl backup status --max-age 26h --max-unproven 7d
    """
    from datetime import UTC, datetime

    from dbctl.backup.freshness import check_freshness
    from dbctl.cli.output.views import freshness as views

    settings, folder = run.loaded.settings.backup, open_folder(run)
    limits = {
        "max_age": seconds_of("--max-age", max_age, settings.max_age),
        "max_unproven": seconds_of("--max-unproven", max_unproven, settings.max_unproven),
    }
    report = check_freshness(folder, run.loaded.environment, datetime.now(UTC), **limits)
    run.emit(report, views.report, always=run.common.format == "nagios")
    run.monitored(report.level.severity)


@group.command("prune", emits="list", writes=True)
async def prune(run: Invocation) -> None:
    """Show which backups retention keeps and why; with --yes, remove the others.

    Only good backups of whole databases are counted; the newest of them always stays, and so does the newest
    proven one. The rules are backup.keep.last, hourly, daily, weekly, monthly, yearly, within.

    Example: dbctl backup prune --env production --yes
    """
    from dbctl.backup.prune import plan_prune, prune_backups
    from dbctl.cli.output.views import freshness as views

    folder, settings, environment = open_folder(run), run.loaded.settings.backup, run.loaded.environment
    planned = plan_prune(folder, environment, settings)
    agreed = agrees_to_remove(run, planned)
    verdicts = await prune_backups(folder, environment, settings) if agreed else planned
    run.say(views.outcome(verdicts))
    run.emit(verdicts, views.verdicts)
