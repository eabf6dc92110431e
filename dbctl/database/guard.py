"""Keeps other people's code in this process from every database, and every network, but the ones it may use."""

from __future__ import annotations

import errno
import os
import socket
import subprocess
import sys
import sysconfig
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import FrameType, ModuleType
from typing import Any

from dbctl.database.conninfo import ConnInfo, names_of_hosts, parse_conninfo
from dbctl.database.detour import Detour
from dbctl.database.on_import import whenever_imported
from dbctl.database.programs import calls_of
from dbctl.errors import DbctlError, Refused

Wrap = Callable[[Any], Any]

_HINT = "name the variable that it reads in migrate.url_variables"
_LIBRARIES = tuple(
    {sysconfig.get_paths()[name] for name in ("stdlib", "platstdlib", "purelib", "platlib")}
    | {str(Path(__file__).parents[1]), "<"}
)


@dataclass(frozen=True, slots=True)
class Attempt:
    """A connection that was asked for and refused: where to, by what, and from which line; never a password."""

    address: str
    by: str
    place: str

    @property
    def is_database(self) -> bool:
        """Whether a PostgreSQL driver asked."""
        return self.by != "socket"

    def __str__(self) -> str:
        where = f" in {self.place}" if self.place else ""
        return f"{self.by} asked for {self.address}{where}"


class LedAway(Refused):
    """A driver was about to connect to a database that this run may not reach."""

    def __init__(self, attempt: Attempt) -> None:
        super().__init__(str(attempt), why="only scratch may be reached here", hint=_HINT)
        self.attempt = attempt


class NoNetwork(ConnectionRefusedError):
    """A socket was about to connect; in the words of the system, so that libraries take it as they would."""

    def __init__(self, attempt: Attempt) -> None:
        super().__init__(f"{attempt}: there is no network on scratch")
        self.attempt = attempt


class Guard:
    """While ``active``, drivers and Python's sockets may connect to ``server`` only, in every thread.

    Of its databases, those whose name begins with ``prefix``. With ``allow_network`` sockets are left alone.
    Of programs that the project starts only the address is looked at that a client of PostgreSQL's is given, or
    takes from its environment, and a PostgreSQL URL among any other's arguments; not what they do.
    ``refused`` lists what was refused, also where the project swallowed the error. ``roots`` are the
    project's own folders, to name the line that asked. Who asks for the database that ``stands_for`` names, which
    an application read when it was imported, gets ``server``'s.
    """

    def __init__(
        self,
        server: ConnInfo,
        *,
        prefix: str = "",
        allow_network: bool = False,
        roots: Iterable[Path] = (),
        stands_for: ConnInfo | None = None,
    ) -> None:
        self._detour = Detour.between(stands_for, server) if stands_for else None
        self._hosts = names_of_hosts(server.host, server.keywords.get("hostaddr", ""))
        self._ports = set(server.port.split(","))
        self._sockets = {f"{host}/.s.PGSQL.{port}" for host in self._hosts for port in self._ports}
        self._prefix = prefix
        self._allow_network = allow_network
        self._roots = tuple(str(root) for root in roots)
        self._ours = threading.local()
        self.refused: list[Attempt] = []

    @contextmanager
    def active(self) -> Iterator[None]:
        """Ask before every connection; everything is put back at the end."""
        with ExitStack() as stack:

            def hang(owner: Any, name: str, wrap: Wrap) -> None:
                original = getattr(owner, name)
                stack.callback(setattr, owner, name, original)
                setattr(owner, name, wrap(original))

            if not self._allow_network:
                hang(socket.socket, "connect", self._socket)
                hang(socket.socket, "connect_ex", self._socket_ex)
                hang(socket, "getaddrinfo", self._lookup)
            hang(subprocess.Popen, "__init__", self._program)
            hang(os, "system", self._shell)
            # A driver that nobody imports costs nothing.
            doors = {
                module: partial(_open, hang, class_, name, wrap)
                for module, class_, name, wrap in self._drivers()
            }
            with whenever_imported(doors):
                yield

    @contextmanager
    def trusting(self) -> Iterator[None]:
        """For connections of our own, in this thread only."""
        self._ours.trusted = True
        try:
            yield
        finally:
            self._ours.trusted = False

    def refusal(self, address: str, *, by: str) -> LedAway:
        """What somebody is told who asked for an address by a way that is not watched here."""
        return self._refuse_database(address, by)

    def _drivers(self) -> Iterator[tuple[str, str, str, Wrap]]:
        """Module, class or nothing, function: the one place where the driver connects."""
        yield "psycopg2", "", "_connect", self._libpq("psycopg2")
        yield "psycopg.generators", "", "connect", self._libpq("psycopg")
        yield "asyncpg.connect_utils", "", "_connect_addr", self._asyncpg
        yield "pg8000.core", "CoreConnection", "__init__", self._pg8000

    def _libpq(self, driver: str) -> Callable[[Any], Any]:
        def wrap(original: Callable[..., Any]) -> Callable[..., Any]:
            def connect(dsn: str = "", *given: Any, **named: Any) -> Any:
                return original(self._checked_libpq(driver, dsn), *given, **named)

            return connect

        return wrap

    def _checked_libpq(self, driver: str, dsn: str) -> str:
        """The DSN that is to be used."""
        try:
            # As libpq will: with PG… variables, a service file, its defaults.
            asked = parse_conninfo(dsn, environ=os.environ)
        except DbctlError as error:
            raise self._refuse_database(f"an address that can't be read ({error})", driver) from None
        if detour := self._detour_of(_hosts(asked), asked.port.split(","), asked.database):
            return detour.dsn(asked.keywords)
        self._check_address(driver, asked)
        return dsn

    def _check_address(self, driver: str, asked: ConnInfo) -> None:
        ports = asked.port.split(",")
        if not all(self._may(host, port, asked.database) for host in _hosts(asked) for port in ports):
            raise self._refuse_database(f"{asked.place}/{asked.database}", driver)

    def _program(self, original: Callable[..., Any]) -> Callable[..., Any]:
        def start(process: Any, args: Any, *given: Any, **named: Any) -> Any:
            self._check_program(args, named.get("env"))
            return original(process, args, *given, **named)

        return start

    def _shell(self, original: Callable[..., int]) -> Callable[..., int]:
        def system(command: Any) -> int:
            self._check_program(command, None)
            return original(command)

        return system

    def _check_program(self, args: Any, environ: Mapping[str, str] | None) -> None:
        if getattr(self._ours, "trusted", False):
            return
        try:
            calls = list(calls_of(args, os.environ if environ is None else environ))
        except DbctlError as error:
            raise self._refuse_database(f"an address that can't be read ({error})", "a program") from None
        for call in calls:
            self._check_address(call.program, call.address)

    def _asyncpg(self, original: Callable[..., Any]) -> Callable[..., Any]:
        async def connect_addr(*, addr: Any, params: Any, **named: Any) -> Any:
            host, port = addr if isinstance(addr, tuple) else _split_socket(addr)
            if detour := self._detour_of([host], [str(port)], params.database):
                addr, params = detour.for_asyncpg(params)
            elif not self._may(host, str(port), params.database):
                raise self._refuse_database(f"{_shown(host, port)}/{params.database}", "asyncpg")
            return await original(addr=addr, params=params, **named)

        return connect_addr

    def _pg8000(self, original: Callable[..., Any]) -> Callable[..., Any]:
        def connect(
            connection: Any,
            user: Any,
            host: str = "localhost",
            database: str | None = None,
            port: int = 5432,
            *given: Any,
            **named: Any,
        ) -> Any:
            unix = named.get("unix_sock")
            asked, number = _split_socket(unix) if unix else (host, str(port))
            if not self._may(asked, number, database or str(user)):
                raise self._refuse_database(f"{_shown(asked, number)}/{database or user}", "pg8000")
            return original(connection, user, host, database, port, *given, **named)

        return connect

    def _socket(self, original: Callable[..., Any]) -> Callable[..., Any]:
        def connect(this: socket.socket, address: Any) -> Any:
            if not self._may_open(this.family, address):
                raise self._refuse_socket(_shown_address(address))
            return original(this, address)

        return connect

    def _socket_ex(self, original: Callable[..., int]) -> Callable[..., int]:
        def connect_ex(this: socket.socket, address: Any) -> int:
            if not self._may_open(this.family, address):
                self._noted(_shown_address(address), "socket")
                return errno.ECONNREFUSED
            return original(this, address)

        return connect_ex

    def _lookup(self, original: Callable[..., Any]) -> Callable[..., Any]:
        def getaddrinfo(host: Any, port: Any, *given: Any, **named: Any) -> Any:
            name = host.decode(errors="replace") if isinstance(host, bytes) else host
            away = self._detour.hosts if self._detour else ()
            if name and name not in self._hosts and name not in away and not _is_local(name):
                raise self._refuse_socket(_shown(name, port))
            return original(host, port, *given, **named)

        return getaddrinfo

    def _detour_of(self, hosts: Iterable[str], ports: Iterable[str], database: str) -> Detour | None:
        is_ours = getattr(self._ours, "trusted", False)
        detour = None if is_ours else self._detour
        return detour if detour and detour.is_meant(hosts, ports, database) else None

    def _may(self, host: str, port: str, database: str) -> bool:
        if getattr(self._ours, "trusted", False):
            return True
        return host in self._hosts and port in self._ports and database.startswith(self._prefix)

    def _may_open(self, family: int, address: Any) -> bool:
        if family == socket.AF_UNIX:
            path = address.decode(errors="replace") if isinstance(address, bytes) else address
            return path in self._sockets
        if family in (socket.AF_INET, socket.AF_INET6):
            return address[0] in self._hosts and str(address[1]) in self._ports
        return True

    def _refuse_database(self, address: str, driver: str) -> LedAway:
        return LedAway(self._noted(address, driver))

    def _refuse_socket(self, address: str) -> NoNetwork:
        return NoNetwork(self._noted(address, "socket"))

    def _noted(self, address: str, by: str) -> Attempt:
        attempt = Attempt(address, by, _place(sys._getframe(2), self._roots))  # noqa: SLF001
        self.refused.append(attempt)
        return attempt


def _open(
    hang: Callable[[Any, str, Wrap], None], class_: str, name: str, wrap: Wrap, module: ModuleType
) -> None:
    hang(getattr(module, class_) if class_ else module, name, wrap)


def _hosts(asked: ConnInfo) -> list[str]:
    return (asked.keywords.get("hostaddr") or asked.host).split(",")


def _is_local(name: str) -> bool:
    """A number, or this machine: nobody is asked for it, and the socket is judged when it connects."""
    return (
        name in ("localhost", socket.gethostname())
        or all(part.isdigit() for part in name.split("."))
        or ":" in name
    )


def _split_socket(path: str) -> tuple[str, str]:
    folder, _, name = path.rpartition("/")
    return folder, name.rpartition(".")[2]


def _shown(host: Any, port: Any) -> str:
    return str(host) if str(host).startswith("/") or port is None else f"{host}:{port}"


def _shown_address(address: Any) -> str:
    return _shown(address[0], address[1]) if isinstance(address, tuple) else str(address)


def _place(frame: FrameType | None, roots: tuple[str, ...]) -> str:
    """The innermost line of the project on the way here; empty where the call comes from a library's thread."""
    while frame is not None:
        file = frame.f_code.co_filename
        if file.startswith(roots) or not file.startswith(_LIBRARIES):
            return f"{file}, line {frame.f_lineno}"
        frame = frame.f_back
    return ""
