"""The steps of ``dbctl health``: a report once, or again and again."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from dbctl.cli.command import Invocation
from dbctl.cli.facts import drift_facts, outside
from dbctl.cli.loop import until_interrupted
from dbctl.cli.storage import seconds_of
from dbctl.health.model import Status
from dbctl.health.run import Request, check_health, open_for_health, wants

if TYPE_CHECKING:
    from pathlib import Path

    from dbctl.cli.output.blocks import Blocks
    from dbctl.health.registry import Profile


def requested(
    names: list[str] | None,
    profile: Profile,
    skip: list[str] | None,
    times: tuple[str | None, str | None],
    files: tuple[Path | None, Path | None],
    *,
    all_databases: bool,
) -> Request:
    """What the command line asks for: ``times`` of --sample and --budget, ``files`` of --state and --baseline.

    Raises UsageError.
    """
    (sample, budget), (state, baseline) = times, files
    return Request(
        names=tuple(names or ()),
        profile=profile,
        skip=tuple(skip or ()),
        sample_seconds=seconds_of("--sample", sample, 0),
        state=state,
        baseline=baseline,
        budget_seconds=None if budget is None else seconds_of("--budget", budget, 0),
        all_databases=all_databases,
    )


async def show_health(run: Invocation, request: Request, fail_on: str) -> None:
    """One report, and its exit code."""
    from dbctl.cli.output.views import health as view

    target = await run.target()
    # Past a pooler, and often as another role.
    reserve = await run.target(direct=True) if run.loaded.settings.database.direct_url else None
    facts = outside(run, target)
    if wants(request, run.loaded.settings.health, "drift"):
        facts = replace(facts, drift=await drift_facts(run))
    report = await check_health(target, facts, request, reserve=reserve)
    run.emit(report, view.full if request.names or run.common.verbose else view.report)
    for note in report.notes:
        run.say(f"note: {note}")
    if run.common.format == "nagios":
        from dbctl.cli.output.monitors.health import nagios_code

        run.exit_code = nagios_code(report)
    else:
        well = report.status.severity < Status(fail_on.upper()).severity
        run.verdict(well, reached=report.reached, found=view.line(report))


async def watch_health(run: Invocation, request: Request, interval: str) -> None:
    """Report after report; rates are those since the one before."""
    from dbctl.cli.output.live import watch
    from dbctl.cli.output.views import health as view
    from dbctl.health.samples import Samples

    target, samples = await run.target(), Samples()
    facts = outside(run, target)

    seconds = seconds_of("--interval", interval, 0)
    async with open_for_health(target) as kept:

        async def look() -> Blocks:
            report = await check_health(target, facts, request, samples, kept=kept)
            samples.turn()
            return [*view.report(report)]

        with until_interrupted():
            await watch(look, title=f"dbctl health   {target}", interval_seconds=seconds)


async def serve_health(run: Invocation, address: str) -> None:
    """Answer probes and monitors over HTTP. Raises UsageError for an address that can't be had."""
    from dbctl.cli.health_serve import listen, serve
    from dbctl.database.fastapi import share

    with listen(address) as listener:
        target = share(await run.target()).target
        run.say(f"{target}: answering on http://{address} (/health/db, /health/ready, /metrics)")
        with until_interrupted():
            await serve(listener)
