"""Standard input that a command which was interrupted need not wait for."""

from __future__ import annotations

import io
import os
import select
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, BinaryIO, cast

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer


@contextmanager
def standard_input() -> Iterator[BinaryIO]:
    """The bytes of stdin; at the block's end whoever still waits for more of them, in a thread, is told that there are none.

    A thread that waits in a plain read can't be woken, and Python ends no process before its threads.
    """
    awake, wake = os.pipe()
    try:
        yield cast("BinaryIO", io.BufferedReader(_Wakeable(sys.stdin.fileno(), awake)))
    finally:
        # The other end stays open: the thread may look at it at any time.
        os.close(wake)


class _Wakeable(io.RawIOBase):
    """A file descriptor that is read until it, or the pipe ``awake``, ends."""

    def __init__(self, descriptor: int, awake: int) -> None:
        self._descriptor, self._awake = descriptor, awake

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer) -> int:
        ready, _, _ = select.select([self._descriptor, self._awake], [], [])
        return 0 if self._awake in ready else os.readv(self._descriptor, [buffer])
