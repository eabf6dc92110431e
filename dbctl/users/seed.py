"""Made-up users by the thousand: believable, unique by construction, the same for the same seed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from hashlib import blake2b
from typing import Any

from sqlalchemy import cast, func, select, text
from sqlalchemy.dialects.postgresql import REGCLASS
from sqlalchemy.ext.asyncio import AsyncSession

from dbctl.database.errors import sqlstate
from dbctl.errors import AlreadyExists, Invalid
from dbctl.users.model import Seeded
from dbctl.users.names import FIRST_NAMES, LAST_NAMES
from dbctl.users.orm import UserRow
from dbctl.users.rules import UNUSABLE

MAX_ROWS = 10_000_000
_REPORT_EVERY = 1_000
_TWO_YEARS_SECONDS = 2 * 365 * 86_400
# Names of the host that mail never reaches (RFC 2606).
_HOSTS = ("example.com", "example.org", "example.net")
_STYLES = ("{first}.{last}{number}", "{first}_{last}{number}", "{initial}{last}{number}")
_FIELDS = (
    "username",
    "email",
    "full_name",
    "hashed_password",
    "is_active",
    "created_at",
    "updated_at",
)
_LOCK = "dbctl users seed"
_UNIQUE_VIOLATION = "23505"
# What autovacuum would do a minute later: new statistics, and the search index's pending entries put in their
# place. Until then the planner guesses, and thinks the index dearer than reading the table.
_SETTLE = (
    "ANALYZE users",
    """
    SELECT gin_clean_pending_list(indexes.indexrelid)
    FROM pg_index AS indexes
    JOIN pg_class AS relations ON relations.oid = indexes.indexrelid
    JOIN pg_am AS methods ON methods.oid = relations.relam
    WHERE indexes.indrelid = CAST('users' AS regclass) AND methods.amname = 'gin'
    AND pg_has_role(relations.relowner, 'USAGE')
    """,
)

Row = tuple[str, str, str | None, str, bool, datetime, datetime]


async def seed(
    session: AsyncSession,
    count: int,
    *,
    seed: int = 42,
    progress: Callable[[int], None] = lambda _rows: None,
) -> Seeded:
    """Add ``count`` users by COPY, in the session's transaction; none can sign in with a password.

    Rows continue where the last seeding ended, so that each call adds others. ``progress`` takes how many
    rows are on their way. Raises AlreadyExists where a person's name is in the way; nothing is added then.
    """
    if not 1 <= count <= MAX_ROWS:
        raise Invalid("count", f"it must be from 1 to {MAX_ROWS}")
    first = await _next_row(session)
    now = (await session.scalars(select(func.now()))).one()
    await _copy(session, _reported((row(seed, first + i, now) for i in range(count)), progress))
    for statement in _SETTLE:
        await session.execute(text(statement))
    return Seeded(rows=count, first=first, seed=seed)


def row(seed: int, number: int, now: datetime) -> Row:
    """Row ``number`` of the series of ``seed``; its ages count back from ``now``.

    The number ends the username and no name holds a digit, so no two rows share one, whatever the seed.
    """
    chance = _Chance(seed, number)
    name, first = chance.pick(FIRST_NAMES)
    surname, last = chance.pick(LAST_NAMES)
    style: str = chance.pick(_STYLES)
    username = style.format(first=first, last=last, initial=first[0], number=number)
    created_seconds = chance.below(_TWO_YEARS_SECONDS)
    updated_seconds = chance.below(created_seconds + 1)
    return (
        username,
        f"{username}@{chance.pick(_HOSTS)}",
        f"{name} {surname}" if chance.below(40) else None,
        UNUSABLE,
        chance.below(20) > 0,
        now - timedelta(seconds=created_seconds),
        now - timedelta(seconds=updated_seconds),
    )


class _Chance:
    """A stream of choices that only ``seed`` and ``number`` decide."""

    def __init__(self, seed: int, number: int) -> None:
        self._bits = int.from_bytes(blake2b(b"%d:%d" % (seed, number), digest_size=16).digest())

    def below(self, bound: int) -> int:
        self._bits, choice = divmod(self._bits, bound)
        return choice

    def pick(self, choices: tuple[Any, ...]) -> Any:
        return choices[self.below(len(choices))]


async def _next_row(session: AsyncSession) -> int:
    """One more than the last id given out, rolled-back ones too: no row number is used twice.

    The lock, held to the end of the transaction, keeps two seedings from the same numbers.
    """
    await session.execute(select(func.pg_advisory_xact_lock(func.hashtext(_LOCK))))
    sequence = func.pg_get_serial_sequence(UserRow.__tablename__, "id")
    last = await session.scalar(select(func.pg_sequence_last_value(cast(sequence, REGCLASS))))
    return int(last or 0) + 1


def _reported(rows: Iterator[Row], progress: Callable[[int], None]) -> Iterator[Row]:
    done = 0
    for done, made in enumerate(rows, start=1):
        yield made
        if done % _REPORT_EVERY == 0:
            progress(done)
    progress(done)


async def _copy(session: AsyncSession, rows: Iterator[Row]) -> None:
    """COPY through the session's own asyncpg connection: the savepoint has begun a transaction on it."""
    try:
        async with session.begin_nested():
            raw = await (await session.connection()).get_raw_connection()
            driver: Any = raw.driver_connection
            await driver.copy_records_to_table(UserRow.__tablename__, records=rows, columns=_FIELDS)
    except Exception as error:
        if sqlstate(error) != _UNIQUE_VIOLATION:
            raise
        raise AlreadyExists(
            "a made-up user has the username of a real one",
            why="nothing was added",
            hint="run it again: other users will be made up",
        ) from None
