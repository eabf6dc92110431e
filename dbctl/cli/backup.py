"""``dbctl backup``: write backups, prove them, list them, see whether they are fresh, remove old ones."""

from __future__ import annotations

from typing import Annotated

import typer

from dbctl.cli.command import Group, Invocation
from dbctl.cli.schedule import Alert, Image, Into, User
from dbctl.cli.storage import Where, agrees_to_remove, open_keyring, open_repositories, seconds_of
from dbctl.errors import UsageError

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


@group.command("create", emits="report", unattended=True)
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
    where: Where = None,
) -> None:
    """Dump the database into backup.target, or at once into all of backup.targets. `dbctl backup` alone does this.

    A target is a folder or a bucket: s3:// is tested, gs:// and az:// are not. Prints the new backup's id. Where one of several targets fails, the others get it, and the exit code is 6. With -q it says nothing unless it fails: for cron. A partial backup counts
    neither as latest nor for retention.

    Example: dbctl backup create --env production --prove -q --metrics-file /var/lib/node_exporter/backup.prom
    """
    from dbctl.backup.make import make_backup
    from dbctl.backup.model import Request, Selection
    from dbctl.cli.output.views import backup as views

    wanted = Selection(tuple(table or ()), tuple(schema or ()), tuple(exclude or ()))
    request, keyring = Request(wanted, jobs, digests), open_keyring(run)
    target, folders = await run.target(direct=True), open_repositories(run, where)
    run.record(str(target.conninfo), "writes a backup")
    with run.progress("Dumping", unit="bytes") as progress:
        made = await make_backup(
            target, folders, request, prove=prove, keyring=keyring, progress=progress, say=run.say
        )
    run.say(views.sentence(made))
    run.emit(made, views.created)


@group.command("list", emits="list")
def list_(run: Invocation, *, where: Where = None) -> None:
    """List the backups in each of the environment's targets, the newest first. Asks no database.

    Example: dbctl backup list --format json
    """
    from dbctl.backup.several import every_backup
    from dbctl.cli.output.views import backup as views

    found = every_backup(open_repositories(run, where), say=run.say)
    run.emit([one.summary for one in found], views.backups)


@group.command("show", emits="report")
def show(run: Invocation, backup: Reference = "latest", *, where: Where = None) -> None:
    """Show what a backup's manifest says, and what its last proof found. Asks no database.

    Example: dbctl backup show latest
    """
    from dbctl.backup.several import newest
    from dbctl.cli.output.views import backup as views

    environment = run.loaded.environment
    _, found = newest(
        open_repositories(run, where), lambda one: one.find(backup, environment=environment), say=run.say
    )
    run.emit(found, views.details)


@group.command("verify", emits="list", unattended=True)
async def verify(
    run: Invocation,
    backup: Reference = "latest",
    *,
    every: Annotated[bool, typer.Option("--all", help="Every backup there is.")] = False,
    restore: Annotated[
        bool, typer.Option("--restore", help="Restore it on scratch and compare rows, values and catalog.")
    ] = False,
    where: Where = None,
) -> None:
    """Compare every byte of a backup with its manifest, or prove that it restores. Asks no database of yours.

    In each target by itself; one that can't be asked keeps no other from it. What is found is noted beside the backup: one that is not good counts for nothing. Exit code 1 for that.

    Example: dbctl backup verify latest --restore
    """
    from dbctl.backup.check import check_backups
    from dbctl.backup.several import Round, chosen_everywhere
    from dbctl.cli.output.views import backup as views

    folders, keyring = open_repositories(run, where), open_keyring(run)
    way = Round(folders)
    chosen = chosen_everywhere(folders, None if every else backup, run.loaded.environment, way)
    with run.progress("Reading", unit="bytes") as progress:
        results = await check_backups(
            chosen, run.loaded, way, restore=restore, keyring=keyring, progress=progress
        )
    run.emit(results, views.verified)
    way.end()
    run.verdict(all(result.good for result in results), found=views.bad(results))


@group.command("status", emits="monitor", unattended=True)
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
    where: Where = None,
) -> None:
    """Say whether there is a fresh backup, and a proven one. Asks no database: any machine with the storage can.

    In each target by itself. Exit code 1 if not; under --format nagios 1 is a warning and 2 critical.

    Example: dbctl backup status --max-age 26h --max-unproven 7d
    """
    from datetime import UTC, datetime

    from dbctl.backup.freshness import check_all
    from dbctl.cli.output.views import freshness as views

    settings, folders = run.loaded.settings.backup, open_repositories(run, where)
    limits = {
        "max_age": seconds_of("--max-age", max_age, settings.max_age),
        "max_unproven": seconds_of("--max-unproven", max_unproven, settings.max_unproven),
    }
    report = check_all(folders, run.loaded.environment, datetime.now(UTC), **limits)
    run.emit(report, views.report, always=run.common.format == "nagios")
    run.monitored(report.level.severity, found=views.line(report))


@group.command("prune", emits="list", writes=True, unattended=True)
async def prune(run: Invocation, *, where: Where = None) -> None:
    """Show which backups retention keeps and why; with --yes, remove the others.

    Only good backups of whole databases are counted; the newest of them always stays, and so does the newest
    proven one. Each target is judged by itself, one that can't be asked keeps no other from it, and what interrupted uploads left in a bucket goes too. The rules are backup.keep.last, hourly, daily, weekly, monthly, yearly, within.

    Example: dbctl backup prune --env production --yes
    """
    from dbctl.backup.prune import plan_everywhere, prune_everywhere
    from dbctl.backup.several import Round
    from dbctl.cli.output.views import freshness as views

    settings, environment = run.loaded.settings.backup, run.loaded.environment
    folders = open_repositories(run, where)
    way = Round(folders)
    planned = plan_everywhere(folders, environment, settings, way)
    verdicts = [verdict for one in planned.values() for verdict in one]
    if agrees_to_remove(run, verdicts):
        verdicts = await prune_everywhere(planned, environment, settings, way)
    run.say(views.outcome(verdicts))
    run.emit(verdicts, views.verdicts)
    way.end()


@group.command("schedule")
def schedule(
    run: Invocation,
    *,
    cron: Annotated[bool, typer.Option("--cron", help="An entry for a crontab.")] = False,
    systemd: Annotated[bool, typer.Option("--systemd", help="A service and its timer.")] = False,
    k8s: Annotated[bool, typer.Option("--k8s", help="A CronJob for Kubernetes; needs --image.")] = False,
    alert: Alert = "",
    user: User = "",
    image: Image = "",
    into: Into = None,
) -> None:
    """Print what backs up the environment every night, proves it every week, and prunes.

    The same as `dbctl schedule print SCHEDULER backup verify prune`.

    Example: dbctl backup schedule --systemd --env production
    """
    from dbctl.cli.schedule_files import show

    chosen = [name for name, wanted in (("cron", cron), ("systemd", systemd), ("k8s", k8s)) if wanted]
    if len(chosen) != 1:
        raise UsageError("give one of --cron, --systemd and --k8s")
    show(run, chosen[0], ("backup", "verify", "prune"), into, alert=alert, user=user, image=image)
