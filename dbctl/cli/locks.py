"""``dbctl locks``: who waits for whom, and how to end it."""

from __future__ import annotations

from typing import Annotated

import typer

from dbctl.cli.command import Group, Invocation

group = Group(
    "locks", "Who waits for whom, and how to end it. Alone, it is `dbctl locks show`.", default="show"
)
app = group.app
Over = Annotated[str, typer.Option("--over", metavar="TIME", help="Only where somebody waits so long (10s).")]


@group.command("show", emits="list")
async def show(
    run: Invocation,
    *,
    over: Over = "0s",
    watch: Annotated[bool, typer.Option("--watch", help="Look again and again, until Ctrl-C.")] = False,
    interval: Annotated[str, typer.Option(metavar="TIME", help="How often --watch looks.")] = "2s",
    fail: Annotated[bool, typer.Option("--fail", help="Exit code 1 if somebody waits.")] = False,
) -> None:
    """Show who waits for whom, on the whole server: whose fault it is first, then those behind.

    Looks without waiting for anybody. Values in statements are not shown.

    Example: dbctl locks --over 10s --fail
    """
    from dbctl.cli.activity import show_locks, watch_locks
    from dbctl.cli.storage import seconds_of

    seconds = seconds_of("--over", over, 0)
    if watch:
        await watch_locks(run, seconds, seconds_of("--interval", interval, 2))
    else:
        await show_locks(run, seconds, fail=fail)


@group.command("kill", emits="report", writes=True)
async def kill(
    run: Invocation,
    pid: Annotated[int, typer.Argument(help="The session, as `dbctl locks` names it.")],
    *,
    cancel_only: Annotated[
        bool, typer.Option("--cancel-only", help="Cancel its statement, never end the session.")
    ] = False,
    grace: Annotated[
        str, typer.Option(metavar="TIME", help="How long a cancelled statement may take to let go.")
    ] = "5s",
) -> None:
    """Cancel the statement of a session; if that frees nobody, end the session. Asks first.

    Only the very session that it asked about, in the same transaction, is ended. One that is idle in transaction has
    nothing to cancel and is ended at once; its transaction is rolled back.

    Example: dbctl locks kill 4711 --yes
    """
    from dbctl.cli.activity import kill_session
    from dbctl.cli.storage import seconds_of

    await kill_session(run, pid, may_terminate=not cancel_only, grace_seconds=seconds_of("--grace", grace, 5))
