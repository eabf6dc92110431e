"""``dbctl migrate up``: the gate before it, the run itself, and what is said while it goes on."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dbctl.cli.command import Invocation
from dbctl.cli.migrate_group import (
    Config,
    Extra,
    Section,
    Sql,
    Wait,
    open_site,
    read_project,
    revision_argument,
    teller,
)
from dbctl.cli.migrate_run import run_options

if TYPE_CHECKING:
    from dbctl.migrate.model import Run
    from dbctl.migrate.project import Project
    from dbctl.migrate.runner.gate import GateRequest

PlanFile = Annotated[
    Path | None,
    typer.Option("--plan", metavar="FILE", help="Apply exactly this saved plan, if it still fits."),
]
NoPlan = Annotated[bool, typer.Option("--no-plan", help="Make no plan first.")]
Accept = Annotated[
    list[str] | None,
    typer.Option("--accept", metavar="HAZARD", help="Accept dangers of this id; repeatable."),
]
Rerun = Annotated[
    str | None,
    typer.Option("--rerun", metavar="REV", help="Run a half applied revision from its start: you undid it."),
]
NoHistory = Annotated[bool, typer.Option("--no-history", help="Leave no row in the table dbctl_history.")]
Backup = Annotated[bool, typer.Option("--backup", help="Take a backup first.")]
RequireBackup = Annotated[
    str | None,
    typer.Option("--require-backup", metavar="AGE", help="Refuse without a good backup younger than 24h …"),
]
ScratchUrl = Annotated[
    str | None,
    typer.Option(
        "--scratch-url", metavar="URL", help="A server to make the plan on, of a role with CREATEDB."
    ),
]


async def up(
    run: Invocation,
    revision: Annotated[
        str | None, revision_argument("An id, +1, head, heads or label@head; without one, heads.")
    ] = None,
    *,
    plan: PlanFile = None,
    no_plan: NoPlan = False,
    accept: Accept = None,
    backup: Backup = False,
    require_backup: RequireBackup = None,
    rerun: Rerun = None,
    no_history: NoHistory = False,
    scratch_url: ScratchUrl = None,
    config: Config = None,
    name: Section = "alembic",
    x: Extra = None,
    sql: Sql = False,
    wait: Wait = 0,
) -> None:
    """Apply all revisions up to REVISION, each in its own transaction, with only one runner at a time.

    Before: a plan is made where there are tables; a danger that nobody accepted refuses it (exit code 3). A
    revision that does not get its locks in time is rolled back and tried again; one that was cut short after a
    commit of its own goes on where it was.

    Example: dbctl migrate up --env staging --wait 60

    Example: dbctl migrate up --env production --plan plan.json --require-backup 24h
    """
    from dbctl.cli.output.views import migrate as view

    _check_options(revision, plan, accept)
    project = read_project(run, config, name, x)
    revision = revision or "heads"
    if sql:
        return await _print_sql(run, project, revision)
    make_plan = not no_plan and run.loaded.settings.migrate.plan
    gate = _gate_request(run, revision, plan, accept, scratch_url, make_plan=make_plan)
    await run.announce_write("applies migrations")
    await _secure(run, require_backup, backup=backup)
    done = await _apply(run, project, revision, gate, (rerun, no_history, wait))
    return run.emit(done, view.run)


def _check_options(revision: str | None, plan: Path | None, accept: list[str] | None) -> None:
    from dbctl.errors import UsageError

    if plan is not None and revision is not None:
        raise UsageError(
            "a REVISION and --plan can't both be given",
            why="a saved plan is applied whole, as far as it was made",
            hint=f"leave one out, or plan again: `dbctl migrate plan {revision} --out FILE`",
        )
    if accept:
        from dbctl.migrate.rules.registry import check_known

        check_known(accept, "--accept")


async def _print_sql(run: Invocation, project: Project, revision: str) -> None:
    from dbctl.cli.output.views import migrate as view
    from dbctl.migrate import author, model

    run.emit(await author.write_sql(project, model.Direction.UP, revision), view.script, always=True)


async def _apply(
    run: Invocation,
    project: Project,
    revision: str,
    gate: GateRequest,
    how: tuple[str | None, bool, float],
) -> Run:
    from dbctl.migrate import runner
    from dbctl.migrate.runner.gate import pass_gate

    rerun, no_history, wait = how
    async with open_site(run, project) as site, runner.only_runner(site, wait) as guard:
        passed = await pass_gate(site, guard, gate)
        with run_options(run, rerun, history=not no_history) as options:
            target = passed.target if passed.target is not None else revision
            done = await runner.up(site, target, progress=teller(run), options=replace(options, guard=guard))
    return replace(done, plan_seconds=passed.plan_seconds)


def _gate_request(
    run: Invocation,
    revision: str,
    file: Path | None,
    accept: list[str] | None,
    scratch_url: str | None,
    *,
    make_plan: bool,
) -> GateRequest:
    from functools import partial

    from dbctl.cli.migrate_plan import plan_request, scratch_server
    from dbctl.cli.output.views import migrate_events as view
    from dbctl.migrate.runner.gate import GateRequest

    ours = run.loaded.settings.migrate
    wanted = partial(plan_request, run, revision, (False, None, True, False), scratch_server(scratch_url))
    return GateRequest(
        environment=run.loaded.environment,
        plan=wanted if make_plan else None,
        file=file,
        accepted=frozenset(accept or ()),
        max_replica_lag_seconds=ours.max_replica_lag,
        wait_seconds=ours.retry_budget,
        tell=run.say,
        hear=lambda event: run.say(view.line(event)),
    )


async def _secure(run: Invocation, require_backup: str | None, *, backup: bool) -> None:
    """Take a backup, and see that there is a recent one."""
    if backup:
        from dbctl.backup.create import create_backup
        from dbctl.cli.output.views import backup as views
        from dbctl.cli.storage import open_repositories

        settings = run.loaded.settings.backup
        with run.progress("Dumping", unit="bytes") as progress:
            target = await run.target(direct=True)
            folders = open_repositories(run)
            made = await create_backup(target, folders, settings, progress=progress, say=run.say)
        run.say(views.sentence(made.backup))
        for place, error in made.failures.items():
            run.say(f"warning: the backup is not in {place}: {error}")
    if require_backup is not None:
        await _check_backup(run, require_backup)


async def _check_backup(run: Invocation, age: str) -> None:
    from datetime import UTC, datetime

    from dbctl.backup.choose import good_backups
    from dbctl.cli.storage import open_repositories
    from dbctl.errors import Refused

    allowed = _age(age)
    target = await run.target(direct=True)
    good = [one for folder in open_repositories(run) for one in good_backups(folder, target)]
    good.sort(key=lambda one: one.created_at, reverse=True)
    if not good or datetime.now(UTC) - good[0].created_at > allowed:
        newest = (
            f"the newest good one is of {good[0].created_at:%Y-%m-%d %H:%M %Z}" if good else "there is none"
        )
        raise Refused(
            f"no good backup of database {target.conninfo.database} of {target.environment} is younger than {age}",
            why=newest,
            hint="`dbctl backup` makes one, as does --backup here",
        )


def _age(text: str) -> timedelta:
    from dbctl.errors import UsageError
    from dbctl.settings.types import parse_duration

    try:
        return timedelta(seconds=float(parse_duration(text)))
    except ValueError as error:
        raise UsageError(
            f"--require-backup {text!r} is no time", why=str(error), hint="such as 24h"
        ) from None
