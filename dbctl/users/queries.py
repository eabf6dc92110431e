"""The statements that read users: public columns only, each answered from an index."""

from __future__ import annotations

import base64
from contextlib import suppress
from datetime import UTC, datetime
from itertools import chain
from typing import TYPE_CHECKING, Any

from sqlalchemy import ColumnElement, Select, collate, func, literal, or_, select, true, tuple_, union_all
from sqlalchemy.orm import InstrumentedAttribute

from dbctl.errors import Invalid
from dbctl.users.model import User
from dbctl.users.orm import UserRow
from dbctl.users.rules import UNUSABLE, storable

if TYPE_CHECKING:
    Statement = Select[*tuple[Any, ...]]

# In the order of User's fields.
COLUMNS = (
    UserRow.id,
    UserRow.username,
    UserRow.email,
    UserRow.full_name,
    UserRow.is_active,
    UserRow.is_superuser,
    (UserRow.hashed_password != UNUSABLE).label("has_password"),
    UserRow.created_at,
    UserRow.updated_at,
)
MAX_ID = 2**63 - 1
MAX_LIMIT = 10_000
_SEARCHED = (UserRow.username, UserRow.email, UserRow.full_name)
_WINDOW_ROWS = 2_000


def same_text(column: InstrumentedAttribute[str], value: str) -> ColumnElement[bool]:
    """``column`` equals ``value`` whatever the case, as its unique index says."""
    return func.lower(column) == _lower(storable(column.key, value))


def has_id(user_id: int) -> ColumnElement[bool]:
    """The user with this id; nobody for a number that no bigint holds, where the driver would choke."""
    return UserRow.id == user_id if 0 < user_id <= MAX_ID else ~true()


def is_called(who: str) -> ColumnElement[bool]:
    """The user with this id, email or username: the rules let no text be two of them."""
    if who.isascii() and who.isdecimal():
        return has_id(int(who[:20]))
    return same_text(UserRow.email if "@" in who else UserRow.username, who)


def _lower(value: str) -> ColumnElement[str]:
    return func.lower(collate(literal(value), "C"))


def filtered(
    statement: Statement, *, is_active: bool | None = None, is_superuser: bool | None = None
) -> Statement:
    """``statement`` for those users only; None does not ask."""
    if is_active is not None:
        statement = statement.where(UserRow.is_active.is_(is_active))
    if is_superuser is not None:
        statement = statement.where(UserRow.is_superuser.is_(is_superuser))
    return statement


def holds(text: str, table: Any = UserRow) -> ColumnElement[bool]:
    """A searched column holds ``text`` literally: all three stand in one trigram index."""
    return or_(
        *(column.ilike(f"%{_literal(text)}%") for column in (table.username, table.email, table.full_name))
    )


def _begins(text: str, table: Any) -> ColumnElement[bool]:
    key = _lower(text)
    # Usernames and emails are ASCII under "C": between the text and the text with the last ASCII character.
    ranges = (func.lower(column).between(key, key + "\x7f") for column in (table.username, table.email))
    return or_(*ranges, table.full_name.ilike(f"{_literal(text)}%"))


def _equals(text: str, table: Any) -> ColumnElement[bool]:
    key = _lower(text)
    keys = (func.lower(column) == key for column in (table.username, table.email))
    return or_(*keys, table.full_name.ilike(_literal(text)))


# From the best match to the weakest.
_TIERS = (_equals, _begins, holds)


def search(text: str, limit: int) -> Statement:
    """Users that hold ``text``: those equal to it, then those that begin with it, then the rest; each by id."""
    if not storable("search text", text).strip():
        raise Invalid("search text", "it is empty", hint="all users: `dbctl users list`")
    tiers = (_tier(number, text, checked_limit(limit)) for number in range(len(_TIERS)))
    hits = union_all(*chain.from_iterable(tiers)).subquery("hits")
    best = select(hits.c.id, func.min(hits.c.tier).label("tier")).group_by(hits.c.id).subquery("best")
    return select(*COLUMNS).join(best, best.c.id == UserRow.id).order_by(best.c.tier, UserRow.id).limit(limit)


def _tier(number: int, text: str, limit: int) -> tuple[Select[int, int], Select[int, int]]:
    """The first users by id of one tier, from either of two scans.

    A common text fills ``limit`` within the table's first rows; only where it doesn't, so the text is rare,
    the trigram index is asked. Left to itself, the planner walks all rows by id for the sake of the limit.
    """
    matches = _TIERS[number]
    window = select(UserRow.id, *_SEARCHED).order_by(UserRow.id).limit(_WINDOW_ROWS).subquery()
    near = select(window.c.id).where(matches(text, window.c)).order_by(window.c.id).limit(limit)
    near_cte = near.cte(f"near_{number}")
    found = select(func.count()).select_from(near_cte).scalar_subquery()
    far = select(UserRow.id).where(matches(text, UserRow), found < limit)
    far_cte = far.cte(f"far_{number}").prefix_with("MATERIALIZED")
    tier = literal(number).label("tier")
    return select(near_cte.c.id, tier), select(far_cte.c.id, tier).order_by(far_cte.c.id).limit(limit)


def _literal(text: str) -> str:
    return text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")


def checked_limit(limit: int) -> int:
    """``limit`` where it is 1 to MAX_LIMIT; else Invalid."""
    if not 1 <= limit <= MAX_LIMIT:
        raise Invalid("limit", f"it must be from 1 to {MAX_LIMIT}")
    return limit


def page(*, limit: int, after: str | None, newest: bool) -> Statement:
    """A page and one row more, which tells whether another page follows; by id, or newest first."""
    key = (UserRow.created_at, UserRow.id) if newest else (UserRow.id,)
    statement = select(*COLUMNS).order_by(*(column.desc() if newest else column for column in key))
    if after is not None:
        place = tuple_(*_place(after, newest=newest))
        statement = statement.where(tuple_(*key) < place if newest else tuple_(*key) > place)
    return statement.limit(checked_limit(limit) + 1)


def cursor(user: User, *, newest: bool) -> str:
    """The place right behind ``user``, opaque to whoever holds it."""
    words = (user.created_at.isoformat(), str(user.id)) if newest else (str(user.id),)
    return base64.urlsafe_b64encode("|".join(words).encode()).decode().rstrip("=")


def _place(text: str, *, newest: bool) -> tuple[datetime | int, ...]:
    with suppress(ValueError, OverflowError):
        words = (
            base64.b64decode(text + "=" * (-len(text) % 4), altchars="-_", validate=True).decode().split("|")
        )
        number = int(words[-1])
        if 0 <= number <= MAX_ID and len(words) == 1 + newest:
            return (datetime.fromisoformat(words[0]).astimezone(UTC), number) if newest else (number,)
    raise Invalid("cursor", "it is not one that this listing gave", hint="begin without --after")
