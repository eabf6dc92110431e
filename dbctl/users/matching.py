"""How well a user matches a text: equal, begins with it, has a word that does, holds it; and who is spelled like it."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import ColumnElement, and_, case, false, func, literal, not_, or_, select
from sqlalchemy.ext.asyncio import AsyncSession

from dbctl.errors import Invalid
from dbctl.users.orm import UserRow
from dbctl.users.queries import literal_like, lower
from dbctl.users.rules import storable

if TYPE_CHECKING:
    Tier = Callable[["Wanted", Any], ColumnElement[bool]]

# What a trigram index finds: three letters or digits in a row. Other texts are found where something begins with them.
_WITHIN = re.compile(r"[^\W_]{3}")
_LEAST_SIMILARITY = "0.4"
_HIGHEST = "\x7f"
# Named one by one: of a class such as [^[:alnum:]] the index makes nothing.
_SPECIAL = re.compile(r"[][\\^$.|?*+(){}-]")
_WORD_STARTS = "(^|[ .,@_'+/()-])"
# The columns that the tiers and the filters ask for, of a part of the table.
TESTED = (
    UserRow.id,
    UserRow.username,
    UserRow.email,
    UserRow.plain_name,
    UserRow.is_active,
    UserRow.is_superuser,
    UserRow.created_at,
)


@dataclass(frozen=True, slots=True)
class Wanted:
    """A text as names are compared with it: ``lower`` as the server makes usernames and emails, ``plain`` as full names."""

    text: str
    lower: str
    plain: str

    @property
    def is_within(self) -> bool:
        """Whether it is looked for within names too, not just at their beginning."""
        return bool(_WITHIN.search(self.text))

    @property
    def tiers(self) -> int:
        """How many tiers, from the best, there are for it."""
        return len(_TIERS) if self.is_within else _BEGINS + 1


async def read_wanted(session: AsyncSession, text: str) -> Wanted:
    """``text`` as the server compares it. Raises Invalid where nothing can be found by it.

    For the rest of the transaction, statements are planned for the values that they get: how rare a text is decides
    which way is the quickest; and what is spelled like it is pg_trgm's to say.
    """
    if not storable("search text", text).strip():
        raise Invalid("search text", "it is empty", hint="all users: `dbctl users list`")
    row = await session.execute(
        select(
            lower(text),
            func.users_plain(text),
            func.set_config("plan_cache_mode", "force_custom_plan", True),
            func.set_config("pg_trgm.word_similarity_threshold", _LEAST_SIMILARITY, True),
        )
    )
    lowered, plain, *_ = row.one()
    return Wanted(text, lowered, plain)


def found_by(wanted: Wanted, table: Any = UserRow) -> ColumnElement[bool]:
    """Whether a user is in any of the tiers."""
    return _TIERS[wanted.tiers - 1](wanted, table)


def tier_of(wanted: Wanted) -> ColumnElement[int]:
    """The number of the best tier that a user who is found is in."""
    last = wanted.tiers - 1
    better = ((_TIERS[number](wanted, UserRow), literal(number)) for number in range(last))
    return case(*better, else_=literal(last))


def in_tier(number: int, wanted: Wanted, table: Any) -> ColumnElement[bool]:
    """Whether a user is in this tier, and in none that is better."""
    better = (not_(func.coalesce(tier(wanted, table), False)) for tier in _TIERS[:number])
    return and_(_TIERS[number](wanted, table), *better)


def nearness(wanted: Wanted) -> ColumnElement[float]:
    """From 0 to 1, how much a user is spelled like it."""
    return func.greatest(
        func.word_similarity(wanted.plain, UserRow.username),
        func.coalesce(func.word_similarity(wanted.plain, UserRow.plain_name), 0),
    )


def is_near(wanted: Wanted) -> ColumnElement[bool]:
    """Whether that is enough."""
    return or_(UserRow.username.op("%>")(wanted.plain), UserRow.plain_name.op("%>")(wanted.plain))


def _equals(wanted: Wanted, table: Any) -> ColumnElement[bool]:
    keys = (func.lower(column) == wanted.lower for column in (table.username, table.email))
    return or_(*keys, table.plain_name == wanted.plain)


def _begins(wanted: Wanted, table: Any) -> ColumnElement[bool]:
    # Usernames and emails are ASCII under "C": between the text and the text with the last ASCII character.
    ranges = (
        func.lower(column).between(wanted.lower, wanted.lower + _HIGHEST)
        for column in (table.username, table.email)
    )
    return or_(*ranges, table.plain_name.like(f"{literal_like(wanted.plain)}%"))


def _word(wanted: Wanted, table: Any) -> ColumnElement[bool]:
    if not wanted.text[0].isalnum():
        return false()
    starts = _WORD_STARTS + _SPECIAL.sub(r"\\\g<0>", wanted.plain)
    found = (column.regexp_match(starts, flags="i") for column in (table.username, table.email))
    return or_(*found, table.plain_name.regexp_match(starts))


def _holds(wanted: Wanted, table: Any) -> ColumnElement[bool]:
    return or_(
        table.username.ilike(f"%{literal_like(wanted.lower)}%"),
        _email_holds(wanted, table),
        table.plain_name.like(f"%{literal_like(wanted.plain)}%"),
    )


def _email_holds(wanted: Wanted, table: Any) -> ColumnElement[bool]:
    """The index is asked for what stands before the @ alone: hosts are shared by many, and long to intersect."""
    before, at, _ = wanted.lower.partition("@")
    if not at or not _WITHIN.search(before):
        return or_(table.email.ilike(f"%{literal_like(wanted.lower)}%"))
    return and_(
        table.email.ilike(f"%{literal_like(before)}@%"),
        func.strpos(func.lower(table.email), wanted.lower) > 0,
    )


# From the best match to the weakest.
_TIERS: tuple[Tier, ...] = (_equals, _begins, _word, _holds)
EQUALS, _BEGINS = 0, 1
