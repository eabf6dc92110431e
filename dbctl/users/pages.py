"""Pages of users: by id, username or time of creation, either way, each page as fast as the first."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from sqlalchemy import func, select, tuple_

from dbctl.errors import Invalid
from dbctl.users.cursors import read_cursor, write_cursor
from dbctl.users.model import Filters, Order, User
from dbctl.users.orm import UserRow
from dbctl.users.queries import COLUMNS, checked_limit, filtered

if TYPE_CHECKING:
    from dbctl.users.queries import Statement

_MAX_SKIP = 10_000_000
# What each order sorts by, which an index gives: no two users share it.
_KEYS: dict[Order, tuple[Any, ...]] = {
    "id": (UserRow.id,),
    "username": (func.lower(UserRow.username),),
    "created_at": (UserRow.created_at, UserRow.id),
}
# The kinds of value in a cursor.
_KINDS: dict[Order, tuple[type, ...]] = {"id": (int,), "username": (str,), "created_at": (str, int)}


def page(
    order: Order, only: Filters, *, descending: bool, limit: int, after: str | None, skip: int
) -> Statement:
    """A page and one row more, which tells whether another page follows.

    ``skip`` reads the rows that it skips: page 10,000 costs 10,000 pages.
    """
    if not 0 <= skip <= _MAX_SKIP:
        raise Invalid("skip", f"it must be from 0 to {_MAX_SKIP}")
    key = _KEYS[order]
    statement = select(*COLUMNS).order_by(*(column.desc() if descending else column for column in key))
    if after is not None:
        place = tuple_(*_place(order, after, descending=descending))
        statement = statement.where(tuple_(*key) < place if descending else tuple_(*key) > place)
    return filtered(statement, only).limit(checked_limit(limit) + 1).offset(skip or None)


def cursor(order: Order, user: User, *, descending: bool) -> str:
    """The place right behind ``user``."""
    places: dict[Order, list[str | int]] = {
        "id": [user.id],
        "username": [user.username.lower()],
        "created_at": [user.created_at.isoformat(), user.id],
    }
    return write_cursor(_listing(order, descending=descending), places[order])


def _place(order: Order, text: str, *, descending: bool) -> list[Any]:
    values = read_cursor(_listing(order, descending=descending), text, *_KINDS[order])
    if order != "created_at":
        return values
    try:
        return [datetime.fromisoformat(values[0]).astimezone(UTC), values[1]]
    except (ValueError, OverflowError) as error:
        raise Invalid("cursor", "it is not one that this listing gave", hint="begin without it") from error


def _listing(order: Order, *, descending: bool) -> str:
    return f"{order} {'down' if descending else 'up'}"
