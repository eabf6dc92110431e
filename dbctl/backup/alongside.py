"""Work beside work: what fails first ends both."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable
from contextlib import asynccontextmanager
from contextvars import ContextVar
from typing import Any, TypeVar

from dbctl.errors import ConnectionLost, TimedOut

T = TypeVar("T")
_GRACE_SECONDS = 5.0
_breakers: ContextVar[list[Callable[[], None]] | None] = ContextVar("breakers", default=None)


@asynccontextmanager
async def alongside(companion: Coroutine[Any, Any, T]) -> AsyncIterator[asyncio.Task[T]]:
    """Run ``companion`` as a task beside the block; the block's end cancels it.

    Whichever fails first ends the other, and is raised as itself, in no group.
    """
    try:
        async with asyncio.TaskGroup() as group:
            task = group.create_task(companion)
            yield task
            task.cancel()
    except BaseExceptionGroup as several:
        first = several.exceptions[0]
        raise first from first.__cause__


async def together(*work: Coroutine[Any, Any, Any]) -> None:
    """Await all at once; the first that fails ends the others and is raised as itself, in no group."""
    try:
        async with asyncio.TaskGroup() as group:
            for one in work:
                group.create_task(one)
    except BaseExceptionGroup as several:
        first = several.exceptions[0]
        raise first from first.__cause__


@asynccontextmanager
async def time_limit(seconds: float, what: str) -> AsyncIterator[None]:
    """Cancel the block after so many seconds (0 is never) and raise TimedOut.

    A server that hangs does not answer a rollback either: a while later what was `breakable` is broken.
    """
    breakers: list[Callable[[], None]] = []
    token = _breakers.set(breakers)
    loop = asyncio.get_running_loop()
    fuse = loop.call_later(seconds + _GRACE_SECONDS, _break_all, breakers) if seconds else None
    try:
        async with asyncio.timeout(seconds or None):
            yield
    except (TimeoutError, ConnectionLost) as error:
        if isinstance(error, ConnectionLost) and not (fuse and loop.time() >= fuse.when()):
            raise
        raise TimedOut(f"{what} took more than {seconds:.0f} s", hint="raise backup.timeout") from None
    finally:
        _breakers.reset(token)
        if fuse:
            fuse.cancel()


def breakable(breaker: Callable[[], None]) -> None:
    """Have it called a while after the limit in which we run, if there is one."""
    if (breakers := _breakers.get()) is not None:
        breakers.append(breaker)


def _break_all(breakers: Iterable[Callable[[], None]]) -> None:
    for breaker in breakers:
        breaker()
