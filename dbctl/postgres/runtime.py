"""Where a running server can be found: its socket folder, its pid file, whether it answers."""

from __future__ import annotations

import os
import socket
import stat
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from dbctl.errors import Failed
from dbctl.postgres.privileges import Launcher, fits_socket

_ROOM_FOR_SOCKET = len("/.s.PGSQL.65535")
_ANSWER_SECONDS = 2.0
_LINES = 8


@dataclass(frozen=True, slots=True)
class Postmaster:
    """What a server wrote into ``postmaster.pid``; after a crash the file lies."""

    pid: int
    port: str
    socket_folder: Path
    ready: bool

    def answers(self) -> bool:
        """Whether somebody accepts connections on the socket."""
        with socket.socket(socket.AF_UNIX) as probe, suppress(OSError):
            probe.settimeout(_ANSWER_SECONDS)
            probe.connect(str(self.socket_folder / f".s.PGSQL.{self.port}"))
            return True
        return False


def read_postmaster(data: Path) -> Postmaster | None:
    """The pid file of a data folder; None if there is none, or it is only half written."""
    try:
        lines = (data / "postmaster.pid").read_text().splitlines()
        pid, _, _, port, folder, _, _, state = lines[:_LINES]
        return Postmaster(int(pid), port, Path(folder), state.strip() == "ready")
    except (OSError, ValueError):
        return None


def socket_folder(name: str, launcher: Launcher) -> Path:
    """Where the socket of a new server goes: a path short enough, in a folder that may not be there yet."""
    for root in (os.environ.get("XDG_RUNTIME_DIR", ""), "/tmp"):  # noqa: S108 - checked below
        folder = Path(root) / f"dbctl-{os.getuid()}-{name}"
        fits = fits_socket(folder, _ROOM_FOR_SOCKET)
        if root and fits and os.access(root, os.W_OK) and launcher.may_enter(Path(root)):
            return folder
    raise Failed(
        "no place for the server's socket",
        why="neither XDG_RUNTIME_DIR nor /tmp can be written",
        hint="set XDG_RUNTIME_DIR to a short path of yours",
    )


def private_folder(folder: Path, launcher: Launcher) -> Path:
    """The folder, made 0700 and owned by PostgreSQL's user; one that somebody else put there is refused."""
    with suppress(FileExistsError):
        folder.mkdir(mode=0o700)
        launcher.give(folder)
    found = folder.lstat()
    owner = launcher.owner[0] if launcher.owner else os.getuid()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != owner or found.st_mode & 0o077:
        raise Failed(
            f"{folder} is not safe to use",
            why=f"it should be a folder of uid {owner} that nobody else may enter",
            hint="remove it, after a look at who made it",
        )
    return folder
