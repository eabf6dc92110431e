"""A lock that a server inherits: while the file is locked, some process of that server lives.

A pid file says less: it stays behind after a crash, and its number may be somebody else's by then.
"""

from __future__ import annotations

import fcntl
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

_POLL_SECONDS = 0.01
# The shell leaves at once: the server becomes nobody's child, so nobody need reap it.
_IN_BACKGROUND = '"$@" &'


def start_locked(lock: Path, argv: Sequence[str], log: Path, environment: Mapping[str, str]) -> None:
    """Start a program in the background, in a session of its own, tied to nothing of ours but the lock."""
    with lock.open("a") as handle, log.open("ab") as output:
        fcntl.flock(handle, fcntl.LOCK_EX)
        subprocess.run(  # noqa: S603
            ["/bin/sh", "-c", _IN_BACKGROUND, "sh", *argv],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            cwd="/",
            env=environment,
            start_new_session=True,
            pass_fds=(handle.fileno(),),
            check=True,
        )


def is_alive(lock: Path) -> bool:
    """Whether a process that inherited the lock lives."""
    with suppress(FileNotFoundError), lock.open() as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def wait_until(happened: Callable[[], bool], seconds: float) -> bool:
    """Whether it happened in time."""
    deadline = time.monotonic() + seconds
    while not happened():
        if time.monotonic() >= deadline:
            return False
        time.sleep(_POLL_SECONDS)
    return True
