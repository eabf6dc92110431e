"""Runs a project's blocking code in a thread, and ends its statements when the command is cancelled."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress

from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection

from dbctl.migrate.watch import Watch
from dbctl.postgres.tasks import surely

_CANCEL_EVERY_SECONDS = 0.3
_SAID_AFTER_SECONDS = 1.0
_KEEP_ALIVE_SECONDS = 20
_LOOK_SECONDS = 0.5


async def run_watched(
    work: Callable[[], None],
    watch: Watch,
    guard: AsyncConnection,
    look: Callable[[], Awaitable[None]] | None = None,
    linger: Callable[[], None] | None = None,
) -> None:
    """Run ``work`` while ``watch`` listens and ``guard`` holds our locks; ``look`` is called now and then.

    ``linger`` is called where we were told to stop and ``work`` does not end.

    A cancellation, or the loss of ``guard``, cancels the statements of the watched connections
    (pg_cancel_backend), waits until ``work`` has rolled back and ended, and goes on as what it was.
    """
    with watch.listening():
        task = asyncio.ensure_future(asyncio.to_thread(work))
        try:
            await _accompany(task, guard, look)
        except BaseException:
            watch.stopped = True
            # However often we are cancelled: unwatched and without the lock, the thread would go on.
            try:
                await surely(_end(task, watch, guard, linger))
            finally:
                # Looked at, so that asyncio does not complain of an error that nobody fetched.
                task.exception()
            raise
    task.result()


async def _accompany(
    task: asyncio.Future[None], guard: AsyncConnection, look: Callable[[], Awaitable[None]] | None
) -> None:
    asked_at = time.monotonic()
    while not task.done():
        await asyncio.wait([task], timeout=_LOOK_SECONDS if look else _KEEP_ALIVE_SECONDS)
        if task.done():
            return
        if look:
            await look()
        # Routers and idle_session_timeout end sessions that say nothing, and with ours the lock.
        if time.monotonic() - asked_at >= _KEEP_ALIVE_SECONDS:
            await guard.execute(text("SELECT 1"))
            asked_at = time.monotonic()


async def _end(
    task: asyncio.Future[None], watch: Watch, guard: AsyncConnection, linger: Callable[[], None] | None
) -> None:
    said_at = time.monotonic() + _SAID_AFTER_SECONDS
    while not task.done():
        if linger and time.monotonic() >= said_at:
            linger()
            linger = None
        await _cancel_statements(guard, watch.backends)
        await asyncio.wait([task], timeout=_CANCEL_EVERY_SECONDS)


async def _cancel_statements(guard: AsyncConnection, backends: set[int]) -> None:
    for pid in tuple(backends):
        # Another role's backend, or a server that is gone: the next statement is refused all the same.
        with suppress(SQLAlchemyError):
            await guard.execute(text("SELECT pg_cancel_backend(:pid)"), {"pid": pid})
