"""Does an environment work: its settings, its address, its login, the programs that it needs."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from dataclasses import dataclass

from sqlalchemy import text

from dbctl.database.target import Target, configured_conninfo, resolve_target, uses_embedded
from dbctl.errors import DbctlError
from dbctl.postgres.binaries import find_client
from dbctl.settings import Loaded

OLDEST_MAJOR = 13

# pg_stat_ssl of our own backend; version and role as the server sees them.
_LOGIN = text(
    "SELECT current_setting('server_version') AS version,"
    " current_setting('server_version_num')::int / 10000 AS major, current_user AS role,"
    " (SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()) AS tls"
)


@dataclass(frozen=True, slots=True)
class Checked:
    """One thing that was tried: ``ok``, what was seen, and what to do where it is not well."""

    check: str
    ok: bool
    detail: str
    fix: str = ""


async def check_environment(loaded: Loaded, *, connect: bool) -> list[Checked]:
    """Try the environment, as far as it works; ``connect`` false reads files and variables only."""
    checked = [_settings(loaded), _address(loaded)]
    if connect and all(one.ok for one in checked):
        checked += [one async for one in _login(loaded)]
    return checked


def _settings(loaded: Loaded) -> Checked:
    detail = f"{len(loaded.origins)} values set" + (", protected" if loaded.settings.protected else "")
    if loaded.warnings:
        return Checked(
            "settings", ok=False, detail="; ".join(loaded.warnings), fix="mend or unset the variable"
        )
    return Checked("settings", ok=True, detail=detail)


def _address(loaded: Loaded) -> Checked:
    if uses_embedded(loaded):
        return Checked("address", ok=True, detail="the embedded PostgreSQL")
    try:
        return Checked("address", ok=True, detail=str(configured_conninfo(loaded, os.environ)))
    except DbctlError as error:
        return _failed("address", error)


async def _login(loaded: Loaded) -> AsyncIterator[Checked]:
    try:
        target = await resolve_target(loaded)
        version, major, role, tls = await _ask(target)
    except DbctlError as error:
        yield _failed("login", error)
        return
    place = "Unix socket" if target.conninfo.is_socket else ("TLS" if tls else "no TLS")
    yield Checked("login", ok=True, detail=f"as {role}, {place}")
    fix = "" if major >= OLDEST_MAJOR else f"dbctl knows PostgreSQL {OLDEST_MAJOR} and later: upgrade it"
    yield Checked("server", ok=not fix, detail=f"PostgreSQL {version}", fix=fix)
    try:
        yield Checked("pg_dump", ok=True, detail=str(await asyncio.to_thread(find_client, "pg_dump", major)))
    except DbctlError as error:
        yield _failed("pg_dump", error)


async def _ask(target: Target) -> tuple[str, int, str, bool]:
    async with target.open() as database, database.connect() as connection:
        row = (await connection.execute(_LOGIN)).one()
        return row.version, row.major, row.role, row.tls


def _failed(check: str, error: DbctlError) -> Checked:
    return Checked(check, ok=False, detail=str(error), fix=error.hint)
