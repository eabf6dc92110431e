"""One snapshot for all that a backup says: exported for pg_dump, counted by us."""

from __future__ import annotations

import asyncio
from collections.abc import Collection

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from dbctl.backup.model import Extension, Facts, Locale
from dbctl.backup.rows import count_large_objects, count_rows, read_tables
from dbctl.errors import Busy
from dbctl.postgres.alembic_version import read_versions

# pg_class is read by the snapshot, pg_relation_filenode() knows the present.
_REWRITTEN = """
    SELECT c.oid::regclass::text FROM pg_class AS c
     WHERE c.oid = ANY(CAST(:oids AS oid[])) AND pg_relation_filenode(c.oid) IS DISTINCT FROM c.relfilenode
     LIMIT 1
"""
_LOCALE = """
    SELECT pg_encoding_to_char(d.encoding), d.datcollate, d.datctype,
           coalesce(to_jsonb(d) ->> 'datlocprovider', 'c'),
           coalesce(to_jsonb(d) ->> 'datlocale', to_jsonb(d) ->> 'daticulocale')
      FROM pg_database AS d WHERE d.datname = current_database()
"""
# Roles that the dump will name. The bootstrap superuser is pinned, hence never in pg_shdepend.
_ROLES = """
    WITH member AS (SELECT classid, objid FROM pg_depend WHERE deptype = 'e'),
         named (role, classid, objid) AS (
            SELECT refobjid, classid, objid FROM pg_shdepend
             WHERE refclassid = 'pg_authid'::regclass AND deptype IN ('o', 'a', 'r')
               AND classid <> 'pg_extension'::regclass
               AND dbid = (SELECT oid FROM pg_database WHERE datname = current_database())
            UNION ALL SELECT relowner, tableoid, oid FROM pg_class
             WHERE oid >= 16384 AND relkind IN ('r', 'p', 'v', 'm', 'S', 'f') AND relpersistence <> 't'
            UNION ALL SELECT nspowner, tableoid, oid FROM pg_namespace WHERE oid >= 16384 AND nspname !~ '^pg_'
            UNION ALL SELECT proowner, tableoid, oid FROM pg_proc WHERE oid >= 16384)
    SELECT DISTINCT r.rolname FROM named JOIN pg_roles AS r ON r.oid = named.role
     WHERE (named.classid, named.objid) NOT IN (SELECT classid, objid FROM member) ORDER BY 1
"""
# Those that CREATE COLLATION made are in the archive themselves.
_COLLATIONS = """
    SELECT DISTINCT l.collname FROM pg_collation AS l
      JOIN (SELECT attcollation AS oid FROM pg_attribute WHERE attrelid >= 16384 AND attnum > 0 AND NOT attisdropped
             UNION SELECT unnest(indcollation) FROM pg_index WHERE indexrelid >= 16384
             UNION SELECT typcollation FROM pg_type WHERE oid >= 16384) AS used USING (oid)
     WHERE l.collnamespace = CAST('pg_catalog' AS regnamespace) AND l.collname NOT IN ('default', 'C', 'POSIX') ORDER BY 1
"""
SIZE = "SELECT pg_database_size(current_database())"
_EXTENSIONS = "SELECT extname, extversion FROM pg_extension ORDER BY extname"


async def export_snapshot(session: AsyncSession) -> str:
    """Fix what the session sees (REPEATABLE READ, READ ONLY) and return the snapshot's name for pg_dump."""
    options = {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True}
    await session.connection(execution_options=options)
    # A table whose rows row-level security would hide must be an error, as in pg_dump.
    await session.execute(text("SET LOCAL row_security = off"))
    return str(await session.scalar(text("SELECT pg_export_snapshot()")))


async def server_version(session: AsyncSession) -> tuple[str, int]:
    """The server's version as it says it, and its major (pg_settings)."""
    number = await session.scalar(text("SELECT current_setting('server_version_num')"))
    return str(await session.scalar(text("SELECT current_setting('server_version')"))), int(
        number or 0
    ) // 10000


async def read_facts(
    session: AsyncSession, *, start: asyncio.Event, only: Collection[int] | None, major: int, digests: bool
) -> Facts:
    """What the snapshot holds, read when ``start`` is set: pg_dump has its locks by then.

    Earlier, our own locks could queue a third session's ALTER between us and pg_dump, which would then
    wait for it while it waits for us. ``only`` those tables, by oid. Raises Busy for a table truncated or
    rewritten since the snapshot.
    """
    await start.wait()
    tables = await read_tables(session, only)
    encoding, collate, ctype, provider, name = (await session.execute(text(_LOCALE))).one()
    facts = Facts(
        locale=Locale(encoding, collate, ctype, provider, name),
        alembic_revisions=await _alembic_revisions(session),
        roles=tuple(await session.scalars(text(_ROLES))),
        extensions=tuple(Extension(*row) for row in await session.execute(text(_EXTENSIONS))),
        size_bytes=int(await session.scalar(text(SIZE)) or 0),
        collations=() if only is not None else tuple(await session.scalars(text(_COLLATIONS))),
        # After what is read by plain names: this changes the session's search_path.
        tables=await count_rows(session, tables, major, digests=digests),
        large_objects=await count_large_objects(session, major, digests=digests) if only is None else None,
    )
    await _check_not_rewritten(session, [one.oid for one in tables])
    return facts


async def _check_not_rewritten(session: AsyncSession, oids: list[int]) -> None:
    if name := await session.scalar(text(_REWRITTEN), {"oids": oids}):
        raise Busy(
            f"table {name} was truncated or rewritten while the backup began",
            why="its rows are no longer those of the snapshot",
            hint="try again",
        )


async def _alembic_revisions(session: AsyncSession) -> tuple[str, ...]:
    tables = await read_versions(await session.connection())
    return tuple(sorted({revision for table in tables for revision in table.revisions or ()}))
