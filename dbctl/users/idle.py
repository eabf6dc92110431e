"""Users that nobody changed for long: deactivated a thousand at a time, each batch in a transaction of its own."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

from sqlalchemy import ColumnElement, and_, func, select, tuple_, update
from sqlalchemy.ext.asyncio import AsyncSession

from dbctl.database import Database
from dbctl.users.orm import UserRow

_BATCH_ROWS = 1_000
_BEGINNING = (datetime.min.replace(tzinfo=UTC), 0)


def _idle(since: datetime) -> ColumnElement[bool]:
    """Superusers stay: who keeps the house may be away for long."""
    return and_(UserRow.updated_at < since, UserRow.is_active, ~UserRow.is_superuser)


async def count_idle(session: AsyncSession, since: datetime) -> int:
    """How many active users, no superusers, have not changed since then."""
    return int(await session.scalar(select(func.count()).select_from(UserRow).where(_idle(since))) or 0)


async def deactivate_idle(
    database: Database, since: datetime, *, progress: Callable[[int], None] = lambda _users: None
) -> int:
    """Deactivate them; how many. Whoever changes meanwhile stays; a stop leaves the batches before it done."""
    done, place = 0, _BEGINNING
    while True:
        async with database.session() as session:
            batch = await _deactivate_batch(session, since, place)
        if not batch:
            return done
        done, place = done + len(batch), batch[-1]
        progress(done)


async def _deactivate_batch(
    session: AsyncSession, since: datetime, place: tuple[datetime, int]
) -> list[tuple[datetime, int]]:
    key = (UserRow.updated_at, UserRow.id)
    rows = await session.execute(
        select(*key)
        .where(_idle(since), tuple_(*key) > tuple_(*place))
        .order_by(*key)
        .limit(_BATCH_ROWS)
        .with_for_update()
    )
    # A row that changed while its lock was waited for is no longer idle, and not among them.
    batch = [(when, user_id) for when, user_id in rows]
    if batch:
        ids = [user_id for _, user_id in batch]
        await session.execute(update(UserRow).where(UserRow.id.in_(ids)).values(is_active=False))
    return batch
