"""The table that a file's rows pass through: doubles and conflicts are found in it, by sets, before users change."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

from sqlalchemy import TextClause, text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from dbctl.errors import AlreadyExists, Busy
from dbctl.users.bulk import copy_rows
from dbctl.users.transfer.checking import Checked
from dbctl.users.transfer.model import WRITTEN, Rejected

if TYPE_CHECKING:
    from dbctl.users.transfer.model import OnConflict

_TABLE = "staged_users"
COLUMNS = Checked._fields[:-1]
_SHOWN_CONFLICTS = 5
_AT_ONCE = 1_000
TurnAway = Callable[[Rejected], None]

# Gone with the transaction: right behind a transaction pooler too.
_CREATE = text(
    """
    CREATE TEMPORARY TABLE staged_users (
        line bigint NOT NULL, username varchar(50) COLLATE "C", email varchar(255) COLLATE "C",
        full_name varchar(255), is_active boolean, is_superuser boolean, created_at timestamptz,
        updated_at timestamptz, hashed_password varchar(255), user_id bigint
    ) ON COMMIT DROP
    """
)
# A million rows are grouped in memory; the setting ends with the transaction.
_ROOM = text("SET LOCAL work_mem = '64MB'")
_ANALYZE = text("ANALYZE staged_users")

# Of two imports of the same users, in another order each, either would wait for rows of the other.
_ALONE = text("SELECT pg_advisory_xact_lock(hashtext('dbctl users import'))")

_SHOWN = "staged.line, staged.username, staged.email, staged.full_name, staged.is_active, staged.is_superuser"
_DOUBLES = {
    field: text(
        f"""
        WITH doubled AS (
            SELECT lower({field}) AS key, min(line) AS first FROM staged_users GROUP BY 1 HAVING count(*) > 1
        )
        DELETE FROM staged_users AS staged USING doubled
        WHERE lower(staged.{field}) = doubled.key AND staged.line > doubled.first
        RETURNING doubled.first, {_SHOWN}
        """  # noqa: S608 - two columns' names
    )
    for field in ("username", "email")
}
_CONFLICTS = text(
    """
    SELECT staged.line, 'username', staged.username FROM staged_users AS staged
    JOIN users ON lower(users.username) = lower(staged.username)
    UNION ALL
    SELECT staged.line, 'email', staged.email FROM staged_users AS staged
    JOIN users ON lower(users.email) = lower(staged.email)
    ORDER BY 1, 2 DESC LIMIT :most
    """
)
_INSERT = """
    INSERT INTO users (
        username, email, full_name, is_active, is_superuser, created_at, updated_at, hashed_password
    )
    SELECT username, email, full_name, coalesce(is_active, true), coalesce(is_superuser, false),
        coalesce(created_at, least(now(), updated_at)), coalesce(updated_at, greatest(now(), created_at)),
        coalesce(hashed_password, '!')
    FROM staged_users WHERE user_id IS NULL
"""
_INSERT_ALL = text(_INSERT)
_INSERT_NEW = text(f"{_INSERT} ON CONFLICT DO NOTHING")
_FIND_BY = {
    field: text(
        f"""
        UPDATE staged_users AS staged SET user_id = users.id FROM users
        WHERE lower(users.{field}) = lower(staged.{field}) AND staged.user_id IS NULL
        """  # noqa: S608 - two columns' names
    )
    for field in ("username", "email")
}
_TWO_USERS = text(
    f"""
    DELETE FROM staged_users AS staged USING users
    WHERE lower(users.email) = lower(staged.email) AND staged.user_id <> users.id
    RETURNING users.id, {_SHOWN}
    """  # noqa: S608 - constant names
)
_SAME_USER = text(
    f"""
    WITH doubled AS (
        SELECT user_id, min(line) AS first FROM staged_users
        WHERE user_id IS NOT NULL GROUP BY 1 HAVING count(*) > 1
    )
    DELETE FROM staged_users AS staged USING doubled
    WHERE staged.user_id = doubled.user_id AND staged.line > doubled.first
    RETURNING doubled.first, {_SHOWN}
    """  # noqa: S608 - constant names
)
# What a file leaves empty stays; updated_at is the trigger's.
_UPDATE = text(
    """
    UPDATE users SET username = staged.username, email = staged.email,
        full_name = coalesce(staged.full_name, users.full_name),
        is_active = coalesce(staged.is_active, users.is_active),
        is_superuser = coalesce(staged.is_superuser, users.is_superuser),
        hashed_password = coalesce(staged.hashed_password, users.hashed_password)
    FROM staged_users AS staged WHERE staged.user_id = users.id
    """
)


async def stage(session: AsyncSession, chunks: AsyncIterator[Iterable[tuple[Any, ...]]]) -> None:
    """COPY the rows, in the order of COLUMNS, into a fresh staging table of this transaction."""
    await session.execute(_ROOM)
    await session.execute(_CREATE)
    await copy_rows(session, _TABLE, chunks, COLUMNS)
    await session.execute(_ANALYZE)


async def wait_for_others(session: AsyncSession) -> None:
    """Let another import's transaction end that has begun to change users; until this one ends, others wait."""
    await session.execute(_ALONE)


async def take_doubles_out(session: AsyncSession, turn_away: TurnAway) -> None:
    """Turn away rows whose username or email an earlier row of the file has, whatever its case; the first one stays."""
    for field, statement in _DOUBLES.items():
        async for first, *row in _streamed(session, statement):
            turn_away(_rejected(row, field, f"it stands in line {first} too"))


async def count_staged(session: AsyncSession) -> int:
    """How many rows are left."""
    return int(await session.scalar(text("SELECT count(*) FROM staged_users")) or 0)


async def add_all(session: AsyncSession) -> int:
    """Add every row. Raises AlreadyExists where one is there, and names the first few."""
    try:
        async with session.begin_nested():
            return await _run(session, _INSERT_ALL)
    except IntegrityError as error:
        found = (await session.execute(_CONFLICTS, {"most": _SHOWN_CONFLICTS})).all()
        if not found:
            raise
        raise _conflict(found) from error


async def add_new(session: AsyncSession) -> int:
    """Add the rows whose username and email nobody has."""
    return await _run(session, _INSERT_NEW)


async def update_or_add(session: AsyncSession, turn_away: TurnAway) -> tuple[int, int]:
    """Update those that have the row's username or email, add the others: added, updated. What fits neither way is turned away.

    Raises Busy where somebody else adds one of them meanwhile.
    """
    for field in ("username", "email"):
        await session.execute(_FIND_BY[field])
    async for owner, *row in _streamed(session, _TWO_USERS):
        turn_away(_rejected(row, "email", f"user {owner} has it, and another one the username"))
    async for first, *row in _streamed(session, _SAME_USER):
        turn_away(_rejected(row, "username", f"line {first} is about the same user"))
    updated = await _run(session, _UPDATE)
    expected = await session.scalar(text("SELECT count(*) FROM staged_users WHERE user_id IS NULL"))
    added = await _run(session, _INSERT_NEW)
    if added != expected:
        raise Busy("somebody else adds the same users", hint="nothing was changed; run it again")
    return added, updated


async def apply(session: AsyncSession, on_conflict: OnConflict, turn_away: TurnAway) -> tuple[int, int, int]:
    """Bring the staged rows into users: added, updated, skipped."""
    if on_conflict == "update":
        return *await update_or_add(session, turn_away), 0
    if on_conflict == "skip":
        added = await add_new(session)
        return added, 0, await count_staged(session) - added
    return await add_all(session), 0, 0


async def _streamed(session: AsyncSession, statement: TextClause) -> AsyncIterator[Sequence[Any]]:
    """The rows, a few at a time: it may be all of a large file that are turned away."""
    async for row in await session.stream(statement, execution_options={"yield_per": _AT_ONCE}):
        yield row


async def _run(session: AsyncSession, statement: Any) -> int:
    result: Any = await session.execute(statement)
    return int(result.rowcount)


def _rejected(row: Sequence[Any], field: str, why: str) -> Rejected:
    line, *values = row
    return Rejected(line, field, why, dict(zip(WRITTEN, values, strict=False)))


def _conflict(found: Sequence[Any]) -> AlreadyExists:
    named = ", ".join(f"line {line}: {field} {value}" for line, field, value in found)
    return AlreadyExists(
        "users of the file are there already",
        field=found[0][1],
        why=f"{named}{', …' if len(found) == _SHOWN_CONFLICTS else ''}",
        hint="add --on-conflict skip or update; this transaction changed nothing",
    )
