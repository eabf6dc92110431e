"""Takes people out of a restored database before anybody gets to see it: other values, and none of the old ones left."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from dbctl.backup.connections import patient, run_ddl
from dbctl.backup.mask_rules import Column, Place, choose_places, read_columns, updates
from dbctl.database import Target
from dbctl.errors import Failed
from dbctl.postgres.identifiers import quote_identifier

_TRIGGERS = """
    SELECT n.nspname, c.relname, t.tgname, t.tgenabled = 'A' AS always
      FROM pg_trigger AS t JOIN pg_class AS c ON c.oid = t.tgrelid JOIN pg_namespace AS n ON n.oid = c.relnamespace
     WHERE NOT t.tgisinternal AND t.tgenabled IN ('O', 'A')
       AND c.oid IN (SELECT relid FROM pg_partition_tree(CAST(CAST(:oid AS bigint) AS oid))
                     UNION SELECT CAST(CAST(:oid AS bigint) AS oid))
"""
_VIEWS = """
    SELECT quote_ident(n.nspname) || '.' || quote_ident(c.relname)
      FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
     WHERE c.relkind = 'm' AND c.relispopulated ORDER BY c.oid
"""
_ORIGINALS = "CREATE TEMPORARY TABLE dbctl_originals (value text PRIMARY KEY)"
_SUSPICIOUS = (
    "mail",
    "phone",
    "mobile",
    "birth",
    "passw",
    "secret",
    "token",
    "iban",
    "address",
    "ip_addr",
    "full_name",
)
_NOT_SEEN = "only whole addresses and hashes were searched for elsewhere: names, arrays, longer texts and JSON outside of rules were not"
_LISTED = 8
# Such as the mark of a password that is none.
_SHORTEST = 3


async def mask_database(target: Target, rules: Mapping[str, str]) -> tuple[str, ...]:
    """Give every column that a rule names other values; notes on columns that look as if they wanted one.

    One UPDATE a table and one a path, in one transaction, its triggers off; then no column of text anywhere may still hold
    an old value that no two people share (an address, a hash), and what the tables held before is removed
    from their files. Raises Refused for a rule that fits nothing, Failed where an old value is left.
    """
    async with patient(target) as database:
        async with database.session() as session:
            columns = await read_columns(session)
            chosen = choose_places(columns, rules)
            notes = await _note_originals(session, chosen)
            for oid in sorted({one.column.oid for one in chosen}):
                await _mask(session, [one for one in chosen if one.column.oid == oid])
            # Copies of the rows: those of views must not be forgotten.
            for view in list(await session.scalars(text(_VIEWS))):
                await (await session.connection()).exec_driver_sql(f"REFRESH MATERIALIZED VIEW {view}")
            await _check_none_left(session, columns)
            await session.execute(text("DROP TABLE dbctl_originals"))
        shown = sorted({one.column.table for one in chosen})
        await run_ddl(database, *(f"VACUUM FULL {table}" for table in shown))
    done = ", ".join(sorted(f"{one.name} ({one.rule})" for one in chosen))
    return (f"masked: {done}", _NOT_SEEN, *notes, *_suspects(columns, chosen))


async def _note_originals(session: AsyncSession, chosen: Sequence[Place]) -> tuple[str, ...]:
    """Keep, until the end of the session, the values that point to one person; notes on keys that are in no row."""
    connection = await session.connection()
    await connection.exec_driver_sql(_ORIGINALS)
    notes = []
    for one in chosen:
        if one.rule in {"email", "password"}:
            statement = (
                f"INSERT INTO dbctl_originals SELECT DISTINCT {one.value} FROM {one.column.table}"  # noqa: S608 - quoted
                f" WHERE length({one.value}) > {_SHORTEST} ON CONFLICT DO NOTHING"
            )
            await connection.exec_driver_sql(statement)
        if one.path:
            # A key that is misspelt would mask nothing, and say nothing.
            statement = f"SELECT EXISTS (SELECT FROM {one.column.table} WHERE {one.value} IS NOT NULL)"  # noqa: S608
            if not (await connection.exec_driver_sql(statement)).scalar_one():
                notes.append(f"no row has anything at {one.name}: is the rule's path right?")
    await session.execute(text("ANALYZE dbctl_originals"))
    return tuple(notes)


async def _mask(session: AsyncSession, chosen: Sequence[Place]) -> None:
    """Update one table's columns. Row-level security that would hide rows from us is an error, not a gap."""
    table = chosen[0].column
    found = (await session.execute(text(_TRIGGERS), {"oid": table.oid})).all()
    triggers = [
        (
            f"ALTER TABLE {quote_identifier(schema)}.{quote_identifier(name)}",
            quote_identifier(trigger),
            always,
        )
        for schema, name, trigger, always in found
    ]
    connection = await session.connection()
    await connection.exec_driver_sql("SET LOCAL row_security = off")
    for alter, trigger, _ in triggers:
        await connection.exec_driver_sql(f"{alter} DISABLE TRIGGER {trigger}")
    # The salt is nowhere afterwards: nobody can try addresses and compare.
    salt = secrets.token_hex(16)
    for update in updates(chosen):
        # As it is: a name may hold a colon.
        await connection.exec_driver_sql(f"UPDATE {table.table} {update}", (salt,))
    # A table with checks still to be done can't be altered.
    await connection.exec_driver_sql("SET CONSTRAINTS ALL IMMEDIATE")
    for alter, trigger, always in triggers:
        await connection.exec_driver_sql(f"{alter} ENABLE {'ALWAYS ' if always else ''}TRIGGER {trigger}")


async def _check_none_left(session: AsyncSession, columns: Sequence[Column]) -> None:
    left = []
    connection = await session.connection()
    for one in columns:
        if one.is_text:
            statement = (
                f"SELECT EXISTS (SELECT FROM {one.table} AS t JOIN dbctl_originals AS o"  # noqa: S608 - quoted
                f" ON o.value = CAST(t.{one.quoted} AS text))"
            )
            if (await connection.exec_driver_sql(statement)).scalar_one():
                left.append(one.name)
    if left:
        raise Failed(
            f"masked data is still in {', '.join(left[:_LISTED])}",
            why="there are addresses or hashes there that were masked elsewhere",
            hint="add rules for them to [backup.mask]; nothing was replaced",
        )


def _suspects(columns: Sequence[Column], chosen: Sequence[Place]) -> tuple[str, ...]:
    masked = {one.column.name for one in chosen}
    names = [
        one.name
        for one in columns
        if one.is_stored
        and one.name not in masked
        and any(word in one.column.lower() for word in _SUSPICIOUS)
    ]
    if not names:
        return ()
    more = f" and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
    return (f"not masked, though its name sounds personal: {', '.join(names[:_LISTED])}{more}",)
