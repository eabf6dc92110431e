"""Work beside work: what fails first ends both."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from typing import Any, TypeVar

from dbctl.errors import TimedOut

T = TypeVar("T")


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


@asynccontextmanager
async def time_limit(seconds: float, what: str) -> AsyncIterator[None]:
    """Cancel the block after so many seconds (0 is never) and raise TimedOut."""
    try:
        async with asyncio.timeout(seconds or None):
            yield
    except TimeoutError:
        raise TimedOut(f"{what} took more than {seconds:.0f} s", hint="raise backup.timeout") from None
