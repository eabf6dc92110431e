"""Points a project at scratch by every way that env.py files take to their database."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from typing import Any

from alembic.config import Config
from sqlalchemy import Connection, NullPool, create_engine

from dbctl.database import ConnInfo
from dbctl.database.conninfo import VARIABLES
from dbctl.migrate.environment import choose_driver, driver_url, read_source
from dbctl.migrate.project import Project
from dbctl.migrate.trace.scratch import Scratch

_SCHEME = re.compile(r"(postgres(?:ql)?(?:\+\w+)?)://", re.IGNORECASE)
_SEPARATOR = re.compile(r"[,\s]+")
_ATTRIBUTE = re.compile(r"\battributes\b")
# libpq would take them, and they would lead away or fail: the password, services, TLS.
_PG_VARIABLES = (*VARIABLES.values(), "PGPASSWORD", "PGSERVICE", "PGSERVICEFILE", "PGSYSCONFDIR")


def engines(config: Config, project: Project, scratch: Scratch) -> tuple[tuple[str, ConnInfo], ...]:
    """The project's engines by name, each with its database: one without a name, or those of ``databases``.

    The sections that Alembic's multidb template reads get their addresses.
    """
    listed = config.get_main_option("databases") or ""
    names = [name for name in _SEPARATOR.split(listed) if name]
    if not names:
        return (("", scratch.address),)
    found = []
    for number, name in enumerate(names):
        address = scratch.database(number)
        scheme = _SCHEME.match(config.get_section_option(name, "sqlalchemy.url") or "")
        driver = scheme[1] if scheme and "+" in scheme[1] else choose_driver(project)
        url = driver_url(address, driver).render_as_string(hide_password=False)
        config.set_section_option(name, "sqlalchemy.url", url.replace("%", "%%"))
        found.append((name, address))
    return tuple(found)


@contextmanager
def variables(project: Project, address: ConnInfo, names: Iterable[str]) -> Iterator[None]:
    """While it lasts, the process's environment leads to ``address``, in the words that each variable had.

    Redirected are ``names``, whether set or not, every other variable that holds a PostgreSQL URL, and libpq's.
    """
    kept = dict(os.environ)
    found = {name for name, value in kept.items() if _SCHEME.match(value)}
    try:
        for name in _PG_VARIABLES:
            os.environ.pop(name, None)
        os.environ.update(address.libpq_environment())
        if address.password:
            os.environ["PGPASSWORD"] = address.password
        for name in found | set(names):
            os.environ[name] = _url(address, _scheme(kept.get(name, ""), project))
        yield
    finally:
        # A project may have set some of its own meanwhile: load_dotenv() does.
        for name in set(os.environ) - set(kept):
            del os.environ[name]
        os.environ.update(kept)


class Attributes(dict[str, Any]):
    """``config.attributes`` with a connection in it, made when env.py takes it.

    ``offered`` false, only an env.py that insists gets one (``attributes["connection"]``): another makes its own
    with its own driver, which is the truer trace.
    """

    def __init__(self, address: ConnInfo) -> None:
        super().__init__()
        self.offered = False
        self._address = address
        self._made: list[Connection] = []

    def __missing__(self, name: str) -> Any:
        if name != "connection":
            raise KeyError(name)
        self[name] = self._connect()
        return self[name]

    def __contains__(self, name: object) -> bool:
        return (self.offered and name == "connection") or super().__contains__(name)

    def get(self, name: str, default: Any = None) -> Any:
        """As a dict's; a connection is there once it is offered."""
        return self[name] if self.offered and name == "connection" else super().get(name, default)

    def close(self) -> None:
        """Close the connections that were taken."""
        for connection in self._made:
            connection.close()
        self._made.clear()
        self.pop("connection", None)

    def _connect(self) -> Connection:
        engine = create_engine(self._address.psycopg2_url(), poolclass=NullPool)
        connection = engine.connect()
        # An env.py that was given an engine elsewhere asks it to connect.
        vars(connection)["connect"] = lambda: nullcontext(connection)
        self._made.append(connection)
        return connection


@contextmanager
def attributes(config: Config, project: Project, address: ConnInfo) -> Iterator[Attributes | None]:
    """Give ``config`` a connection for an env.py that mentions attributes; None for all others."""
    if not _ATTRIBUTE.search(read_source(project)):
        yield None
        return
    made = Attributes(address)
    made.update(config.attributes)
    vars(config)["attributes"] = made
    try:
        yield made
    finally:
        made.close()


def _scheme(value: str, project: Project) -> str:
    """What the variable's URL began with, else what this env.py is likely to expect of it."""
    if scheme := _SCHEME.match(value):
        return scheme[1]
    mentions_plain = re.search(r"postgres(ql)?://", read_source(project))
    return "postgresql" if mentions_plain else choose_driver(project)


def _url(address: ConnInfo, scheme: str) -> str:
    """The address as one URL that SQLAlchemy, libpq and asyncpg all understand."""
    words: Mapping[str, str] = {**address.keywords}
    query = {name: words[name] for name in ("host", "port")} if address.is_socket else {}
    if "sslmode" in words and not address.is_socket:
        query["ssl" if scheme.endswith("+asyncpg") else "sslmode"] = words["sslmode"]
    url = address.psycopg2_url().set(drivername=scheme, query=query)
    if not address.is_socket:
        url = url.set(host=address.host, port=int(address.port))
    return url.render_as_string(hide_password=False)
