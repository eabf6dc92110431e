"""What of a backup's needs a server lacks: one function a topic, each with what mends it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncConnection

from dbctl.backup.model import Manifest
from dbctl.backup.needs import Missing, Needs
from dbctl.backup.restore_model import RestoreOptions
from dbctl.postgres.identifiers import quote_identifier

_MISSING = {
    "role": "SELECT rolname FROM pg_roles",
    "tablespace": "SELECT spcname FROM pg_tablespace",
    "extension": "SELECT name FROM pg_available_extensions",
    "collation": "SELECT collname FROM pg_collation WHERE collnamespace = CAST('pg_catalog' AS regnamespace)",
}
# ALTER … OWNER TO wants a role that we may become.
_FOREIGN = """
    SELECT rolname FROM pg_roles WHERE rolname = ANY (CAST(:names AS text[])) AND NOT pg_has_role(oid, 'MEMBER')
"""
_UNTOUCHABLE = """
    SELECT a.pid, a.usename FROM pg_stat_activity AS a JOIN pg_roles AS r ON r.oid = a.usesysid
     WHERE a.datname = :name
       AND NOT (SELECT m.rolsuper OR (NOT r.rolsuper AND (pg_has_role(r.oid, 'MEMBER')
                                                          OR pg_has_role('pg_signal_backend', 'MEMBER')))
                  FROM pg_roles AS m WHERE m.rolname = current_user)
     ORDER BY a.pid
"""
_PREPARED = "SELECT gid FROM pg_prepared_xacts WHERE database = :name ORDER BY prepared"
# Only who connects by a Unix socket is on the same machine for sure.
_DATA_FOLDER = """
    SELECT setting FROM pg_settings WHERE name = 'data_directory' AND inet_server_addr() IS NULL
"""


def check_server(server: Row[Any], manifest: Manifest) -> Iterator[Missing]:
    """Its version, its state, and what our role may do there."""
    major, me = manifest.server_version.partition(".")[0], quote_identifier(server.me)
    if server.major < int(major):
        yield Missing(
            f"the backup is of PostgreSQL {manifest.server_version}, this server is the older {server.version}",
            f"restore into PostgreSQL {major} or newer",
        )
    if server.standby:
        yield Missing("this server is a standby", "connect to its primary")
    if not server.creates:
        yield Missing("the role may not create databases (CREATEDB)", f"ALTER ROLE {me} CREATEDB")
    if server.owns is False:
        yield Missing(
            "the role does not own the database that it would replace",
            f"connect as {server.owner} or as a member of it",
        )


async def check_names(
    connection: AsyncConnection,
    manifest: Manifest,
    needs: Needs,
    options: RestoreOptions,
) -> list[Missing]:
    """Roles, extensions, collations and tablespaces that the archive names.

    Sources: pg_roles, pg_available_extensions, pg_collation, pg_tablespace.
    """
    facts, found = manifest.facts, []
    if options.owners:
        if roles := await _absent(connection, "role", {*facts.roles, *needs.owners}):
            found.append(Missing(f"no role {', '.join(roles)}", _roles_mend(roles)))
        foreign = list(await connection.scalars(text(_FOREIGN), {"names": list(needs.owners)}))
        if foreign:
            who = ", ".join(foreign)
            found.append(
                Missing(
                    f"the role may give nothing to {who}", f"add --no-owner, or connect as a member of {who}"
                )
            )
    if extensions := await _absent(connection, "extension", {one.name for one in facts.extensions}):
        names = ", ".join(extensions)
        found.append(
            Missing(f"the server has no extension {names}", f"install {names} on the server's machine")
        )
    if collations := await _absent(connection, "collation", {*facts.collations}):
        names = ", ".join(collations)
        mend = f"install the locales of {names} on the server's machine, then SELECT pg_import_system_collations('pg_catalog')"
        found.append(Missing(f"no collation {names}", mend))
    if options.tablespaces and (spaces := await _absent(connection, "tablespace", {*needs.tablespaces})):
        create = "; ".join(f"CREATE TABLESPACE {quote_identifier(one)} LOCATION '…'" for one in spaces)
        found.append(Missing(f"no tablespace {', '.join(spaces)}", f"{create}, or add --no-tablespaces"))
    return found


async def check_occupants(connection: AsyncConnection, name: str) -> list[Missing]:
    """Who is in the database and could not be sent away for the swap (pg_stat_activity, pg_prepared_xacts)."""
    found = [
        Missing(
            f"session {one.pid} of {one.usename} is in the database, and the role may not end it",
            f"as a superuser: SELECT pg_terminate_backend({one.pid})",
        )
        for one in await connection.execute(text(_UNTOUCHABLE), {"name": name})
    ]
    for gid in await connection.scalars(text(_PREPARED), {"name": name}):
        quoted = "'" + gid.replace("'", "''") + "'"
        found.append(
            Missing(f"a prepared transaction {gid!r} is in the database", f"ROLLBACK PREPARED {quoted} there")
        )
    return found


async def check_room(
    connection: AsyncConnection, manifest: Manifest, options: RestoreOptions
) -> list[Missing]:
    """Whether the disk has as much room as the database took, where the server is this machine (data_directory)."""
    folder = await connection.scalar(text(_DATA_FOLDER)) if options.room else None
    try:
        known = os.statvfs(folder) if folder else None
    except OSError:
        known = None
    if known is None or (free := known.f_bavail * known.f_frsize) >= manifest.facts.size_bytes:
        return []
    wanted = manifest.facts.size_bytes
    return [
        Missing(
            f"the database took {wanted >> 20} MiB, the server's disk has {free >> 20} MiB free",
            "free some, or add --no-room-check: it may have been bloated",
        )
    ]


def _roles_mend(roles: list[str]) -> str:
    create = "; ".join(f"CREATE ROLE {quote_identifier(one)}" for one in roles)
    return f"{create}, or add --no-owner: all then belongs to you, without grants"


async def _absent(connection: AsyncConnection, kind: str, names: set[str]) -> list[str]:
    there = set(await connection.scalars(text(_MISSING[kind])))
    return sorted(names - there)
