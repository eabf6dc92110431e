"""What must be known of the target before it is copied: its version, its settings, what we may read of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

# What a session of ours has there, and what changes the meaning of DDL: casts to timestamptz, names without
# a schema, literals of dates and strings.
_SETTINGS = (
    "TimeZone",
    "DateStyle",
    "IntervalStyle",
    "search_path",
    "standard_conforming_strings",
    "default_text_search_config",
    "xmloption",
    "check_function_bodies",
)
_SERVER = """
SELECT current_setting('server_version') AS version,
       CAST(current_setting('server_version_num') AS int) AS number,
       pg_is_in_recovery() AS is_standby, CAST(current_user AS text) AS role,
       pg_encoding_to_char(encoding) AS encoding
  FROM pg_database WHERE datname = current_database()
"""
# "$user" means another schema on scratch, where we are somebody else.
_CURRENT = """
SELECT name, CASE WHEN name = 'search_path'
                  THEN replace(setting, '"$user"', quote_ident(CAST(current_user AS text))) ELSE setting END AS value
  FROM pg_settings WHERE name = ANY(:names)
"""
# pg_dump takes ACCESS SHARE on each table that it dumps, for which it needs a privilege on it.
_UNREADABLE = """
SELECT n.nspname, c.relname
  FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
 WHERE c.relkind IN ('r', 'p') AND c.relpersistence <> 't'
   AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
   AND NOT (has_schema_privilege(n.oid, 'USAGE') AND has_table_privilege(c.oid, 'SELECT'))
 ORDER BY 1, 2
"""
# Extensions, and whether anything that is not their own depends on what they brought.
_EXTENSIONS = """
WITH member AS (
    SELECT classid, objid, refobjid AS extension FROM pg_depend
     WHERE deptype = 'e' AND refclassid = CAST('pg_extension' AS regclass)
), used AS (
    SELECT DISTINCT m.extension
      FROM pg_depend AS d JOIN member AS m ON (m.classid, m.objid) = (d.refclassid, d.refobjid)
     WHERE NOT EXISTS (SELECT FROM member AS own WHERE (own.classid, own.objid) = (d.classid, d.objid))
       AND d.deptype IN ('n', 'a') AND d.classid <> CAST('pg_extension' AS regclass)
       -- An index's or a type's inner parts belong to it by deptype i, and to the extension through it.
       AND NOT EXISTS (SELECT FROM pg_depend AS inner_part JOIN member AS whole
                           ON (whole.classid, whole.objid) = (inner_part.refclassid, inner_part.refobjid)
                        WHERE (inner_part.classid, inner_part.objid) = (d.classid, d.objid)
                          AND inner_part.deptype = 'i')
)
SELECT e.extname, EXISTS (SELECT FROM used WHERE used.extension = e.oid) AS is_used FROM pg_extension AS e ORDER BY 1
"""
_PUBLIC = "SELECT EXISTS (SELECT FROM pg_namespace WHERE nspname = 'public')"
_ROLES = "SELECT rolname FROM pg_roles WHERE rolname !~ '^pg_' ORDER BY 1"
_POLICY_ROLES = r"""
SELECT DISTINCT r.rolname FROM pg_policy AS p CROSS JOIN LATERAL unnest(p.polroles) AS one
  JOIN pg_roles AS r ON r.oid = one
"""


@dataclass(frozen=True, slots=True)
class Server:
    """The target's server and session."""

    version: str
    number: int
    is_standby: bool
    role: str
    encoding: str
    settings: Mapping[str, str]

    @property
    def major(self) -> int:
        """The major version: 17 of 170010."""
        return self.number // 10000


@dataclass(frozen=True, slots=True)
class Contents:
    """What the target's copy must be prepared for.

    ``unreadable`` are tables (schema, name) that we may not read; ``extensions`` says of each whether the
    schema depends on it; ``policy_roles`` are named by row security policies, ``roles`` are all. ``has_public``: whether the schema public is there.
    """

    unreadable: tuple[tuple[str, str], ...]
    extensions: Mapping[str, bool]
    roles: tuple[str, ...]
    policy_roles: tuple[str, ...]
    has_public: bool


async def read_server(session: AsyncSession) -> Server:
    """Version, role and settings of our session (pg_settings)."""
    found = (await session.execute(text(_SERVER))).one()
    settings = await session.execute(text(_CURRENT), {"names": list(_SETTINGS)})
    return Server(
        version=found.version,
        number=found.number,
        is_standby=found.is_standby,
        role=found.role,
        encoding=found.encoding,
        settings={row.name: row.value for row in settings},
    )


async def read_contents(session: AsyncSession) -> Contents:
    """Tables out of reach, extensions and roles (pg_class, pg_extension, pg_depend, pg_roles, pg_policy)."""
    unreadable = await session.execute(text(_UNREADABLE))
    extensions = await session.execute(text(_EXTENSIONS))
    return Contents(
        unreadable=tuple((schema, name) for schema, name in unreadable),
        extensions={row.extname: row.is_used for row in extensions},
        roles=tuple(await session.scalars(text(_ROLES))),
        policy_roles=tuple(await session.scalars(text(_POLICY_ROLES))),
        has_public=bool(await session.scalar(text(_PUBLIC))),
    )
