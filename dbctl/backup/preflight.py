"""All that a restore would stumble over, found before the first change and told at once."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncConnection

from dbctl.backup.archive import Archive
from dbctl.backup.archive_tools import Tool, choose_tool
from dbctl.backup.model import Manifest
from dbctl.database import Target
from dbctl.errors import AlreadyExists, Refused
from dbctl.postgres.client import run_tool

_SERVER = """
    SELECT current_setting('server_version') AS version,
           CAST(current_setting('server_version_num') AS int) / 10000 AS major,
           pg_is_in_recovery() AS standby,
           (SELECT rolsuper OR rolcreatedb FROM pg_roles WHERE rolname = current_user) AS creates,
           (SELECT pg_has_role(datdba, 'MEMBER') FROM pg_database WHERE datname = :name) AS owns
"""
_MISSING_ROLES = """
    SELECT wanted FROM unnest(CAST(:names AS text[])) AS wanted
     WHERE wanted NOT IN (SELECT rolname FROM pg_roles)
"""
MISSING_EXTENSIONS = """
    SELECT wanted FROM unnest(CAST(:names AS text[])) AS wanted
     WHERE wanted NOT IN (SELECT name FROM pg_available_extensions)
"""


@dataclass(frozen=True, slots=True)
class Preflight:
    """What the restore works with; ``replaced`` is whether a database of that name is there."""

    pg_restore: Tool
    server_major: int
    replaced: bool


async def check_restore(
    maintenance: Target, archive: Archive, name: str, *, beside: bool, owners: bool
) -> Preflight:
    """Ask the server (pg_roles, pg_available_extensions, pg_database) and pg_restore; changes nothing.

    Raises Refused with everything that is missing, AlreadyExists where ``beside`` and the name is taken.
    """
    backup, manifest = archive.backup, archive.manifest
    archive.ensure_opens()
    pg_restore = await choose_tool("pg_restore", int(manifest.client_version.partition(".")[0]))
    problems = await archive_problems(pg_restore, archive)
    async with maintenance.open() as database, database.connect() as connection:
        server = (await connection.execute(text(_SERVER), {"name": name})).one()
        roles = await _missing(connection, _MISSING_ROLES, manifest.facts.roles) if owners else []
        extensions = await _missing(
            connection, MISSING_EXTENSIONS, [one.name for one in manifest.facts.extensions]
        )
    problems += _server_problems(server, manifest)
    if beside and server.owns is not None:
        raise AlreadyExists(
            f"database {name!r} is there already", field="name", hint="give --as another name"
        )
    if roles:
        problems.append(f"no role {', '.join(roles)}")
    if extensions:
        problems.append(f"the server has no extension {', '.join(extensions)}")
    if problems:
        hint = "create the roles, or add --no-owner: all then belongs to you, without grants" if roles else ""
        raise Refused(f"backup {backup.id} can't be restored here", why="; ".join(problems), hint=hint)
    return Preflight(pg_restore, server.major, server.owns is not None)


async def archive_problems(pg_restore: Tool, archive: Archive) -> list[str]:
    """What keeps this pg_restore from reading the archive; its table of contents is read."""
    listed = await run_tool(
        pg_restore.path,
        "--list",
        *archive.arguments,
        stdin=archive.stream(),
        environment={},
        accept=frozenset({0, 1}),
    )
    if listed.returncode:
        return [f"pg_restore {pg_restore.version} can't read the archive ({listed.stderr_tail})"]
    if "does not support" in listed.stderr_tail:
        return [
            f"pg_restore {pg_restore.version} ({pg_restore.path}) can't read {archive.manifest.compression}"
        ]
    return []


async def _missing(connection: AsyncConnection, statement: str, names: object) -> list[str]:
    return list(await connection.scalars(text(statement), {"names": names}))


def _server_problems(server: Row[Any], manifest: Manifest) -> Iterator[str]:
    if server.major < int(manifest.server_version.partition(".")[0]):
        yield f"the backup is of PostgreSQL {manifest.server_version}, this server is the older {server.version}"
    if server.standby:
        yield "this server is a standby"
    if not server.creates:
        yield "the role may not create databases (CREATEDB)"
    if server.owns is False:
        yield "the role does not own the database that it would replace"
