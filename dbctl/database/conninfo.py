"""One reading of a connection string, in every form that libpq takes, for asyncpg, psycopg2 and pg_dump alike."""

from __future__ import annotations

import configparser
import getpass
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from dbctl.errors import SettingsError
from dbctl.redaction import redact

if TYPE_CHECKING:
    from ssl import SSLContext

    from sqlalchemy import URL

_DRIVER_TAG = re.compile(r"^(postgres(?:ql)?)\+[a-z0-9]+://", re.IGNORECASE)
_SOCKET_FOLDERS = ("/run/postgresql", "/var/run/postgresql", "/tmp")  # noqa: S108 - where servers listen
_SOCKET_LIMIT = 107
_HIGHEST_PORT = 65535

# libpq's keywords and the variables that fill them (PostgreSQL's manual, "Environment Variables").
VARIABLES = {
    "host": "PGHOST",
    "hostaddr": "PGHOSTADDR",
    "port": "PGPORT",
    "dbname": "PGDATABASE",
    "user": "PGUSER",
    "passfile": "PGPASSFILE",
    "options": "PGOPTIONS",
    "sslmode": "PGSSLMODE",
    "sslrootcert": "PGSSLROOTCERT",
    "sslcert": "PGSSLCERT",
    "sslkey": "PGSSLKEY",
    "sslcrl": "PGSSLCRL",
    "connect_timeout": "PGCONNECT_TIMEOUT",
    "target_session_attrs": "PGTARGETSESSIONATTRS",
    "channel_binding": "PGCHANNELBINDING",
    "gssencmode": "PGGSSENCMODE",
    "krbsrvname": "PGKRBSRVNAME",
}
_KEYWORDS = {*VARIABLES, "password", "service"}
# asyncpg reads these from a DSN's query only; the rest it takes as arguments.
_ASYNCPG_QUERY = (
    "sslmode",
    "sslrootcert",
    "sslcert",
    "sslkey",
    "sslcrl",
    "target_session_attrs",
    "krbsrvname",
)


@dataclass(frozen=True, slots=True)
class ConnInfo:
    """Where to connect and as whom: libpq's keywords without the password, which ``repr`` never shows."""

    keywords: Mapping[str, str]
    password: str | None = field(default=None, repr=False)

    @property
    def host(self) -> str:
        """Host name, list of names, or socket folder."""
        return self.keywords["host"]

    @property
    def port(self) -> str:
        """Port, or list of ports."""
        return self.keywords["port"]

    @property
    def database(self) -> str:
        """The database's name."""
        return self.keywords["dbname"]

    @property
    def role(self) -> str:
        """The role that logs in."""
        return self.keywords["user"]

    @property
    def is_socket(self) -> bool:
        """Whether the connection goes through a Unix socket."""
        return self.host.startswith("/")

    @property
    def place(self) -> str:
        """The server, as a person names it: ``host:port``, or the socket's folder."""
        return self.host if self.is_socket else f"{self.host}:{self.port}"

    def __str__(self) -> str:
        return f"database {self.database} on {self.place} as {self.role}"

    def with_database(self, name: str) -> ConnInfo:
        """The same server and role, another database."""
        return replace(self, keywords={**self.keywords, "dbname": name})

    def with_password(self, password: str | None) -> ConnInfo:
        """The same, with another password."""
        return replace(self, password=password)

    def asyncpg_arguments(self) -> dict[str, Any]:
        """Arguments of ``asyncpg.connect``, the password left out."""
        # libpq knows that a Unix socket has no TLS; asyncpg would look for the certificates all the same.
        kept = () if self.is_socket else _ASYNCPG_QUERY
        query = {name: self.keywords[name] for name in kept if name in self.keywords}
        hosts = (self.keywords.get("hostaddr") or self.host).split(",")
        ports = [int(port) for port in self.port.split(",")]
        arguments: dict[str, Any] = {
            "dsn": f"postgresql:///?{urlencode(query)}",
            "host": hosts if len(hosts) > 1 else hosts[0],
            "port": ports if len(ports) > 1 else ports[0],
            "user": self.role,
            "database": self.database,
        }
        if query.get("sslrootcert") == "system":
            arguments["dsn"], arguments["ssl"] = "postgresql:///", _trusted_by_system()
        return arguments

    def server_settings(self) -> dict[str, str]:
        """What ``options`` (PGOPTIONS) sets at the start of a session; asyncpg does not read it."""
        words = self.keywords.get("options", "").replace("-c ", "-c").split()
        pairs = (word.removeprefix("-c").removeprefix("--").partition("=") for word in words)
        return {name.replace("-", "_"): value for name, _, value in pairs if name and value}

    def psycopg2_url(self) -> URL:
        """A SQLAlchemy URL for psycopg2, with the password in it."""
        from sqlalchemy import URL

        query = {
            name: value
            for name, value in self.keywords.items()
            if name not in {"user", "dbname", "port", "host"}
        }
        return URL.create(
            "postgresql+psycopg2",
            username=self.role,
            password=self.password,
            database=self.database,
            query={**query, "host": self.host, "port": self.port},
        )

    def libpq_environment(self) -> dict[str, str]:
        """The ``PG…`` variables for pg_dump and its kin, the password left out."""
        return {VARIABLES[name]: value for name, value in self.keywords.items() if name in VARIABLES}


def _trusted_by_system() -> SSLContext:
    """What libpq calls ``sslrootcert=system``, which implies verify-full; asyncpg does not know it."""
    import ssl

    return ssl.create_default_context()


def parse_conninfo(
    text: str,
    *,
    environ: Mapping[str, str],
    settings: Mapping[str, str] | None = None,
) -> ConnInfo:
    """Read a URL (any driver's tag), a ``key=value`` string or an empty one.

    What it leaves open comes from ``settings`` (the environment's TLS keys), its service file, ``PG…``
    variables and libpq's defaults, in that order. Raises SettingsError; the text of a password is never in it.
    """
    keywords = {**_parse(text)}
    if "://" in text and any("@" in keywords.get(name, "") for name in ("host", "dbname")):
        # An unescaped / or ? in a password: what follows it was taken for the database's name.
        raise SettingsError(
            "database.url can't be read",
            why="an @ stands behind the host",
            hint="percent-encode the password",
        )
    for name, value in (settings or {}).items():
        keywords.setdefault(name, value)
    service = keywords.pop("service", None) or environ.get("PGSERVICE")
    if service:
        keywords = {**_read_service(service, environ), **keywords}
    for name, variable in VARIABLES.items():
        if environ.get(variable):
            keywords.setdefault(name, environ[variable])
    password = keywords.pop("password", None) or environ.get("PGPASSWORD") or None
    return ConnInfo(_with_defaults(keywords), password)


def _parse(text: str) -> dict[str, str]:
    import psycopg2.extensions

    plain = _DRIVER_TAG.sub(r"\1://", text.strip())
    # SQLAlchemy's asyncpg URLs say ssl=require for sslmode=require.
    plain = re.sub(r"(?<=[?&])ssl=", "sslmode=", plain)
    try:
        return dict(psycopg2.extensions.parse_dsn(plain)) if plain else {}
    except psycopg2.ProgrammingError as error:
        raise SettingsError(
            "database.url can't be read",
            why=_without_values(str(error).strip(), text),
            hint="write postgresql://user@host:5432/database; percent-encode special characters",
        ) from None


def _without_values(message: str, text: str) -> str:
    """Libpq quotes the part that it stumbles over, which can be a piece of the password."""
    message = redact(message, text)
    return re.sub(r'"([^"]*)"', lambda quoted: quoted[0] if quoted[1] in _KEYWORDS else '"…"', message)


def _read_service(name: str, environ: Mapping[str, str]) -> dict[str, str]:
    home = Path(environ["HOME"]) if environ.get("HOME") else Path.home()
    personal = Path(environ.get("PGSERVICEFILE") or home / ".pg_service.conf")
    shared = Path(environ.get("PGSYSCONFDIR") or "/etc/postgresql-common") / "pg_service.conf"
    for file in (personal, shared):
        parser = configparser.RawConfigParser(delimiters=("=",), comment_prefixes=("#",), strict=False)
        try:
            parser.read(file, encoding="utf-8")
        except (configparser.Error, UnicodeDecodeError) as error:
            raise SettingsError(f"service file {file} can't be read", why=redact(str(error))) from None
        if parser.has_section(name):
            return dict(parser.items(name))
    raise SettingsError(
        f"no service {name!r}", why=f"neither {personal} nor {shared} has it", hint=f"add a section [{name}]"
    )


def _with_defaults(keywords: dict[str, str]) -> dict[str, str]:
    # As libpq does: what is there and empty is the default, not the variable.
    keywords["port"] = keywords.get("port") or "5432"
    keywords["host"] = keywords.get("host") or keywords.get("hostaddr") or _default_host(keywords["port"])
    keywords["user"] = keywords.get("user") or getpass.getuser()
    keywords["dbname"] = keywords.get("dbname") or keywords["user"]
    _check_ports(keywords["port"])
    if not keywords.get("connect_timeout", "0").isdigit():
        raise SettingsError(
            "connect_timeout in the database's address is no number", hint="write whole seconds"
        )
    for name in ("sslrootcert", "sslcert", "sslkey", "sslcrl"):
        _check_file(name, keywords.get(name))
    if keywords["host"].startswith("/"):
        _check_socket(Path(keywords["host"]) / f".s.PGSQL.{keywords['port']}")
    return {name: value for name, value in keywords.items() if value}


def _default_host(port: str) -> str:
    folders = (Path(folder) for folder in _SOCKET_FOLDERS)
    return next((str(folder) for folder in folders if (folder / f".s.PGSQL.{port}").exists()), "localhost")


def _check_ports(ports: str) -> None:
    for port in ports.split(","):
        if not (port.isdigit() and 0 < int(port) <= _HIGHEST_PORT):
            # Not quoted: in user:password@host without the user and the @, it is the password.
            raise SettingsError(
                "the port in the database's address is not a port", hint="a port is a number from 1 to 65535"
            )


def _check_file(name: str, path: str | None) -> None:
    # Drivers say "No such file or directory" and leave the name out.
    if path and path != "system" and not os.access(Path(path).expanduser(), os.R_OK):
        why = f"{path} is not there, or we may not read it"
        raise SettingsError(f"{name} names no file", why=why, hint=f"mend database.{name}")


def _check_socket(socket: Path) -> None:
    length = len(str(socket).encode())
    if length > _SOCKET_LIMIT:
        raise SettingsError(
            f"socket path {socket} is too long",
            why=f"it has {length} bytes, the system allows {_SOCKET_LIMIT}",
            hint="name a shorter folder, or a symbolic link to it",
        )


def names_of_hosts(hosts: str, addresses: str = "") -> set[str]:
    """Every name and number by which the hosts (each list with commas) may be asked for; asks the resolver."""
    import socket

    names = {name for name in (*hosts.split(","), *addresses.split(",")) if name}
    for name in tuple(names):
        if not name.startswith("/"):
            try:
                names.update(str(found[4][0]) for found in socket.getaddrinfo(name, None))
            except OSError:
                continue
    return names


def elsewhere(database: str) -> str:
    """A database that every server has, and that is not this one: for who finds this one locked."""
    return "template1" if database == "postgres" else "postgres"
