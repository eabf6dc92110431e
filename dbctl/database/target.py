"""From an environment's settings to a database: the embedded server started, the password fetched."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from dbctl.database.conninfo import ConnInfo, parse_conninfo
from dbctl.database.engine import Database, open_database
from dbctl.database.password import PasswordSource, password_source
from dbctl.errors import SettingsError
from dbctl.settings import Loaded

if TYPE_CHECKING:
    from dbctl.postgres.embedded import EmbeddedServer

EMBEDDED_DATABASE = "app"


@dataclass(frozen=True, slots=True)
class Target:
    """A database that an environment names, ready to connect to."""

    environment: str
    conninfo: ConnInfo
    settings: Loaded
    password: PasswordSource

    def __str__(self) -> str:
        return f"{self.environment}: {self.conninfo}"

    async def with_password(self) -> ConnInfo:
        """Where to connect, the password in it: for programs that connect by themselves."""
        return self.conninfo.with_password(await self.password())

    def at(self, place: str) -> Target:
        """The same database and role on another server, ``host`` or ``host:port``, such as a standby."""
        host, colon, port = place.rpartition(":")
        has_port = colon and port.isdigit()
        elsewhere = {
            "host": host if has_port else place,
            "port": port if has_port else self.conninfo.port.partition(",")[0],
        }
        # What asks for the primary, or names its address, is not meant for this one.
        away = {"hostaddr", "target_session_attrs"}
        kept = {name: value for name, value in self.conninfo.keywords.items() if name not in away}
        conninfo = ConnInfo({**kept, **elsewhere}, self.conninfo.password)
        return replace(
            self, conninfo=conninfo, password=password_source(conninfo, self.settings.settings.database)
        )

    @asynccontextmanager
    async def open(self, *, application_name: str = "dbctl", **changes: float) -> AsyncIterator[Database]:
        """The environment's Database; ``changes`` are keys of [database], such as ``statement_timeout=0``."""
        settings = self.settings.settings.database.model_copy(update=changes)
        async with open_database(
            self.conninfo,
            settings,
            self.settings.settings.pool,
            application_name=application_name,
            password=self.password,
        ) as database:
            yield database


def uses_embedded(loaded: Loaded) -> bool:
    """Whether the environment's database is the embedded server: an address always wins over it."""
    return loaded.settings.server == "embedded" and loaded.settings.database.url is None


async def resolve_target(
    loaded: Loaded, environ: Mapping[str, str] | None = None, *, direct: bool = False
) -> Target:
    """Where the environment's database is; ``direct``: past a pooler, where there is one.

    Starts the embedded server where the settings ask for it.
    """
    environ = os.environ if environ is None else environ
    if uses_embedded(loaded):
        conninfo = ConnInfo(await asyncio.to_thread(start_embedded, loaded))
    else:
        conninfo = configured_conninfo(loaded, environ, direct=direct)
    if direct and loaded.settings.database.direct_url is not None:
        loaded = _past_the_pooler(loaded)
    return Target(loaded.environment, conninfo, loaded, password_source(conninfo, loaded.settings.database))


def _past_the_pooler(loaded: Loaded) -> Loaded:
    """The same settings without a pooler: sessions of the server's own, with all that they can."""
    settings = loaded.settings
    pool = settings.pool.model_copy(update={"pooler": None})
    return replace(loaded, settings=settings.model_copy(update={"pool": pool}))


def configured_conninfo(loaded: Loaded, environ: Mapping[str, str], *, direct: bool = False) -> ConnInfo:
    """What ``database.url`` (``direct``: ``database.direct_url``, if set) and libpq's variables say; asks nobody."""
    settings = loaded.settings.database
    url = (settings.direct_url if direct else None) or settings.url
    if url is None:
        raise SettingsError(
            f"environment {loaded.environment!r} has no database",
            why="database.url is not set",
            hint="set DATABASE_URL, or database.url in its file; a password belongs in a passfile",
        )
    tls = {name: getattr(settings, name) for name in ("sslmode", "sslrootcert", "sslcert", "sslkey")}
    return parse_conninfo(
        url.get_secret_value(),
        environ=environ,
        settings={name: str(value) for name, value in tls.items() if value is not None},
    )


def embedded_server(loaded: Loaded) -> EmbeddedServer:
    """The embedded server of an environment. Raises SettingsError where its database has an address."""
    if not uses_embedded(loaded):
        origin = loaded.origins.get("database.url", "its file")
        raise SettingsError(
            f"environment {loaded.environment!r} has no embedded server",
            why=f"its database's address comes from {origin}",
            hint='unset the address, or set server = "embedded"',
        )
    from dbctl.postgres.embedded import EmbeddedServer

    return EmbeddedServer(loaded.root / ".dbctl" / loaded.environment)


def start_embedded(loaded: Loaded) -> Mapping[str, str]:
    """Make sure that the embedded server runs and has its database: libpq's keywords for it. Blocks."""
    server = embedded_server(loaded)
    made = server.folder / f"{EMBEDDED_DATABASE}.made"
    if not (server.status().running and made.exists()):
        server.start()
        server.ensure_database(EMBEDDED_DATABASE)
        # Asking the server costs a process, at every command; killed before this, the next one asks again.
        made.touch()
    return {**server.params, "dbname": EMBEDDED_DATABASE}
