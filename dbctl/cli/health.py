"""``dbctl health``: what is wrong with the database, since when, whose fault it is, and the next step."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from dbctl.cli.command import Group, Invocation

group = Group(
    "health",
    "What is wrong with the database, and the next step. Alone, or with names of checks, it is `dbctl health run`.",
    default="run",
)
app = group.app


class FailOn(StrEnum):
    """The answer that makes the exit code 1."""

    WARNING = "warning"
    CRITICAL = "critical"


class Profile(StrEnum):
    """Which checks are run where none is named."""

    PROBE = "probe"
    ONCALL = "oncall"
    NIGHTLY = "nightly"
    DEPLOY = "deploy"


Checks = Annotated[
    list[str] | None, typer.Argument(help="Checks or topics: `dbctl health checks` lists them.")
]
Chosen = Annotated[
    Profile, typer.Option(help="probe asks one question, nightly all; deploy what a migration must know.")
]
Skip = Annotated[
    list[str] | None, typer.Option(metavar="CHECK", help="Not this one; may be repeated. [health.skip]")
]
Sample = Annotated[
    str | None, typer.Option(metavar="TIME", help="Look twice, so long apart: for rates (5s).")
]
State = Annotated[
    Path | None, typer.Option(metavar="FILE", help="Keep counters there: rates since the last run.")
]
Baseline = Annotated[
    Path | None, typer.Option(metavar="FILE", help="Say only what this earlier json report did not.")
]
Budget = Annotated[
    str | None, typer.Option(metavar="TIME", help="How long all may take. [health.budget, 5s]")
]


@group.command("run", emits="health", unattended=True)
async def run_checks(
    run: Invocation,
    checks: Checks = None,
    *,
    profile: Chosen = Profile.ONCALL,
    skip: Skip = None,
    fail_on: Annotated[FailOn, typer.Option(help="The answer that makes the exit code 1.")] = FailOn.CRITICAL,
    sample: Sample = None,
    state: State = None,
    baseline: Baseline = None,
    budget: Budget = None,
    all_databases: Annotated[
        bool, typer.Option("--all-databases", help="Every database of the server, too.")
    ] = False,
    watch: Annotated[bool, typer.Option("--watch", help="Look again and again, until Ctrl-C.")] = False,
    interval: Annotated[str, typer.Option(metavar="TIME", help="How often --watch looks.")] = "2s",
    serve: Annotated[
        str | None,
        typer.Option(
            metavar="HOST:PORT", help="Answer /health/db, /health/ready and /metrics, until Ctrl-C."
        ),
    ] = None,
) -> None:
    """Check the database, the worst first, each finding with its next step. Waits for nobody, changes nothing.

    Exit code 1 if a check fails, 4 if the database can't be reached; with --format nagios 0, 1, 2, 3 as Nagios has it.

    Example: dbctl health --env production --sample 5s --fail-on warning
    """
    from dbctl.cli.health_run import requested, serve_health, show_health, watch_health

    if serve is not None:
        await serve_health(run, serve)
        return
    times, files = (sample, budget), (state, baseline)
    request = requested(checks, profile.value, skip, times, files, all_databases=all_databases)
    if watch:
        await watch_health(run, request, interval)
    else:
        await show_health(run, request, fail_on.value)


@group.command("checks", emits="list")
def list_checks(run: Invocation) -> None:
    """List all checks: what each one says, when it is run, what it reads and needs.

    Example: dbctl health checks --format json
    """
    from dbctl.cli.output.views import health as view
    from dbctl.health.registry import described

    run.emit(described(), view.checks)


@group.command("explain", emits="report")
def explain(run: Invocation, check: Annotated[str, typer.Argument(help="The check's name.")]) -> None:
    """Say what a check measures, why it matters, what it reads and which role it needs.

    Example: dbctl health explain xmin_horizon
    """
    from dbctl.cli.output.views import health as view
    from dbctl.health.registry import described

    run.emit(described((check,))[0], view.explained)


@group.command("grants", emits="report")
def grants(
    run: Invocation,
    role: Annotated[
        str, typer.Argument(help="The monitoring role; it is made by this SQL.")
    ] = "dbctl_monitor",
) -> None:
    """Print the SQL for a role that may look at everything, and change nothing.

    Example: dbctl health grants watcher | psql
    """
    from dbctl.cli.output.views import health as view
    from dbctl.health.grants import monitoring_role

    run.emit(monitoring_role(role), view.grants)
