"""The steps of ``dbctl health``: a report once, or again and again."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dbctl.cli.command import Invocation
from dbctl.cli.facts import outside
from dbctl.health.model import Status
from dbctl.health.run import Request, check_health

if TYPE_CHECKING:
    from dbctl.cli.output.blocks import Blocks


async def show_health(run: Invocation, request: Request, fail_on: str) -> None:
    """One report, and its exit code."""
    from dbctl.cli.output.views import health as view

    target = await run.target()
    report = await check_health(target, outside(run, target), request)
    run.emit(report, view.full if request.names or run.common.verbose else view.report)
    for note in report.notes:
        run.say(f"note: {note}")
    if run.common.format == "nagios":
        from dbctl.cli.output.monitors.health import nagios_code

        run.exit_code = nagios_code(report)
    else:
        run.verdict(report.status.severity < Status(fail_on.upper()).severity, reached=report.reached)


async def watch_health(run: Invocation, request: Request, interval_seconds: float) -> None:
    """Report after report; rates are those since the one before."""
    from dbctl.cli.output.live import watch
    from dbctl.cli.output.views import health as view
    from dbctl.health.samples import Samples

    target, samples = await run.target(), Samples()
    facts = outside(run, target)

    async def look() -> Blocks:
        report = await check_health(target, facts, request, samples)
        samples.turn()
        return [*view.report(report)]

    await watch(look, title=f"dbctl health   {target}", interval_seconds=interval_seconds)
