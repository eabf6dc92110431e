"""A password for one child process: in no argument, no environment variable, and best in no file."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import NamedTemporaryFile

from dbctl.errors import SettingsError


@dataclass(frozen=True, slots=True)
class Secret:
    """What a child needs to read the password: variables, and handles to inherit."""

    environment: Mapping[str, str] = field(default_factory=dict)
    handles: tuple[int, ...] = ()


@contextmanager
def password_file(password: str | None) -> Iterator[Secret]:
    """A libpq password file that exists only in memory (Linux), or only as long as the ``with``."""
    if password is None:
        yield Secret()
    elif hasattr(os, "memfd_create") and Path("/proc/self/fd").is_dir():
        with os.fdopen(os.memfd_create("dbctl"), "wb") as memory:
            # libpq reads no password file that others could read.
            os.fchmod(memory.fileno(), 0o600)
            memory.write(_line(password))
            memory.flush()
            yield Secret({"PGPASSFILE": f"/proc/self/fd/{memory.fileno()}"}, (memory.fileno(),))
    else:
        with NamedTemporaryFile(prefix="dbctl-") as file:
            file.write(_line(password))
            file.flush()
            yield Secret({"PGPASSFILE": file.name})


def _line(password: str) -> bytes:
    if {"\n", "\r", "\0"} & set(password):
        raise SettingsError(
            "the password can't be given to PostgreSQL's programs",
            why="it holds a line break, which their password file can't",
            hint="change the password",
        )
    escaped = password.replace("\\", "\\\\").replace(":", "\\:")
    return f"*:*:*:*:{escaped}\n".encode()
