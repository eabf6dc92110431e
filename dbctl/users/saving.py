"""Saves a row under a savepoint: a refused one leaves the caller's transaction usable, and says its field."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from dbctl.errors import AlreadyExists, DbctlError, Invalid
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


def _ours(constraint: str, values: Mapping[str, object]) -> DbctlError | None:
    if constraint in _UNIQUE:
        field = _UNIQUE[constraint]
        taken = values.get(field)
        return AlreadyExists(
            f"{field} {taken!r} is taken",
            field=field,
            why="upper and lower case count as the same",
            hint=f"see who has it: `dbctl users get {taken}`",
        )
    if constraint in _CHECKS:
        return Invalid(_CHECKS[constraint], RULES[_CHECKS[constraint]].why)
    return None


def _constraint(error: IntegrityError) -> str:
    """The constraint's name, which asyncpg's own error carries beneath SQLAlchemy's two."""
    driver_error = getattr(error.orig, "__cause__", None)
    return getattr(driver_error, "constraint_name", None) or ""
