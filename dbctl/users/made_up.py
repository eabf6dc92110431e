"""Made-up users: believable, unique by construction, each a function of a seed and its number alone."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from hashlib import blake2b
from typing import Any

from dbctl.users.names import Names
from dbctl.users.rules import UNUSABLE

_TWO_YEARS_SECONDS = 2 * 365 * 86_400
# Names of the host that mail never reaches (RFC 2606).
_HOSTS = ("example.com", "example.org", "example.net")
_STYLES = ("{first}.{last}{number}", "{first}_{last}{number}", "{initial}{last}{number}")

Row = tuple[str, str, str | None, str, bool, datetime, datetime]
FIELDS = ("username", "email", "full_name", "hashed_password", "is_active", "created_at", "updated_at")
Make = Callable[[int], Row]


def row(seed: int, number: int, now: datetime, names: Names, hashed_password: str = UNUSABLE) -> Row:
    """Row ``number`` of the series of ``seed``; its ages count back from ``now``.

    The number ends the username and no name holds a digit, so no two rows share one, whatever the seed.
    """
    chance = _Chance(seed, number)
    name, first = chance.pick(names.first)
    surname, last = chance.pick(names.last)
    style: str = chance.pick(_STYLES)
    username = style.format(first=first, last=last, initial=first[0], number=number)
    created_seconds = chance.below(_TWO_YEARS_SECONDS)
    updated_seconds = chance.below(created_seconds + 1)
    return (
        username,
        f"{username}@{chance.pick(_HOSTS)}",
        names.full.format(first=name, last=surname) if chance.below(40) else None,
        hashed_password,
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
