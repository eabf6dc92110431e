"""Where sequences stand: no snapshot holds them, so that a dump's value lies between what was before and after it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Row, text

from dbctl.backup.model import SequenceSpan
from dbctl.database import Database
from dbctl.database.errors import sqlstate
from dbctl.errors import DbctlError
from dbctl.postgres.identifiers import quote_identifier

# to_regclass() knows the present, whatever the snapshot: one that was dropped since can't be read.
_SEQUENCES = """
    SELECT n.nspname AS schema, c.relname AS name, s.seqincrement AS step, s.seqcycle AS cycles
      FROM pg_sequence AS s JOIN pg_class AS c ON c.oid = s.seqrelid JOIN pg_namespace AS n ON n.oid = c.relnamespace
     WHERE c.relpersistence <> 't' AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
       AND has_schema_privilege(n.oid, 'USAGE') AND has_table_privilege(c.oid, 'SELECT')
       AND to_regclass(quote_ident(n.nspname) || '.' || quote_ident(c.relname)) IS NOT NULL
       AND NOT EXISTS (SELECT FROM pg_depend AS d WHERE d.deptype = 'e' AND d.classid = c.tableoid AND d.objid = c.oid)
     ORDER BY 1, 2
"""
_PATIENCE = "SELECT set_config('lock_timeout', :patience, true)"
# So many are read by one statement.
_AT_ONCE = 500
_GONE = "42P01"

Name = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Standing:
    """What a sequence gives next; ``step`` is by how much it goes on, and ``cycles`` whether it begins anew."""

    following: int
    step: int
    cycles: bool


async def read_sequences(database: Database, lock_wait: float) -> dict[Name, Standing]:
    """Each sequence that a dump holds, as it stands at this moment (pg_sequence, and the sequences themselves).

    Their locks are held no longer than that. Raises Busy for one that is locked longer than ``lock_wait`` seconds.
    """
    async with database.session() as session:
        rows = (await session.execute(text(_SEQUENCES))).all()
    found: dict[Name, Standing] = {}
    for start in range(0, len(rows), _AT_ONCE):
        found |= await _read(database, rows[start : start + _AT_ONCE], lock_wait)
    return found


async def _read(database: Database, rows: Sequence[Row[Any]], lock_wait: float) -> dict[Name, Standing]:
    """Some of them, in a transaction that gives their locks back: a server has room for a few thousand."""
    try:
        async with database.session() as session:
            connection = await session.connection()
            await connection.execute(text(_PATIENCE), {"patience": f"{round(lock_wait * 1000)}ms"})
            # As it is: a name may hold a colon.
            values = list((await connection.exec_driver_sql(_statement(rows))).scalars())
    except DbctlError as error:
        if sqlstate(error) != _GONE:
            raise
        # One was dropped a moment ago: of those beside it nothing is known, and nothing compared.
        return {}
    return {
        (row.schema, row.name): Standing(int(value), row.step, row.cycles)
        for row, value in zip(rows, values, strict=True)
    }


def spans_of(before: Mapping[Name, Standing], after: Mapping[Name, Standing]) -> tuple[SequenceSpan, ...]:
    """Between what each dumped sequence stands: of one that went back meanwhile, or may have, nobody knows."""
    return tuple(
        SequenceSpan(*name, *sorted((one.following, other.following)))
        for name, one in before.items()
        if (other := after.get(name)) is not None
        and (one.following == other.following or (not other.cycles and _went_on(one, other)))
    )


def compare_sequences(expected: Sequence[SequenceSpan], found: Mapping[Name, Standing]) -> Iterator[str]:
    """What does not stand where it was dumped, in sentences."""
    for one in expected:
        restored = found.get((one.schema, one.name))
        name = f"sequence {one.schema}.{one.name}"
        if restored is None:
            yield f"{name}: not restored"
        elif not one.least <= restored.following <= one.most:
            wanted = f"{one.least}" if one.least == one.most else f"{one.least} to {one.most}"
            yield f"{name}: {wanted} was to come next, {restored.following} restored"


def _went_on(one: Standing, other: Standing) -> bool:
    return (other.following > one.following) is (other.step > 0)


def _statement(rows: Sequence[Row[Any]]) -> str:
    each = (
        f"SELECT {number}, CASE WHEN is_called THEN last_value + CAST({row.step} AS numeric) ELSE last_value END AS following"  # noqa: S608 - quoted
        f" FROM {quote_identifier(row.schema)}.{quote_identifier(row.name)}"
        for number, row in enumerate(rows)
    )
    return f"SELECT following FROM ({' UNION ALL '.join(each)}) AS s (number, following) ORDER BY number"  # noqa: S608
