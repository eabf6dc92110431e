"""What would make a dump fail half-way, or hold less than the database: found before it begins, told at once."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from dbctl.backup.selection import Chosen
from dbctl.errors import Refused

_FROM = """
      FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
     WHERE c.relpersistence <> 't' AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
       AND NOT EXISTS (SELECT FROM pg_depend AS d WHERE d.deptype = 'e'
                        AND d.classid = c.tableoid AND d.objid = c.oid)
       AND (CAST(:oids AS oid[]) IS NULL OR c.oid = ANY (CAST(:oids AS oid[])))
"""
_NAME = "quote_ident(n.nspname) || '.' || quote_ident(c.relname)"
_HIDING = f"SELECT {_NAME} {_FROM} AND c.relkind IN ('r', 'p') AND row_security_active(c.oid) ORDER BY 1"
_CLOSED = f"""
    SELECT {_NAME} {_FROM} AND c.relkind IN ('r', 'p', 'm', 'S')
       AND NOT (has_schema_privilege(n.oid, 'USAGE')
                AND CASE c.relkind WHEN 'S' THEN has_sequence_privilege(c.oid, 'SELECT')
                                   ELSE has_table_privilege(c.oid, 'SELECT') END)
     ORDER BY 1
"""
_LISTED = 5


async def refuse_obstacles(session: AsyncSession, chosen: Chosen) -> None:
    """Raise Refused for what the role may not read, and for rows that row-level security would hide from it.

    Sources: pg_class, has_table_privilege and its like, row_security_active. ``session`` is the snapshot's.
    """
    oids = None if chosen.oids is None else sorted(chosen.oids)
    closed = list(await session.scalars(text(_CLOSED), {"oids": oids}))
    hiding = list(await session.scalars(text(_HIDING), {"oids": oids}))
    problems = [
        *([f"permission denied: the role may not read {_some(closed)}"] if closed else []),
        *([f"row-level security would hide rows of {_some(hiding)}"] if hiding else []),
    ]
    if problems:
        raise Refused(
            "the dump would not hold all of the database",
            why="; ".join(problems),
            hint="connect as the owner, or as a role with pg_read_all_data and BYPASSRLS",
        )


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
    return ", ".join(names[:_LISTED]) + more
