"""Compares what a restore brought back with what the manifest says was there."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from sqlalchemy.ext.asyncio import AsyncSession

from dbctl.backup.model import Facts, TableRows
from dbctl.backup.rows import count_large_objects, count_rows, read_tables
from dbctl.backup.sequences import compare_sequences, read_sequences
from dbctl.database import Database

_LISTED = 5


async def compare_rows(session: AsyncSession, expected: Facts, major: int) -> tuple[str, ...]:
    """What differs in tables, rows, their content and large objects, in sentences; nothing where all is equal.

    Content where the manifest has digests of it. Sets settings of the session's transaction.
    """
    digests = has_digests(expected)
    found = await count_rows(session, await read_tables(session), major, digests=digests)
    problems = list(_differences(expected.tables, found))
    if expected.large_objects is not None:
        wanted = expected.large_objects
        large = await count_large_objects(session, major, digests=wanted.digest is not None)
        if large.count != wanted.count:
            problems.append(f"large objects: {wanted.count} in the manifest, {large.count} restored")
        elif wanted.digest is not None and large.digest not in {None, wanted.digest}:
            problems.append("large objects: other bytes than were dumped")
    return _some(problems)


async def compare_standings(database: Database, expected: Facts) -> tuple[str, ...]:
    """Which sequences would give other values next than the dumped ones: those that were given already, perhaps."""
    if not expected.sequences:
        return ()
    problems = tuple(compare_sequences(expected.sequences, await read_sequences(database, 0)))
    return _some(problems)


def has_digests(facts: Facts) -> bool:
    """Whether the manifest says anything of the rows' content."""
    return any(one.digest is not None for one in facts.tables)


def _some(problems: Sequence[str]) -> tuple[str, ...]:
    more = len(problems) - _LISTED
    return (*problems[:_LISTED], *((f"and {more} more",) if more > 0 else ()))


def _differences(expected: tuple[TableRows, ...], found: tuple[TableRows, ...]) -> Iterator[str]:
    wanted = {(one.schema, one.name): one for one in expected}
    restored = {(one.schema, one.name): one for one in found}
    for key in sorted(wanted.keys() | restored.keys()):
        one, other = wanted.get(key), restored.get(key)
        name = ".".join(key)
        if one is None or other is None or one.rows != other.rows:
            yield f"{name}: {_rows(one)} in the manifest, {_rows(other)} restored"
        elif one.digest != other.digest:
            yield f"{name}: its rows have other values than were dumped"


def _rows(table: TableRows | None) -> str:
    return "no table" if table is None else f"{table.rows}"
