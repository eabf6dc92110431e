"""The steps of ``dbctl locks``, ``queries`` and ``indexes``: what is looked at, what is asked, what is shown."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from dbctl.activity.reading import LOCK_MILLISECONDS, STATEMENT_SECONDS, connected
from dbctl.cli.command import Invocation
from dbctl.cli.loop import until_interrupted
from dbctl.database.conninfo import elsewhere
from dbctl.errors import Busy

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection

    from dbctl.activity.indexes.elsewhere import Elsewhere
    from dbctl.cli.output.blocks import Blocks
    from dbctl.database import Database

# A server that hangs answers nothing at all, its own limits neither: then the client's.
_LIMITS: dict[str, Any] = {
    "lock_timeout": LOCK_MILLISECONDS / 1000,
    "statement_timeout": STATEMENT_SECONDS,
    "command_timeout": STATEMENT_SECONDS * 2,
}


@asynccontextmanager
async def looking(run: Invocation) -> AsyncIterator[AsyncConnection]:
    """A connection that waits for nobody; past a pooler, where there is one: it may be what is full."""
    async with opened(run) as database, connected(database) as connection:
        yield connection


@asynccontextmanager
async def looking_from_anywhere(run: Invocation) -> AsyncIterator[AsyncConnection]:
    """The same; from another database of the server, where a locked catalog lets nobody into this one."""
    async with AsyncExitStack() as stack:
        try:
            connection = await stack.enter_async_context(looking(run))
        except Busy:
            target = await run.target(direct=True)
            name = elsewhere(target.conninfo.database)
            run.say(f"note: a lock lets nobody into {target.conninfo.database}; seen from {name}")
            there = replace(target, conninfo=target.conninfo.with_database(name))
            database = await stack.enter_async_context(there.open(**_LIMITS))
            connection = await stack.enter_async_context(connected(database))
        yield connection


def opened(run: Invocation) -> AbstractAsyncContextManager[Database]:
    """The database, for who looks at it again and again."""
    return run.database(direct=True, **_LIMITS)


async def show_locks(run: Invocation, over_seconds: float, *, fail: bool) -> None:
    """One look."""
    from dbctl.activity.locks.look import look_at_locks
    from dbctl.cli.output.views import locks as view

    async with looking_from_anywhere(run) as connection:
        tree = await look_at_locks(connection, over_seconds=over_seconds)
    run.emit(tree.sessions, view.tree)
    for note in tree.notes:
        run.say(f"note: {note}")
    run.verdict(not fail or not tree.sessions)


async def watch_locks(run: Invocation, over_seconds: float, interval_seconds: float) -> None:
    """Look after look, on one connection as long as it stands."""
    from dbctl.activity.locks.look import look_at_locks
    from dbctl.cli.output.blocks import Lines
    from dbctl.cli.output.live import watch
    from dbctl.cli.output.views import locks as view

    async with opened(run) as database:

        async def look() -> Blocks:
            async with connected(database) as connection:
                tree = await look_at_locks(connection, over_seconds=over_seconds)
            return [*view.tree(tree.sessions), Lines([f"note: {note}" for note in tree.notes])]

        title = f"dbctl locks   {await run.target(direct=True)}"
        with until_interrupted():
            await watch(look, title=title, interval_seconds=interval_seconds)


async def kill_session(run: Invocation, pid: int, *, may_terminate: bool, grace_seconds: float) -> None:
    """Say what it is, ask, and end just that."""
    from dbctl.activity.locks.kill import end_session, find_victim
    from dbctl.cli.output.views import locks as view

    async with looking_from_anywhere(run) as connection:
        victim = await find_victim(connection, pid)
        run.say(view.describe(victim))
        ways = "cancels" if not may_terminate else ("cancels or ends" if victim.is_running else "ends")
        await run.announce_write(f"{ways} the session with pid {pid}")
        run.ask(f"{ways.capitalize()} pid {pid}?")
        done = await end_session(connection, victim, may_terminate=may_terminate, grace_seconds=grace_seconds)
    run.emit(done, view.killed)


async def show_indexes(
    run: Invocation, kinds: Sequence[str], unused_for_seconds: float, *, as_alembic: bool, fail: bool
) -> None:
    """One look at all indexes, and what mends them."""
    from dbctl.activity.indexes.find import find_indexes
    from dbctl.activity.indexes.model import Kind
    from dbctl.cli.output.views import indexes as view

    chosen = list(Kind) if "all" in kinds else [Kind(one) for one in kinds]
    elsewhere = await _ask_replicas(run) if Kind.UNUSED in chosen else []
    async with looking(run) as connection:
        report = await find_indexes(
            connection, chosen, unused_for_seconds=unused_for_seconds, elsewhere=elsewhere
        )
    run.emit(report.findings, view.as_alembic if as_alembic else view.as_sql)
    for note in report.notes:
        run.say(f"note: {note}")
    run.verdict(not fail or not report.findings)


async def _ask_replicas(run: Invocation) -> list[Elsewhere]:
    """What each standby of the settings has counted; one that can't be asked says why."""
    from dbctl.activity.indexes.elsewhere import Elsewhere, read_elsewhere
    from dbctl.errors import DbctlError

    found, primary = [], await run.target(direct=True)
    for name in run.loaded.settings.database.replicas:
        try:
            replica = primary.at(name)
            async with replica.open(**_LIMITS) as database, connected(database) as connection:
                found.append(await read_elsewhere(connection, name))
        except DbctlError as error:
            found.append(Elsewhere(name, why=str(error)))
    return found


async def show_top(run: Invocation, by: str, limit: int, sample_seconds: float | None) -> None:
    """Watch for a while, then the most costly statements."""
    from dbctl.activity.queries.model import By
    from dbctl.activity.queries.top import find_top
    from dbctl.cli.output.views import queries as view

    async with looking(run) as connection:
        if sample_seconds is not None:
            run.say(f"watching for {sample_seconds:g} s")
        report = await find_top(connection, by=By(by), limit=limit, sample_seconds=sample_seconds)
    run.emit(report.queries, view.top)
    run.say(view.summary(report))
    for note in report.notes:
        run.say(f"note: {note}")


async def show_running(run: Invocation, over_seconds: float, *, fail: bool) -> None:
    """One look at what runs."""
    from dbctl.activity.queries.slow import find_running
    from dbctl.cli.output.views import queries as view

    async with looking(run) as connection:
        report = await find_running(connection, over_seconds=over_seconds)
    run.emit(report.queries, view.running)
    for note in report.notes:
        run.say(f"note: {note}")
    run.verdict(not fail or not report.queries)
