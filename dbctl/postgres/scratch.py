"""Throw-away PostgreSQL servers: up in a fraction of a second, gone when their owner is."""

from __future__ import annotations

import fcntl
import json
import os
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, BinaryIO, TypeAlias

from dbctl.errors import Refused, ToolFailed
from dbctl.postgres.binaries import Binaries, find_server
from dbctl.postgres.cluster import (
    SUPERUSER,
    cached_cluster,
    last_error,
    reachable_binaries,
    render_settings,
)
from dbctl.postgres.environment import clean_environment
from dbctl.postgres.privileges import Launcher, choose_launcher, temporary_root

_GUARDIAN = str(Path(__file__).with_name("guardian.py"))
_NAME = "dbctl-scratch-"
_ROOM_FOR_SOCKET = len(f"/{_NAME}12345678/.s.PGSQL.65535")
_MEMORY = Path("/dev/shm")  # noqa: S108 - the folders in it have names of their own, and mode 0700
_PLENTY_BYTES = 2 * 1024**3
_START_SECONDS = 60.0
_DAMAGED = re.compile(r"PANIC|data directory|could not (open|read|access) (file|directory)")
_Started: TypeAlias = "tuple[subprocess.Popen[bytes], Path]"
_NO_OPTIONS: Mapping[str, str] = MappingProxyType({})
_SETTINGS = MappingProxyType(
    {
        "listen_addresses": "",
        "port": "5432",
        "unix_socket_permissions": "0700",
        "fsync": "off",
        "full_page_writes": "off",
        "synchronous_commit": "off",
        "wal_level": "minimal",
        "max_wal_senders": "0",
        "autovacuum": "off",
        "jit": "off",
        "shared_buffers": "32MB",
        "max_wal_size": "4GB",
        "min_wal_size": "2MB",
        "wal_recycle": "off",
        "wal_init_zero": "off",
        "checkpoint_timeout": "1h",
        "timezone": "UTC",
        "log_timezone": "UTC",
    }
)


@dataclass(frozen=True, slots=True)
class ScratchServer:
    """A running scratch server; ``params`` are libpq's keywords for its ``postgres`` database."""

    params: Mapping[str, str]
    version: str
    major: int
    folder: Path
    launcher: str
    guardian_pid: int


@contextmanager
def scratch_server(
    major: int | None = None,
    *,
    binaries: Binaries | None = None,
    options: Mapping[str, str] = _NO_OPTIONS,
    launcher: Launcher | None = None,
    template: Path | None = None,
    room_bytes: int = 0,
) -> Iterator[ScratchServer]:
    """A server of its own for the length of a ``with``; ``options`` are settings of postgresql.conf.

    It starts with what the data folder ``template`` holds, else empty, and is where ``room_bytes`` more fit:
    Refused where they don't. Blocks for a fraction of a second (two, when an installation is used for the
    first time).
    """
    launcher = launcher or choose_launcher()
    binaries = reachable_binaries(binaries or find_server(major), launcher)
    settings = _settings(options)
    root = _root(launcher, room_bytes)
    _sweep(root)
    with ExitStack() as stack:

        def start(template: Path) -> _Started:
            return stack.enter_context(_guarded(_spec(binaries, launcher, settings, root, template)))

        guardian, folder = start(template) if template else _start_empty(start, binaries, launcher)
        yield ScratchServer(
            params=MappingProxyType(_params(settings, folder)),
            version=binaries.version,
            major=binaries.major,
            folder=folder,
            launcher=launcher.name,
            guardian_pid=guardian.pid,
        )


def _root(launcher: Launcher, room_bytes: int) -> Path:
    """Where its folder is: in memory where there is plenty, as a thousand small files are copied at each start.

    Who sets TMPDIR decides.
    """
    with suppress(OSError, StopIteration, ValueError):
        disk = os.statvfs(_MEMORY)
        told = next(line for line in Path("/proc/meminfo").read_text().splitlines() if "MemAvailable" in line)
        free = min(disk.f_bavail * disk.f_frsize, int(told.split()[1]) * 1024)
        may_write = os.access(_MEMORY, os.W_OK) and launcher.may_enter(_MEMORY)
        if "TMPDIR" not in os.environ and free >= _PLENTY_BYTES + room_bytes and may_write:
            return _MEMORY
    folder = temporary_root(launcher, room=_ROOM_FOR_SOCKET)
    disk = os.statvfs(folder)
    if (free := disk.f_bavail * disk.f_frsize) < room_bytes:
        raise Refused(
            "no room for a scratch server",
            why=f"{folder} has {free >> 20} MB free, {room_bytes >> 20} MB are needed",
            hint="free some space there, or set TMPDIR to a folder with more",
        )
    return folder


def _start_empty(start: Callable[[Path], _Started], binaries: Binaries, launcher: Launcher) -> _Started:
    """Start on a copy of the cached data folder; one that is damaged is made anew."""
    kept = cached_cluster(binaries, launcher)
    try:
        return start(kept)
    except ToolFailed as error:
        if not _DAMAGED.search(error.why):
            raise
    shutil.rmtree(kept, ignore_errors=True)
    return start(cached_cluster(binaries, launcher))


def _settings(options: Mapping[str, str]) -> dict[str, str]:
    settings = {**_SETTINGS, **options}
    if settings["listen_addresses"] and "port" not in options:
        settings["port"] = str(_free_port())
    return settings


def _params(settings: Mapping[str, str], folder: Path) -> dict[str, str]:
    return {"host": str(folder), "port": settings["port"], "user": SUPERUSER, "dbname": "postgres"}


def _spec(
    binaries: Binaries, launcher: Launcher, settings: Mapping[str, str], root: Path, template: Path
) -> dict[str, object]:
    return {
        # What runs there, dblink or a program that COPY starts, reaches nobody.
        "launch": launcher.prefix(offline=not settings["listen_addresses"]),
        "owner": launcher.owner,
        "postgres": str(binaries.path("postgres")),
        "template": str(template),
        "settings": render_settings(settings),
        "environment": clean_environment(LC_ALL="C"),
        "root": str(root),
        "name": _NAME,
        "seconds": _START_SECONDS,
    }


@contextmanager
def _guarded(spec: Mapping[str, object]) -> Iterator[_Started]:
    argv = [sys.executable, "-I", "-S", _GUARDIAN]
    pipe = subprocess.PIPE
    with subprocess.Popen(  # noqa: S603
        argv, stdin=pipe, stdout=pipe, stderr=pipe, start_new_session=True, cwd="/", env=clean_environment()
    ) as guardian:
        folder = _start(guardian, spec)
        try:
            yield guardian, folder
        finally:
            # A forked child of ours may still hold the pipe: the signal does not wait for it.
            guardian.terminate()
            guardian.wait()
            shutil.rmtree(folder, ignore_errors=True)


def _start(guardian: subprocess.Popen[bytes], spec: Mapping[str, object]) -> Path:
    assert guardian.stdin and guardian.stdout and guardian.stderr  # noqa: S101, PT018 - all are pipes
    guardian.stdin.write(json.dumps(spec).encode() + b"\n")
    guardian.stdin.flush()
    answer = guardian.stdout.readline()
    told: dict[str, Any] = json.loads(answer) if answer else {"ready": False}
    if not told["ready"]:
        guardian.terminate()
        why = last_error(told.get("log") or guardian.stderr.read().decode(errors="replace"))
        raise ToolFailed("a scratch server did not start", why=why)
    return Path(told["folder"])


def _sweep(root: Path) -> None:
    """Remove what guardians left that were killed: their lock is free."""
    for folder in root.glob(f"{_NAME}*"):
        with suppress(OSError), _opened(folder / "lock") as lock:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
            shutil.rmtree(folder, ignore_errors=True)


def _opened(lock: Path) -> BinaryIO:
    """The file for reading; a pipe or a link that somebody left in a shared folder neither blocks nor leads away."""
    return open(os.open(lock, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW), "rb")  # noqa: PTH123


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
