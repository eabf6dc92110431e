"""``dbctl health``: what is wrong with the database, and the next step."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from dbctl.cli.command import Invocation, leaf


class FailOn(StrEnum):
    """The answer that makes the exit code 1."""

    WARNING = "warning"
    CRITICAL = "critical"


async def health(
    run: Invocation,
    checks: Annotated[
        list[str] | None, typer.Argument(help="Names of checks; all of them if none is given.")
    ] = None,
    *,
    fail_on: Annotated[
        FailOn, typer.Option("--fail-on", help="The answer that makes the exit code 1.")
    ] = FailOn.CRITICAL,
) -> None:
    """Check the database: reachable, encrypted, writable, migrated, connections, pool.

    Exit code 1 if a check fails, 4 if the database can't be reached.

    Example: dbctl health --env production --format json
    """
    from dbctl.cli.facts import outside
    from dbctl.cli.output.views import health as view
    from dbctl.health.model import Status
    from dbctl.health.run import Request, check_health

    target = await run.target()
    report = await check_health(target, outside(run, target), Request(tuple(checks or ())))
    run.emit(report, view.report)
    run.verdict(report.status.severity < Status(fail_on.upper()).severity, reached=report.reached)


app = leaf(health, emits="report")
