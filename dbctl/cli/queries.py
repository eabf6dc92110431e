"""``dbctl queries``: which statements cost most, and which run too long."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from dbctl.cli.command import Group, Invocation

group = Group("queries", "Which statements cost most, and which run too long.")
app = group.app


class Order(StrEnum):
    """What the statements are ordered by, by the names that the room has for it."""

    TOTAL = "total"
    MEAN = "mean"
    IO = "io"
    TEMP = "temp"
    CALLS = "calls"


@group.command("top", emits="list")
async def top(
    run: Invocation,
    *,
    sample: Annotated[str, typer.Option(metavar="TIME", help="How long to watch.")] = "10s",
    since_reset: Annotated[
        bool, typer.Option("--since-reset", help="Don't watch: all since counting began.")
    ] = False,
    by: Annotated[Order, typer.Option("--by", help="What counts as cost.")] = Order.TOTAL,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="How many statements.")] = 10,
) -> None:
    """Show which statements cost most, watched for a while: their share, calls a second, mean time, reads.

    Needs the extension pg_stat_statements, and says how to have it.

    Example: dbctl queries top --sample 30s --by io
    """
    from dbctl.cli.activity import show_top
    from dbctl.cli.storage import seconds_of

    seconds = None if since_reset else seconds_of("--sample", sample, 0)
    await show_top(run, by.value, limit, seconds)


@group.command("slow", emits="list")
async def slow(
    run: Invocation,
    *,
    over: Annotated[str, typer.Option(metavar="TIME", help="Only those that have run so long.")] = "1s",
    fail: Annotated[bool, typer.Option("--fail", help="Exit code 1 if there is one.")] = False,
) -> None:
    """Show the statements that run too long now, the longest first, without their values.

    What the application logs of its own slow statements: see database.slow_query_seconds.

    Example: dbctl queries slow --over 30s --fail
    """
    from dbctl.cli.activity import show_running
    from dbctl.cli.storage import seconds_of

    await show_running(run, seconds_of("--over", over, 0), fail=fail)
