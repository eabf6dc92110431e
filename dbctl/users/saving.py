"""Saves a row under a savepoint: a refused one leaves the caller's transaction usable, and says its field."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager

from sqlalchemy import func, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from dbctl.errors import AlreadyExists, DbctlError, Invalid
from dbctl.users.orm import UserRow
from dbctl.users.rules import RULES

_UNIQUE = {"uq_users_username": "username", "uq_users_email": "email"}
_CHECKS = {f"ck_users_{field}": field for field in RULES}


@asynccontextmanager
async def saving(session: AsyncSession, values: Mapping[str, object]) -> AsyncIterator[None]:
    """Run the block in a SAVEPOINT. Raises AlreadyExists or Invalid for a constraint of ``users``."""
    try:
        async with session.begin_nested():
            yield
    except IntegrityError as error:
        ours = _ours(_constraint(error), values)
        if ours is None:
            raise
        # The driver's error holds the whole row, its hash too: it is not for a traceback.
        raise ours from None


@asynccontextmanager
async def saving_many(session: AsyncSession, rows: Sequence[Mapping[str, object]]) -> AsyncIterator[None]:
    """The same for many rows. Raises AlreadyExists for the first of them whose name is taken, or stands twice there."""
    for field in _UNIQUE.values():
        times = Counter(str(row[field]).lower() for row in rows)
        if twice := [value for value, count in times.items() if count > 1]:
            raise AlreadyExists(
                f"{field} {twice[0]!r} is given twice",
                field=field,
                why="upper and lower case count as the same",
            )
    try:
        async with session.begin_nested():
            yield
    except IntegrityError as error:
        constraint = _constraint(error)
        taken = {}
        if field := _UNIQUE.get(constraint, ""):
            taken = {field: await _taken(session, field, (str(row[field]) for row in rows))}
        ours = _ours(constraint, taken)
        if ours is None:
            raise
        raise ours from None


async def _taken(session: AsyncSession, field: str, values: Iterable[str]) -> str | None:
    """One of the values that somebody has; None where the caller's snapshot does not show it."""
    column = func.lower(getattr(UserRow, field))
    lowered = [value.lower() for value in values]
    return await session.scalar(select(column).where(column.in_(lowered)).limit(1))


def _ours(constraint: str, values: Mapping[str, object]) -> DbctlError | None:
    if constraint in _UNIQUE:
        field = _UNIQUE[constraint]
        taken = values.get(field)
        return AlreadyExists(
            f"{field} {taken!r} is taken" if taken else f"one {field} is taken",
            field=field,
            why="upper and lower case count as the same",
            hint=f"see who has it: `dbctl users get {taken}`" if taken else "",
        )
    if constraint in _CHECKS:
        return Invalid(_CHECKS[constraint], RULES[_CHECKS[constraint]].why)
    return None


def _constraint(error: IntegrityError) -> str:
    """The constraint's name, which asyncpg's own error carries beneath SQLAlchemy's two."""
    driver_error = getattr(error.orig, "__cause__", None)
    return getattr(driver_error, "constraint_name", None) or ""
