"""Search: the best matches first, each page as fast as the first, however rare or common the text is."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from sqlalchemy import Subquery, select
from sqlalchemy.ext.asyncio import AsyncSession

from dbctl.users.cursors import read_cursor, write_cursor
from dbctl.users.matching import (
    BEGINS,
    EQUALS,
    HOLDS,
    TESTED,
    Wanted,
    found_by,
    in_tier,
    is_near,
    nearness,
    read_wanted,
    tier_of,
)
from dbctl.users.model import Filters, Page, User
from dbctl.users.orm import UserRow
from dbctl.users.queries import COLUMNS, checked_limit, filtered

if TYPE_CHECKING:
    from dbctl.users.queries import Statement

# So many hits are sorted as a whole; of more, the first are looked for tier by tier.
_FEW_HITS = 500
# And so many are soon counted.
_COUNTED_HITS = 4 * _FEW_HITS
_WINDOWS = (2_000, 30_000)
_SHORTEST_SIMILAR = 4


class Hit(NamedTuple):
    """Hits are sorted by their tier, then by their user's id."""

    tier: int
    user_id: int


_FIRST = Hit(0, 0)


async def search_page(
    session: AsyncSession, text: str, only: Filters, *, limit: int, after: str | None
) -> Page:
    """The hits behind the cursor ``after``, tier by tier, each by id; those that are spelled alike where there are none."""
    of_few, behind = _place(text, after)
    looking = _Search(session, await read_wanted(session, text), only)
    of_few, hits = await looking.next_hits(behind, checked_limit(limit) + 1, of_few=of_few)
    if not hits and after is None and len(text.strip()) >= _SHORTEST_SIMILAR:
        return Page(await looking.similar(limit), None)
    users = await looking.users([hit.user_id for hit in hits[:limit]])
    more = len(hits) > limit
    return Page(users, write_cursor(_listing(text), [of_few, *hits[limit - 1]]) if more else None)


class _Search:
    """One text, looked for among the users that ``only`` lets through."""

    def __init__(self, session: AsyncSession, wanted: Wanted, only: Filters) -> None:
        self._session, self._wanted, self._only = session, wanted, only

    async def next_hits(self, behind: Hit, count: int, *, of_few: bool) -> tuple[bool, list[Hit]]:
        """The first ``count`` hits behind one, and whether they are of few.

        Few are in the order of all tiers; of many, a word in a name stands no higher than any part of it, as there is
        no quick way to all of them. Those that are equal come first either way: it is decided behind them.
        """
        if behind.tier > EQUALS:
            return of_few, await (self._of_few if of_few else self._of_many)(behind, count)
        equal = [Hit(EQUALS, found) for found in await self._of_tier(EQUALS, behind.user_id, count)]
        if len(equal) == count:
            return False, equal
        if self._wanted.is_within and await self._is_rare():
            few = await self._of_few(behind, _FEW_HITS + 1)
            if len(few) <= _FEW_HITS:
                return True, few[:count]
        return False, equal + await self._of_many(Hit(BEGINS, 0), count - len(equal))

    async def similar(self, limit: int) -> tuple[User, ...]:
        """Users that are spelled alike, the nearest first."""
        rows = await self._session.execute(similar(self._wanted, self._only, limit=limit))
        return tuple(User(*row[:-1]) for row in rows)

    async def users(self, ids: list[int]) -> tuple[User, ...]:
        """In the order of their ids as given; without those that were deleted meanwhile."""
        if not ids:
            return ()
        rows = await self._session.execute(select(*COLUMNS).where(UserRow.id.in_(ids)))
        users = {row.id: User(*row) for row in rows}
        return tuple(users[user_id] for user_id in ids if user_id in users)

    async def _is_rare(self) -> bool:
        """Guessed from the first rows of the table."""
        users = self._wanted.about_users
        enough = _COUNTED_HITS * _WINDOWS[0] // max(users, 1) + 1
        if users <= _COUNTED_HITS:
            return True
        common = common_hits(self._wanted, self._only, rows=_WINDOWS[0], limit=enough)
        return len((await self._session.scalars(common)).all()) < enough

    async def _of_few(self, behind: Hit, count: int) -> list[Hit]:
        rows = await self._session.execute(some_hits(self._wanted, self._only))
        hits = sorted(Hit(*row) for row in rows)
        return [hit for hit in hits if hit > behind][:count]

    async def _of_many(self, behind: Hit, count: int) -> list[Hit]:
        hits: list[Hit] = []
        for tier in (BEGINS, HOLDS):
            if behind.tier <= tier < self._wanted.tiers and len(hits) < count:
                last_id = behind.user_id if tier == behind.tier else 0
                found = await self._of_tier(tier, last_id, count - len(hits))
                hits += [Hit(tier, user_id) for user_id in found]
        return hits

    async def _of_tier(self, tier: int, last_id: int, count: int) -> list[int]:
        """The next users of one tier by id.

        A common text fills a page within the next rows of the table; only where it doesn't, the indexes are asked.
        Left to itself, the planner walks all rows by id for the sake of the limit.
        """
        found: list[int] = []
        for rows in _WINDOWS if tier > EQUALS else ():
            behind = found[-1] if found else last_id
            near = near_hits(tier, self._wanted, self._only, behind, rows=rows, limit=count - len(found))
            found += await self._session.scalars(near)
            if len(found) == count:
                return found
            if not found:
                break
        behind = found[-1] if found else last_id
        far = far_hits(tier, self._wanted, self._only, behind, limit=count - len(found))
        return [*found, *await self._session.scalars(far)]


def common_hits(wanted: Wanted, only: Filters, *, rows: int, limit: int) -> Statement:
    """Ids of users that are found among the table's first ``rows``."""
    window = _window(0, rows)
    return filtered(select(window.c.id).where(found_by(wanted, window.c)), only, window.c).limit(limit)


def some_hits(wanted: Wanted, only: Filters) -> Statement:
    """Tier and id of users that are found: of all of them, or of too many.

    Materialized, it is planned as if all were wanted, so by the indexes where that is quicker, and stops early.
    """
    hits = filtered(select(tier_of(wanted).label("tier"), UserRow.id).where(found_by(wanted)), only)
    all_of_them = hits.cte("hits").prefix_with("MATERIALIZED")
    return select(all_of_them.c.tier, all_of_them.c.id).limit(_COUNTED_HITS)


def near_hits(tier: int, wanted: Wanted, only: Filters, behind: int, *, rows: int, limit: int) -> Statement:
    """Ids of a tier's users among the table's next ``rows``."""
    window = _window(behind, rows)
    near = select(window.c.id).where(in_tier(tier, wanted, window.c))
    return filtered(near, only, window.c).order_by(window.c.id).limit(limit)


def far_hits(tier: int, wanted: Wanted, only: Filters, behind: int, *, limit: int) -> Statement:
    """Ids of a tier's users by the indexes that find them."""
    far = select(UserRow.id).where(in_tier(tier, wanted, UserRow), UserRow.id > behind)
    hits = filtered(far, only).cte("hits").prefix_with("MATERIALIZED")
    return select(hits.c.id).order_by(hits.c.id).limit(limit)


def similar(wanted: Wanted, only: Filters, *, limit: int) -> Statement:
    """Users that are spelled much like it, the nearest first: for who mistyped."""
    near = nearness(wanted).label("nearness")
    return (
        filtered(select(*COLUMNS, near).where(is_near(wanted)), only)
        .order_by(near.desc(), UserRow.id)
        .limit(limit)
    )


def _window(behind: int, rows: int) -> Subquery:
    return select(*TESTED).where(UserRow.id > behind).order_by(UserRow.id).limit(rows).subquery("window")


def _place(text: str, after: str | None) -> tuple[bool, Hit]:
    if after is None:
        return False, _FIRST
    of_few, tier, user_id = read_cursor(_listing(text), after, bool, int, int)
    return of_few, Hit(tier, user_id)


def _listing(text: str) -> str:
    return f"search {text}"
