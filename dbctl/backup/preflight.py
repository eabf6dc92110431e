"""All that a restore would stumble over, found before the first change and told at once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncConnection

from dbctl.backup.archive import Archive
from dbctl.backup.archive_tools import Tool, choose_tool
from dbctl.backup.model import Manifest
from dbctl.backup.needs import Missing, Needs, read_needs
from dbctl.backup.restore_model import RestoreOptions
from dbctl.backup.server_checks import check_names, check_occupants, check_room, check_server
from dbctl.database import Target
from dbctl.errors import AlreadyExists, Refused
from dbctl.postgres.client import run_tool

_SERVER = """
    SELECT current_setting('server_version') AS version,
           CAST(current_setting('server_version_num') AS int) / 10000 AS major,
           pg_is_in_recovery() AS standby, current_user AS me,
           (SELECT rolsuper FROM pg_roles WHERE rolname = current_user) AS super,
           (SELECT rolsuper OR rolcreatedb FROM pg_roles WHERE rolname = current_user) AS creates,
           (SELECT 'lz4' = ANY (enumvals) FROM pg_settings WHERE name = 'wal_compression') AS lz4,
           (SELECT pg_get_userbyid(datdba) FROM pg_database WHERE datname = :name) AS owner,
           (SELECT pg_has_role(datdba, 'MEMBER') FROM pg_database WHERE datname = :name) AS owns
"""
MISSING_EXTENSIONS = """
    SELECT wanted FROM unnest(CAST(:names AS text[])) AS wanted
     WHERE wanted NOT IN (SELECT name FROM pg_available_extensions)
"""
_OTHER_VERSIONS = """
    SELECT name, default_version FROM pg_available_extensions WHERE name = ANY (CAST(:names AS text[]))
"""
_OTHER_TOOL = "install the PostgreSQL client of the version and build that wrote the backup"


@dataclass(frozen=True, slots=True)
class Preflight:
    """What the restore works with; ``replaced`` is whether a database of that name is there.

    ``lz4``: whether our sessions may compress what they write to the WAL, which is most of a restore's writing.
    """

    pg_restore: Tool
    server_major: int
    replaced: bool
    notes: tuple[str, ...] = ()
    lz4: bool = False


async def check_restore(
    maintenance: Target, archive: Archive, name: str, options: RestoreOptions
) -> Preflight:
    """Ask the server (pg_roles, pg_available_extensions, pg_database, …) and pg_restore; changes nothing.

    Raises Refused with everything that is missing and what mends each, AlreadyExists where the name to
    restore beside is taken.
    """
    backup, manifest = archive.backup, archive.manifest
    pg_restore = await choose_tool("pg_restore", int(manifest.client_version.partition(".")[0]))
    missing = _closed(archive)
    if not missing:
        missing += [Missing(what, _OTHER_TOOL) for what in await archive_problems(pg_restore, archive)]
    needs = Needs() if missing else await read_needs(pg_restore, archive)
    async with maintenance.open() as database, database.connect() as connection:
        server = (await connection.execute(text(_SERVER), {"name": name})).one()
        if options.beside and server.owns is not None:
            raise AlreadyExists(
                f"database {name!r} is there already", field="name", hint="give --as another name"
            )
        missing += check_server(server, manifest)
        missing += await check_names(connection, manifest, needs, options)
        missing += await check_occupants(connection, name)
        missing += await check_room(connection, manifest, options)
        notes = await _notes(connection, manifest)
    if missing:
        raise Refused(
            f"backup {backup.id} can't be restored here",
            why="; ".join(one.what for one in missing),
            hint="; ".join(dict.fromkeys(one.mend for one in missing)),
        )
    return Preflight(
        pg_restore, server.major, server.owns is not None, notes, bool(server.super and server.lz4)
    )


def _closed(archive: Archive) -> list[Missing]:
    """The key that is missing: what the archive names can't be read then, what its manifest names can."""
    try:
        archive.ensure_opens()
    except Refused as error:
        return [Missing(str(error), error.hint)]
    return []


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


async def _notes(connection: AsyncConnection, manifest: Manifest) -> tuple[str, ...]:
    """Extensions that come in another version: a dump asks for the server's default one."""
    had = {one.name: one.version for one in manifest.facts.extensions}
    found: list[Row[Any]] = list(await connection.execute(text(_OTHER_VERSIONS), {"names": list(had)}))
    return tuple(
        f"extension {one.name} comes in version {one.default_version}, the backup had {had[one.name]}"
        for one in found
        if one.default_version != had[one.name]
    )
