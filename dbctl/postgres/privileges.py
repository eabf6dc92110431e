"""PostgreSQL refuses to run as root: how to be somebody else, without changing the machine."""

from __future__ import annotations

import os
import pwd
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from dbctl.errors import ToolMissing
from dbctl.postgres.environment import clean_environment

_LAUNCH = str(Path(__file__).with_name("launch.py"))
_SERVANTS = ("postgres", "nobody")
_SOCKET_PATH_BYTES = 107


@dataclass(frozen=True, slots=True)
class Launcher:
    """A way to run PostgreSQL's programs; ``owner`` is the uid and gid that they need on their files."""

    name: str
    mode: str = "direct"
    owner: tuple[int, int] | None = None

    def prefix(self, *, offline: bool = False) -> list[str]:
        """What ``PARENT SIGNAL PROGRAM ARGUMENT…`` is appended to (`dbctl.postgres.launch`)."""
        return [sys.executable, "-I", "-S", _LAUNCH, f"{self.mode}+offline" if offline else self.mode]

    def wrap(self, argv: Sequence[str], *, parent: int = 0, last_word: int = signal.SIGTERM) -> list[str]:
        """The command to start; at the death of ``parent`` it gets the signal ``last_word`` (Linux)."""
        if self.mode == "direct" and not parent:
            return list(argv)
        return [*self.prefix(), str(parent), str(int(last_word)), *argv]

    def give(self, *paths: Path) -> None:
        """Hand files to the user that PostgreSQL runs as."""
        if self.owner:
            for path in paths:
                os.chown(path, *self.owner, follow_symlinks=False)

    def may_enter(self, folder: Path) -> bool:
        """Whether PostgreSQL's user gets as far as this folder; root in a namespace is no longer almighty."""
        if self.mode == "direct":
            return True
        ours = None if self.owner else os.getuid()
        chain = (one.stat() for one in (folder, *folder.parents))
        return all(stat.st_mode & 0o001 or stat.st_uid == ours for stat in chain)


def choose_launcher(mode: str | None = None) -> Launcher:
    """The way that works here; ``mode`` insists on ``direct``, ``namespace`` or ``drop``."""
    if mode == "direct" or (mode is None and os.getuid() != 0):
        return Launcher("direct")
    if mode == "namespace" or (mode is None and namespaces_work()):
        return Launcher("user namespace", "namespace")
    return _drop()


def choose_stranger() -> Launcher:
    """The way to run what somebody else wrote: as a user who owns no files of ours, where we may become another.

    In a namespace of root's the server is still the owner of root's files. Where there is no such user, or we
    are none but ourselves, it is the way that works.
    """
    with suppress(ToolMissing):
        return choose_launcher("drop" if os.getuid() == 0 else None)
    return choose_launcher()


@cache
def namespaces_work() -> bool:
    """Whether root may be somebody else in a user namespace: really tried, once."""
    probe = Launcher("user namespace", "namespace").wrap(["/bin/sh", "-c", ":"])
    return subprocess.run(probe, capture_output=True, check=False, env=clean_environment()).returncode == 0  # noqa: S603


def temporary_root(launcher: Launcher, *, room: int = 0) -> Path:
    """A folder for temporary files that the launcher's user may enter.

    With ``room``, a socket in it may have a path that is so many bytes longer.
    """
    candidates = (Path(tempfile.gettempdir()), Path("/tmp"), Path("/var/tmp"))  # noqa: S108
    for folder in candidates:
        fits = not room or fits_socket(folder, room)
        if fits and os.access(folder, os.W_OK) and launcher.may_enter(folder):
            return folder
    raise ToolMissing(
        "no place for PostgreSQL's files",
        why=f"none of {', '.join(map(str, candidates))} can be written and entered by {launcher.name}",
        hint="set TMPDIR to a short path that everybody may enter",
    )


def fits_socket(folder: Path, room: int) -> bool:
    """Whether a socket may live in that folder: the kernel limits its path, libpq reads a comma as two hosts."""
    return len(os.fsencode(folder)) + room <= _SOCKET_PATH_BYTES and "," not in str(folder)


def _drop() -> Launcher:
    for name in _SERVANTS:
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        return Launcher(f"user {name}", f"{entry.pw_uid}:{entry.pw_gid}", (entry.pw_uid, entry.pw_gid))
    raise ToolMissing(
        "PostgreSQL refuses to run as root",
        why="user namespaces are switched off, and there is no user postgres or nobody to be instead",
        hint="run dbctl as an ordinary user",
    )
