"""One run at a time on one machine: a lock on a file that the kernel frees at any death."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import TextIO

from dbctl.errors import Busy

_POLL_SECONDS = 0.02


@contextmanager
def file_lock(path: Path, *, wait_seconds: float = 0.0) -> Iterator[None]:
    """Hold the lock for the length of a ``with``; `Busy` says who has it, and since when.

    The file stays (removing it would let two in); what a dead process wrote there means nothing.
    Blocks the thread while it waits.
    """
    with path.open("a+", encoding="utf-8") as handle:
        _take(handle, path, wait_seconds)
        _sign(handle, f"process {os.getpid()} since {datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}")
        try:
            yield
        finally:
            _sign(handle, "")


def _take(handle: TextIO, path: Path, wait_seconds: float) -> None:
    deadline = time.monotonic() + wait_seconds
    while True:
        with suppress(BlockingIOError):
            return fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if time.monotonic() >= deadline:
            break
        time.sleep(_POLL_SECONDS)
    handle.seek(0)
    raise Busy(
        "another run is at work",
        why=f"{path} is locked by {handle.read().strip() or 'another process'}",
        hint="wait for it to end, or stop it",
    )


def _sign(handle: TextIO, text: str) -> None:
    handle.seek(0)
    handle.truncate()
    handle.write(text)
    handle.flush()
