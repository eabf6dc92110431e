"""Work that must not be cut short, and threads that must not wait for each other long."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

T = TypeVar("T")

# Python's own are five times as long.
_TURN_SECONDS = 0.001


@contextmanager
def brief_turns() -> Iterator[None]:
    """Let Python's threads take turns sooner: one that has waited for a server or a process goes on at once.

    PostgreSQL answers within a fraction of a millisecond; a thread that computes meanwhile would keep it waiting.
    """
    before = sys.getswitchinterval()
    sys.setswitchinterval(_TURN_SECONDS)
    try:
        yield
    finally:
        sys.setswitchinterval(before)


async def surely(work: Coroutine[Any, Any, T]) -> T:
    """Await to the end, however often we are cancelled meanwhile; the cancellation is raised after it."""
    task = asyncio.create_task(work)
    cancelled: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.shield(task)
        except asyncio.CancelledError as error:
            cancelled = error
    result = task.result()
    if cancelled:
        raise cancelled
    return result
