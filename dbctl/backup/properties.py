"""What belongs to a database but is not in its dump: owner, grants, settings, limits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncSession

from dbctl.database import Database, Target
from dbctl.errors import DbctlError
from dbctl.postgres.identifiers import quote_identifier

_DATABASE = """
    SELECT pg_get_userbyid(datdba) AS owner, datconnlimit AS connections, datacl IS NOT NULL AS granted
      FROM pg_database WHERE datname = :name
"""
_GRANTS = """
    SELECT coalesce(quote_ident(r.rolname), 'PUBLIC') AS grantee, a.privilege_type, a.is_grantable
      FROM pg_database AS d CROSS JOIN LATERAL aclexplode(d.datacl) AS a LEFT JOIN pg_roles AS r ON r.oid = a.grantee
     WHERE d.datname = :name
"""
_SETTINGS = """
    SELECT r.rolname AS role, split_part(one, '=', 1) AS key, substr(one, strpos(one, '=') + 1) AS value
      FROM pg_db_role_setting AS s JOIN pg_database AS d ON d.oid = s.setdatabase
      CROSS JOIN LATERAL unnest(s.setconfig) AS one LEFT JOIN pg_roles AS r ON r.oid = s.setrole
     WHERE d.datname = :name
"""


@dataclass(frozen=True, slots=True)
class _Change:
    """A statement about the new database, and the setting that the session must have for it."""

    statement: str
    setting: tuple[str, str] | None = None


async def copy_properties(maintenance: Target, source: str, copy: str) -> tuple[str, ...]:
    """Give ``copy`` what ``source`` has (pg_database, pg_db_role_setting); a note for each that can't be given."""
    async with maintenance.open() as database:
        async with database.session() as session:
            changes = await _changes(session, source, copy)
        notes = [await _apply(database, change) for change in changes]
    return tuple(note for note in notes if note)


async def _changes(session: AsyncSession, source: str, copy: str) -> list[_Change]:
    name, quoted = {"name": source}, quote_identifier(copy)
    known = (await session.execute(text(_DATABASE), name)).one()
    settings = (await session.execute(text(_SETTINGS), name)).all()
    grants = (await session.execute(text(_GRANTS), name)).all()
    return [
        _Change(f"ALTER DATABASE {quoted} CONNECTION LIMIT {known.connections:d}"),
        *(_setting(quoted, one) for one in settings),
        _Change(f"ALTER DATABASE {quoted} OWNER TO {quote_identifier(known.owner)}"),
        *([_Change(f"REVOKE ALL ON DATABASE {quoted} FROM PUBLIC")] if known.granted else []),
        *(_grant(quoted, one) for one in grants),
    ]


def _setting(quoted: str, found: Row[Any]) -> _Change:
    # FROM CURRENT, because a list such as search_path must not be quoted as one value.
    key = ".".join(quote_identifier(part) for part in found.key.split("."))
    whose = f"ROLE {quote_identifier(found.role)} IN DATABASE" if found.role else "DATABASE"
    return _Change(f"ALTER {whose} {quoted} SET {key} FROM CURRENT", (found.key, found.value))


def _grant(quoted: str, found: Row[Any]) -> _Change:
    option = " WITH GRANT OPTION" if found.is_grantable else ""
    return _Change(f"GRANT {found.privilege_type} ON DATABASE {quoted} TO {found.grantee}{option}")


async def _apply(database: Database, change: _Change) -> str:
    try:
        async with database.session() as session:
            if change.setting:
                key, value = change.setting
                await session.execute(
                    text("SELECT set_config(:key, :value, true)"), {"key": key, "value": value}
                )
            await (await session.connection()).exec_driver_sql(change.statement)
    except DbctlError as error:
        return f"not carried over: {change.statement} ({error.why})"
    return ""
