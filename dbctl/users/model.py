"""What the users room takes and gives: plain frozen values, the password's hash in none of them."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, fields
from datetime import datetime
from enum import Enum
from typing import Literal


@dataclass(frozen=True, slots=True)
class User:
    """A row of ``users`` without the hash; ``has_password`` says whether there is a usable one. Times in UTC."""

    id: int
    username: str
    email: str
    full_name: str | None
    is_active: bool
    is_superuser: bool
    has_password: bool
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True, slots=True)
class UserWithPassword(User):
    """A user whose password was just set; ``generated_password`` is there this once, null where a person chose it."""

    generated_password: str | None = field(repr=False)

    @classmethod
    def of(cls, user: User, generated_password: str | None) -> UserWithPassword:
        """``user`` and the password that was generated for it."""
        return cls(**asdict(user), generated_password=generated_password)


@dataclass(frozen=True, slots=True)
class NewUser:
    """A user to be created. Without ``password`` it can't sign in until one is set."""

    username: str
    email: str
    full_name: str | None = None
    password: str | None = field(default=None, repr=False)
    is_active: bool = True
    is_superuser: bool = False


Order = Literal["id", "username", "created_at"]


@dataclass(frozen=True, slots=True)
class Filters:
    """Which users alone; None does not ask. ``email_domain``: what stands behind the @, whatever its case."""

    is_active: bool | None = None
    is_superuser: bool | None = None
    created_since: datetime | None = None
    email_domain: str | None = None


class Unset(Enum):
    """The one value that says: leave this field alone (null is a value)."""

    UNSET = "unset"


UNSET = Unset.UNSET


@dataclass(frozen=True, slots=True)
class UserChanges:
    """The fields to change; what is not given stays."""

    username: str | Unset = UNSET
    email: str | Unset = UNSET
    full_name: str | Unset | None = UNSET
    is_active: bool | Unset = UNSET
    is_superuser: bool | Unset = UNSET

    def given(self) -> dict[str, str | bool | None]:
        """The fields that change, with their new values."""
        values = {name.name: getattr(self, name.name) for name in fields(self)}
        return {name: value for name, value in values.items() if value is not UNSET}


@dataclass(frozen=True, slots=True)
class Page:
    """Some users and, where more follow, the cursor that gives the next page."""

    items: tuple[User, ...]
    next_cursor: str | None


@dataclass(frozen=True, slots=True)
class Count:
    """How many users there are."""

    users: int


@dataclass(frozen=True, slots=True)
class Deactivated:
    """Users that may no longer sign in, because nothing of them changed since then; with ``dry_run`` they would be."""

    users: int
    unchanged_since: datetime
    dry_run: bool


@dataclass(frozen=True, slots=True)
class Seeded:
    """Made-up users that were added, of the series that ``seed`` gives from number ``first`` on; ``tag`` takes them back."""

    rows: int
    first: int
    seed: int
    tag: str


@dataclass(frozen=True, slots=True)
class TakenBack:
    """Made-up users that were deleted."""

    rows: int
    tag: str
