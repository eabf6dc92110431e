"""Runs a command's coroutine, and turns Ctrl-C and SIGTERM into one cancellation."""

from __future__ import annotations

import os
import select
import signal
import sys
from collections.abc import Callable, Coroutine, Iterator
from contextlib import closing, contextmanager
from types import FrameType
from typing import Any, TextIO

from dbctl.cli.output.streams import say
from dbctl.errors import Interrupted

SIGNALS = (signal.SIGINT, signal.SIGTERM)
# The loop reads its pipe in one, and calls what it read of in the next.
_ROUNDS = 3


def heeded_signals() -> list[signal.Signals]:
    """Those of SIGNALS that our caller does not have ignored, as a shell's ``&`` does with Ctrl-C."""
    return [number for number in SIGNALS if signal.getsignal(number) is not signal.SIG_IGN]


# The signals whose Interrupted was raised, wherever Python was.
_raised: list[int] = []


def raise_interrupted(number: int, _frame: FrameType | None) -> None:
    """A signal handler for code outside of a loop."""
    _raised.append(number)
    raise Interrupted(number)


@contextmanager
def signals_raise() -> Iterator[None]:
    """Let a signal raise Interrupted wherever Python is, the block's end included.

    In a finalizer Python drops what is raised, says so with a traceback and goes on: it is not said, and raised again.
    """
    _raised.clear()
    for number in heeded_signals():
        signal.signal(number, raise_interrupted)
    complain = sys.unraisablehook
    sys.unraisablehook = lambda lost: isinstance(lost.exc_value, Interrupted) or complain(lost)
    try:
        yield
        heed_lost_interruptions()
    finally:
        # What was done is done: a signal that comes now must not change the report or the exit code.
        for number in SIGNALS:
            signal.signal(number, signal.SIG_IGN)
        sys.unraisablehook = complain


def heed_lost_interruptions() -> None:
    """Raise Interrupted again where its first time was lost."""
    if _raised:
        raise Interrupted(_raised[0])


def run_coroutine(coroutine: Coroutine[Any, Any, None]) -> None:
    """Run a command's coroutine; a signal cancels it, so that every ``finally`` runs. Raises Interrupted afterwards.

    A signal while it cleans up changes nothing: half a clean-up is what it would leave. One that comes as the
    coroutine ends, or whose cancellation a library swallows, still stops what our caller would do next.
    """
    received: list[int] = []
    if _raised:
        coroutine.close()
    heed_lost_interruptions()
    # Closed, it is not complained of where a signal came before the loop.
    with closing(coroutine):
        # Late: it costs as much as Typer, and help or completion has no loop.
        import asyncio

        try:
            _run(coroutine, received)
        except asyncio.CancelledError:
            raise Interrupted(received[0] if received else signal.SIGINT) from None
        except Exception as error:
            if received and not isinstance(error, Interrupted):
                raise Interrupted(received[0], why=str(error)) from error
            raise
        if received:
            raise Interrupted(received[0], why="it was done by then")


@contextmanager
def until_interrupted() -> Iterator[None]:
    """Around what only a signal ends, a screen or a server: that it does is no error to speak of."""
    import asyncio

    try:
        yield
    except asyncio.CancelledError as error:
        raise Interrupted(next(iter(error.args), signal.SIGINT), expected=True) from None


def _run(coroutine: Coroutine[Any, Any, None], received: list[int]) -> None:
    import asyncio

    before = {number: signal.getsignal(number) for number in heeded_signals()}
    with _signals_wait():
        runner = asyncio.Runner()
        loop = runner.get_loop()
        task = loop.create_task(coroutine)

        def cancel(number: int) -> None:
            if received:
                say("still cleaning up; kill -9 would leave things half done")
            else:
                task.cancel(number)
            received.append(number)

        for number in before:
            loop.add_signal_handler(number, cancel, number)
    try:
        loop.run_until_complete(task)
    finally:
        with _signals_wait():
            # One that came as the task ended is still in the loop's pipe.
            for _ in range(_ROUNDS):
                loop.run_until_complete(asyncio.sleep(0))
            # The loop's own threads, which take a signal that we do not, end as it closes; its pipe too.
            for number in before:
                signal.signal(number, lambda number, _: received.append(number))
            signal.set_wakeup_fd(-1)
            runner.close()
            for number, handler in before.items():
                signal.signal(number, handler)


@contextmanager
def _signals_wait() -> Iterator[None]:
    """Deliver no signal while asyncio makes or closes its loop: it can't be interrupted there."""
    masked = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, masked)


@contextmanager
def prompting() -> Iterator[Callable[[TextIO], None]]:
    """Let a signal end a prompt at once: it blocks the loop, which would hear of the signal after Enter.

    Yields what waits until a line can be read. Python runs a handler between two of its own steps: a read that
    begins just after the signal would not be ended by it, so the signal's byte is waited for as well.
    """
    woken, wake = os.pipe()
    os.set_blocking(wake, False)
    before = {number: signal.signal(number, raise_interrupted) for number in heeded_signals()}
    waker = signal.set_wakeup_fd(wake)

    def until_ready(stream: TextIO) -> None:
        while stream.fileno() not in select.select([stream.fileno(), woken], [], [])[0]:
            os.read(woken, 1)

    try:
        yield until_ready
    finally:
        signal.set_wakeup_fd(waker)
        for number, handler in before.items():
            signal.signal(number, handler)
            if handler is not raise_interrupted:
                # As the loop had it; `signal.signal` changes it.
                signal.siginterrupt(number, False)
        os.close(woken)
        os.close(wake)
