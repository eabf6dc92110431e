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
from dbctl.users.queries import ESTIMATE, literal_like
from dbctl.users.rules import storable

if TYPE_CHECKING:
    Tier = Callable[["Wanted", Any], ColumnElement[bool]]

# What a trigram index finds: three letters or digits in a row. Other texts are found where something begins with them.
_WITHIN = re.compile(r"[^\W_]{3}")
_LEAST_SIMILARITY = "0.4"
_IN_USERNAME, _IN_EMAIL = re.compile("[a-z0-9._-]*"), re.compile("[!-~]*")
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
    """A text, ``plain`` as names are compared with it: without case and accents; and among how many users, about."""

    text: str
    plain: str
    about_users: int

    @property
    def is_within(self) -> bool:
        """Whether it is looked for within names too, not just at their beginning."""
        return bool(_WITHIN.search(self.plain))

    @property
    def tiers(self) -> int:
        """How many tiers, from the best, there are for it."""
        return len(_TIERS) if self.is_within else BEGINS + 1

    def names(self, table: Any) -> tuple[Any, ...]:
        """Of username and email, those that can hold it: each column that is asked costs a search of the index."""
        return tuple(
            column
            for column, letters in ((table.username, _IN_USERNAME), (table.email, _IN_EMAIL))
            if letters.fullmatch(self.plain)
        )


async def read_wanted(session: AsyncSession, text: str) -> Wanted:
    """``text`` as the server compares it. Raises Invalid where nothing can be found by it.

    For the rest of the transaction, statements are planned for the values that they get: how rare a text is decides
    which way is the quickest; and what is spelled like it is pg_trgm's to say.
    """
    if not storable("search text", text).strip():
        raise Invalid("search text", "it is empty", hint="all users: `dbctl users list`")
    row = await session.execute(
        select(
            func.users_plain(text),
            ESTIMATE.scalar_subquery(),
            func.set_config("plan_cache_mode", "force_custom_plan", True),
            func.set_config("pg_trgm.word_similarity_threshold", _LEAST_SIMILARITY, True),
        )
    )
    plain, about_users, *_ = row.one()
    if not plain:
        raise Invalid("search text", "it holds nothing but accents, which are not asked for")
    return Wanted(text, plain, about_users)


def found_by(wanted: Wanted, table: Any = UserRow) -> ColumnElement[bool]:
    """Whether a user is in any of the tiers."""
    return _TIERS[wanted.tiers - 1](wanted, table)


def tier_of(wanted: Wanted) -> ColumnElement[int]:
    """The number of the best tier that a user who is found is in."""
    last = wanted.tiers - 1
    better = ((_TIERS[number](wanted, UserRow), literal(number)) for number in range(last))
    return case(*better, else_=literal(last))


def in_tier(number: int, wanted: Wanted, table: Any) -> ColumnElement[bool]:
    """Whether a user is in this tier and in none that is better, where a word is no better than any part."""
    better = (_TIERS[one](wanted, table) for one in range(number) if one != _WORD)
    return and_(_TIERS[number](wanted, table), *(not_(func.coalesce(one, False)) for one in better))


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
    keys = (func.lower(column) == wanted.plain for column in wanted.names(table))
    return or_(*keys, table.plain_name == wanted.plain)


def _begins(wanted: Wanted, table: Any) -> ColumnElement[bool]:
    # Usernames and emails are ASCII under "C": between the text and the text with the last ASCII character.
    last = wanted.plain + _HIGHEST
    ranges = (func.lower(column).between(wanted.plain, last) for column in wanted.names(table))
    return or_(*ranges, table.plain_name.like(f"{literal_like(wanted.plain)}%"))


def _word(wanted: Wanted, table: Any) -> ColumnElement[bool]:
    if not wanted.plain[0].isalnum():
        return false()
    starts = _WORD_STARTS + _SPECIAL.sub(r"\\\g<0>", wanted.plain)
    found = (column.regexp_match(starts, flags="i") for column in wanted.names(table))
    return or_(*found, table.plain_name.regexp_match(starts))


def _holds(wanted: Wanted, table: Any) -> ColumnElement[bool]:
    within = (_name_holds(wanted, column) for column in wanted.names(table))
    return or_(*within, table.plain_name.like(f"%{literal_like(wanted.plain)}%"))


def _name_holds(wanted: Wanted, column: Any) -> ColumnElement[bool]:
    """Of an address, the index is asked for what stands before the @ alone: hosts are shared by many, and long to intersect."""
    before, at, _ = wanted.plain.partition("@")
    if not at or not _WITHIN.search(before):
        return or_(column.ilike(f"%{literal_like(wanted.plain)}%"))
    whole = func.strpos(func.lower(column), wanted.plain) > 0
    return and_(column.ilike(f"%{literal_like(before)}@%"), whole)


# From the best match to the weakest.
_TIERS: tuple[Tier, ...] = (_equals, _begins, _word, _holds)
EQUALS, BEGINS, _WORD, HOLDS = range(len(_TIERS))
