"""SQL that lets restored tables take the place of the live ones: printed for a person, and run by nobody here."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from sqlalchemy import Row, text

from dbctl.backup.connections import patient
from dbctl.backup.table_facts import Side
from dbctl.database import Target
from dbctl.postgres.identifiers import quote_identifier

# Names come out whole.
_NO_PATH = "SET LOCAL search_path TO pg_catalog"
_LIVE = """
    WITH RECURSIVE family (oid) AS (
        SELECT CAST(to_regclass(named) AS oid) FROM unnest(CAST(:names AS text[])) AS named WHERE to_regclass(named) IS NOT NULL
         UNION SELECT i.inhrelid FROM pg_inherits AS i JOIN family AS f ON i.inhparent = f.oid)
    SELECT c.oid, CAST(c.oid AS regclass)::text AS shown, quote_ident(pg_get_userbyid(c.relowner)) AS owner
      FROM family JOIN pg_class AS c USING (oid) ORDER BY c.oid
"""
_REFERRING = """
    SELECT CAST(conrelid AS regclass)::text AS shown, quote_ident(conname) AS name, pg_get_constraintdef(oid) AS definition
      FROM pg_constraint
     WHERE contype = 'f' AND conparentid = 0 AND confrelid = ANY (CAST(:oids AS oid[])) AND conrelid <> ALL (CAST(:oids AS oid[]))
     ORDER BY 1, 2
"""
_READING = """
    SELECT DISTINCT CAST(v.oid AS regclass)::text
      FROM pg_depend AS d JOIN pg_rewrite AS r ON r.oid = d.objid JOIN pg_class AS v ON v.oid = r.ev_class
     WHERE d.classid = CAST('pg_rewrite' AS regclass) AND d.refclassid = CAST('pg_class' AS regclass)
       AND d.refobjid = ANY (CAST(:oids AS oid[])) AND v.relkind IN ('v', 'm') ORDER BY 1
"""


async def swap_script(
    target: Target, found: Sequence[Side], schema: str, replaced: str, own: Sequence[str]
) -> str:
    """One transaction that puts the live tables into the schema ``replaced`` and those of ``schema`` in their place.

    ``own`` are the restored tables' foreign keys, triggers, policies and grants; foreign keys of other tables are
    made anew, and views that would still read what was replaced are named. Empty for a partition or child whose
    parent was not restored: what it would have to be attached to is for a person to say.
    """
    if any(one.strangers for one in found):
        return ""
    names = [one.shown for one in found]
    async with patient(target) as database, database.session() as session:
        await session.execute(text(_NO_PATH))
        live = (await session.execute(text(_LIVE), {"names": names})).all()
        oids = [one.oid for one in live]
        referring = (await session.execute(text(_REFERRING), {"oids": oids})).all()
        reading = list(await session.scalars(text(_READING), {"oids": oids}))
    moved = [*_away(live, referring, replaced), *_here(found, live, schema), *own]
    again = [f"ALTER TABLE {one.shown} ADD CONSTRAINT {one.name} {one.definition};" for one in referring]
    left = [f"-- {one} still reads the replaced table: define it anew" for one in reading]
    return "\n".join(["BEGIN;", *moved, *again, "COMMIT;", *left])


def _away(live: Sequence[Row[Any]], referring: Sequence[Row[Any]], replaced: str) -> Iterator[str]:
    if live:
        yield f"CREATE SCHEMA {quote_identifier(replaced)};"
    for one in referring:
        yield f"ALTER TABLE {one.shown} DROP CONSTRAINT {one.name};"
    for one in live:
        yield f"ALTER TABLE {one.shown} SET SCHEMA {quote_identifier(replaced)};"


def _here(found: Sequence[Side], live: Sequence[Row[Any]], schema: str) -> Iterator[str]:
    for one in found:
        there = f"{quote_identifier(schema)}.{quote_identifier(one.name)}"
        yield f"ALTER TABLE {there} SET SCHEMA {quote_identifier(one.schema)};"
    owners = {one.owner for one in live}
    if len(owners) == 1:
        for table in found:
            yield f"{table.alter} OWNER TO {next(iter(owners))};"
