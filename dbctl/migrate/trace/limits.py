"""Ends project code that runs too long, or that is no longer wanted, from outside of its thread."""

from __future__ import annotations

import asyncio
import ctypes
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import SupportsIndex

from sqlalchemy.exc import SQLAlchemyError

from dbctl.errors import Failed
from dbctl.migrate.watch import Stopped
from dbctl.postgres.tasks import surely

_LOOK_SECONDS = 0.2
# From one blow to the next: what the last one hit may be cleaning up.
_PATIENCE_SECONDS = (0.5, 2.0)
_HOPELESS_SECONDS = 20.0
_SLICE_SECONDS = 0.1
# In so many, an exception from outside has arrived.
_INSTRUCTIONS = 1000


class Limit:
    """The time that each revision has, and the ways to end one: cancel its statement, raise Stopped in its Python.

    ``cancel`` cancels the statements of the project's sessions; it is called from another thread.
    """

    def __init__(self, seconds: float, cancel: Callable[[], None]) -> None:
        self.seconds = seconds
        self.stopping = False
        self._cancel = cancel
        self._lock = threading.Lock()
        self._worker: int | None = None
        self._running: int | None = None
        self._deadline = 0.0
        self._struck_at: list[float] = []
        self._thrown = False

    @contextmanager
    def work(self) -> Iterator[None]:
        """Around all that runs in this thread: what `stopping` ends."""
        self._worker = threading.get_ident()
        try:
            yield
        finally:
            self._worker = None

    @contextmanager
    def revision(self) -> Iterator[None]:
        """Around one revision, in whatever thread the project runs it."""
        with self._lock:
            self._running = threading.get_ident()
            self._deadline = time.monotonic() + self.seconds
            self._struck_at.clear()
        try:
            yield
        finally:
            self.leave()

    def leave(self) -> None:
        """The revision is over: nothing that is still on its way to it arrives."""
        with self._lock:
            self._running = None
            thrown, self._thrown = self._thrown, False
        if thrown:
            # Taking it back would leave Python's flag for it up, and slow down all that follows.
            with suppress(Stopped):
                for _ in range(_INSTRUCTIONS):
                    pass

    @property
    def struck(self) -> bool:
        """Whether the revision in hand, or the last one, was ended by us."""
        return bool(self._struck_at)

    @property
    def hopeless(self) -> bool:
        """Whether it goes on in spite of all: it waits outside of SQL and of Python."""
        struck = self._struck_at
        return (
            bool(struck) and self._target() is not None and time.monotonic() - struck[0] > _HOPELESS_SECONDS
        )

    def enforce(self) -> None:
        """Strike where it is time to: the statement first, then Python itself."""
        now = time.monotonic()
        with self._lock:
            thread = self._target()
            blows = len(self._struck_at)
            if thread is None or (blows and now - self._struck_at[-1] < _PATIENCE_SECONDS[blows > 1]):
                return
            self._struck_at.append(now)
        with suppress(SQLAlchemyError):
            self._cancel()
        if blows or self.stopping:
            self._strike(thread)

    def _target(self) -> int | None:
        if self.stopping:
            return self._running or self._worker
        return self._running if time.monotonic() > self._deadline else None

    def _strike(self, thread: int) -> None:
        with self._lock:
            if thread in (self._running, self._worker if self.stopping else None):
                self._thrown = True
                _raise_in(thread, Stopped)


async def run_limited(work: Callable[[], None], limit: Limit) -> None:
    """Run blocking ``work`` in a thread of its own under ``limit``; a cancellation ends it, and is raised then.

    Raises what ``work`` raises, and Failed where it can't be ended: its thread is left behind.
    """
    task = _started(work, limit)
    try:
        await _until(task, limit)
    except BaseException:
        limit.stopping = True
        await surely(_until(task, limit))
        raise
    task.result()


async def _until(task: asyncio.Future[None], limit: Limit) -> None:
    while not task.done():
        await asyncio.wait([task], timeout=_LOOK_SECONDS)
        await asyncio.to_thread(limit.enforce)
        if limit.hopeless and not task.done():
            raise Failed(
                "a revision can't be stopped",
                why=f"it ran over its {limit.seconds:g} s and waits for something outside of SQL and of Python",
                hint="--debug shows where; does it start a program, or wait for one?",
            )
    # Looked at, so that asyncio does not complain of an error that nobody fetched.
    task.exception()


def _started(work: Callable[[], None], limit: Limit) -> asyncio.Future[None]:
    """``work`` in a daemon's thread: one that hangs for ever must not keep the process."""
    loop = asyncio.get_running_loop()
    done: asyncio.Future[None] = loop.create_future()

    def settle(error: BaseException | None) -> None:
        if done.done():
            return
        if error is None:
            done.set_result(None)
        else:
            done.set_exception(error)

    def run() -> None:
        error = None
        try:
            with limit.work(), _sleeping_lightly():
                work()
        except BaseException as caught:  # noqa: BLE001 - it is raised where the result is asked for
            error = caught
        with suppress(RuntimeError):
            # The loop is closed where we were given up.
            loop.call_soon_threadsafe(settle, error)

    threading.Thread(target=run, name="dbctl scratch run", daemon=True).start()
    return done


@contextmanager
def _sleeping_lightly() -> Iterator[None]:
    """Let ``time.sleep`` wake up now and then: an exception raised from outside arrives between two instructions."""
    deeply = time.sleep

    def sleep(seconds: float | SupportsIndex, /) -> None:
        seconds = float(seconds)
        end = time.monotonic() + seconds
        deeply(min(seconds, _SLICE_SECONDS))
        while (left := end - time.monotonic()) > 0:
            deeply(min(left, _SLICE_SECONDS))

    time.sleep = sleep
    try:
        yield
    finally:
        time.sleep = deeply


def _raise_in(thread: int, error: type[BaseException]) -> None:
    """Python's own way to raise in another thread, between two of its instructions."""
    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread), ctypes.py_object(error))
