"""``dbctl pool``: who holds the connections, whether there are enough, and what stands in between."""

from __future__ import annotations

from typing import Annotated

import typer

from dbctl.cli.command import Group, Invocation

group = Group(
    "pool",
    "Who holds the connections, and do they suffice. Alone, it is `dbctl pool status`.",
    default="status",
)
app = group.app


@group.command("status", emits="report")
async def status(
    run: Invocation,
    *,
    sample: Annotated[
        float, typer.Option(min=0.1, max=600, help="Seconds between the two looks that rates come from.")
    ] = 2.0,
) -> None:
    """Tell a leak from demand and from a full server, and whether all processes' pools fit into it.

    Exit code 1 if connections run short, if that can't be seen, or if full pools would not fit.

    Example: dbctl pool status --env production --sample 5
    """
    from dbctl.cli.output.views import pool as view
    from dbctl.pool.report import read_pool

    report = await read_pool(await run.target(), sample)
    run.emit(report, view.report)
    run.verdict(report.ok)


@group.command("bench", emits="report")
async def bench(
    run: Invocation,
    *,
    tasks: Annotated[
        int | None,
        typer.Option(min=1, max=1000, help="The most tasks at a time; four times the pool if not given."),
    ] = None,
    seconds: Annotated[float, typer.Option(min=0.1, max=60, help="How long each level runs.")] = 1.0,
) -> None:
    """Measure the pool at 1, 2, 4 … tasks: checkouts a second, and how long each waits. Writes nothing.

    Refused in a protected environment, exit code 3: it is a load.

    Example: dbctl pool bench --env staging --tasks 64 --format json
    """
    from dbctl.cli.output.views import pool as view
    from dbctl.pool.bench import bounds_of, run_benchmark

    target = await run.target()
    bounds = bounds_of(target, tasks, seconds)
    run.say(f"{target}: {view.bounds(bounds)}")
    with run.progress("Measuring", total=len(bounds.levels)) as progress:
        measured = await run_benchmark(target, bounds, progress)
    run.emit(measured, view.benchmark)


@group.command("pgbouncer", emits="report")
async def pgbouncer(
    run: Invocation,
    *,
    admin_url: Annotated[
        str | None,
        typer.Option(metavar="URL", help="PgBouncer's address; a password is better kept in pool.admin_url."),
    ] = None,
) -> None:
    """Ask PgBouncer's console who waits, who keeps a server connection, and whether its settings fit the engine's.

    Exit code 1 if it finds something, or is not shown everything. Keepers are looked up by database.direct_url.

    Example: dbctl pool pgbouncer --env production
    """
    from dbctl.cli.output.views import pooler as view
    from dbctl.pool.pgbouncer import read_pooler

    report = await read_pooler(await run.target(), await run.target(direct=True), admin_url)
    run.emit(report, view.report)
    run.verdict(report.ok)
