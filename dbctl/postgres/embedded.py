"""The embedded PostgreSQL of the `local` environment: started on demand, it outlives the command."""

from __future__ import annotations

import os
import signal
from collections.abc import Mapping
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import MappingProxyType

from dbctl.errors import Failed, ServerStarting, ToolFailed, ToolMissing
from dbctl.postgres.binaries import Binaries, find_server
from dbctl.postgres.cluster import SUPERUSER, last_error, reachable_binaries, run_as
from dbctl.postgres.data_folder import DataFolder
from dbctl.postgres.environment import clean_environment
from dbctl.postgres.file_lock import file_lock
from dbctl.postgres.life_lock import is_alive, start_locked, wait_until
from dbctl.postgres.privileges import Launcher, choose_launcher
from dbctl.postgres.runtime import Postmaster, private_folder, read_postmaster, socket_folder

_PORT = "5432"
_START_SECONDS = 60.0
_LAST_WORD_SECONDS = 10.0
_LOG_BYTES = 16 << 20
_SETTINGS = {
    "listen_addresses": "",
    "port": _PORT,
    "unix_socket_permissions": "0700",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_line_prefix": "%m [%p] %q%u@%d %a ",
}


@dataclass(frozen=True, slots=True)
class ServerStatus:
    """The embedded server as it is now; ``params`` are libpq's keywords for its ``postgres`` database."""

    running: bool
    pid: int | None
    version: str
    folder: Path
    socket_folder: Path
    launcher: str
    origin: str
    log: Path
    params: Mapping[str, str]


class EmbeddedServer:
    """A PostgreSQL server that lives in one folder and is reached by a Unix socket only.

    Its methods block; two processes may call any of them at the same time.
    """

    def __init__(
        self, folder: Path, binaries: Binaries | None = None, *, launcher: Launcher | None = None
    ) -> None:
        self._launcher = launcher or choose_launcher()
        self._data = DataFolder(folder, self._launcher)
        self._given = binaries
        self.folder = self._data.home
        self.log = self.folder / "server.log"
        self._life = self.folder / "server.lock"

    def start(self) -> ServerStatus:
        """Make sure that it runs: a third of a second, and three the first time, which runs initdb."""
        self._data.prepare()
        with self._alone():
            said = self._log_bytes()
            if not self._reachable():
                self._end(_LAST_WORD_SECONDS)
                self._data.initialise(self.binaries)
                self._launch()
            self._wait_ready(said)
        return self.status()

    def stop(self, timeout: float = 30.0) -> ServerStatus:
        """Make sure that it doesn't run: clients are disconnected, the data is safe."""
        if self.folder.is_dir():
            with self._alone():
                sockets = Path(self.params["host"])
                self._end(timeout)
                with suppress(OSError):
                    sockets.rmdir()
        return self.status()

    def status(self) -> ServerStatus:
        """Whether and where it runs; changes nothing."""
        server = self._reachable()
        params = self._params(server)
        return ServerStatus(
            running=server is not None,
            pid=server.pid if server else None,
            version=self.binaries.version,
            folder=self.folder,
            socket_folder=Path(params["host"]),
            launcher=self._launcher.name,
            origin=self.binaries.origin,
            log=self.log,
            params=MappingProxyType(params),
        )

    @property
    def params(self) -> dict[str, str]:
        """The keywords of libpq for its ``postgres`` database: host (the socket folder), port, user, dbname."""
        return self._params(self._reachable())

    def ensure_database(self, name: str) -> bool:
        """Create a database unless it is there; returns whether it had to."""
        where = self.params
        argv = [str(self.binaries.path("createdb")), "--no-password", "--username", where["user"]]
        argv += ["--host", where["host"], "--port", where["port"], "--", name]
        with self._alone():
            done = run_as(Launcher("direct"), argv)
        if done.returncode and f'database "{name}" already exists' not in done.stderr:
            raise ToolFailed(f"database {name} could not be created", why=last_error(done.stderr))
        return done.returncode == 0

    @cached_property
    def binaries(self) -> Binaries:
        """The installation that serves this folder: of the major that made the data, if that is here."""
        chosen = self._given
        if chosen is None:
            with suppress(ToolMissing):
                chosen = find_server(self._data.major)
        return reachable_binaries(self._data.insist_on(chosen or find_server()), self._launcher)

    def _alone(self) -> AbstractContextManager[None]:
        return file_lock(self.folder / "start.lock", wait_seconds=2 * _START_SECONDS)

    def _reachable(self) -> Postmaster | None:
        server = read_postmaster(self._data.path)
        return server if server and server.answers() else None

    def _params(self, server: Postmaster | None) -> dict[str, str]:
        host = server.socket_folder if server else socket_folder(self._data.name, self._launcher)
        port = server.port if server else _PORT
        return {"host": str(host), "port": port, "user": SUPERUSER, "dbname": "postgres"}

    def _launch(self) -> None:
        sockets = private_folder(socket_folder(self._data.name, self._launcher), self._launcher)
        self._data.forget_crash(sockets)
        self._data.configure({**_SETTINGS, **self._preload(), "unix_socket_directories": f'"{sockets}"'})
        argv = [str(self.binaries.path("postgres")), "-D", str(self._data.path)]
        start_locked(self._life, self._launcher.wrap(argv), self.log, clean_environment(LC_ALL="C"))

    def _wait_ready(self, said: int) -> None:
        wait_until(lambda: self._is_ready() or not self._lives(), _START_SECONDS)
        if not self._is_ready():
            raise self._not_ready(said)

    def _is_ready(self) -> bool:
        server = self._reachable()
        return server is not None and server.ready

    def _not_ready(self, said: int) -> Failed | ServerStarting:
        hint = f"see {self.log}"
        if self._lives():
            why = f"not ready after {_START_SECONDS:.0f} s, perhaps recovering from a crash"
            return ServerStarting("the embedded server is starting", why=why, hint=hint)
        why = last_error(self.log.read_bytes()[said:].decode(errors="replace"))
        return Failed("the embedded server did not start", why=why, hint=hint)

    def _preload(self) -> dict[str, str]:
        name = "pg_stat_statements"
        return {"shared_preload_libraries": name} if self.binaries.has_library(name) else {}

    def _log_bytes(self) -> int:
        if not self.log.exists():
            return 0
        if self.log.stat().st_size > _LOG_BYTES and not self._lives():
            self.log.replace(self.log.with_suffix(".log.old"))
            return 0
        return self.log.stat().st_size

    def _end(self, timeout: float) -> None:
        """Stop what lives, reachable or not: a socket folder may have been cleaned away under a server."""
        for number, seconds in ((signal.SIGINT, timeout), (signal.SIGQUIT, _LAST_WORD_SECONDS)):
            if not self._lives():
                return
            if server := read_postmaster(self._data.path):
                with suppress(ProcessLookupError):
                    os.kill(server.pid, number)
            wait_until(lambda: not self._lives(), seconds)
        if self._lives():
            raise Failed(
                "the embedded server does not stop", why=f"after {timeout:.0f} s", hint=f"see {self.log}"
            )

    def _lives(self) -> bool:
        return is_alive(self._life) or self._reachable() is not None
