"""Rows as the table will hold them: every value is checked here, before the server sees it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import NamedTuple

from dbctl.errors import Invalid
from dbctl.users.passwords import Passwords
from dbctl.users.rules import RULES, check
from dbctl.users.transfer.model import HASH, PASSWORD, REQUIRED, Row

_TRUE = frozenset(("true", "t", "yes", "y", "1"))
_FALSE = frozenset(("false", "f", "no", "n", "0"))
_PATTERNS = {field: re.compile(rule.pattern).fullmatch for field, rule in RULES.items()}
# PostgreSQL's calendar begins long before Python's and ends long after it.
_DATE = "it must be a time with its zone, such as 2026-01-31T12:00:00Z"


class Checked(NamedTuple):
    """A row that keeps every rule, as the staging table takes it; None is left to the table's default.

    ``password`` is plain, to be hashed, and the last; never together with ``hashed_password``.
    """

    line: int
    username: str
    email: str
    full_name: str | None
    is_active: bool | None
    is_superuser: bool | None
    created_at: datetime | None
    updated_at: datetime | None
    hashed_password: str | None
    password: str | None


def check_row(row: Row, passwords: Passwords) -> Checked:
    """The row's values. Raises Invalid, which names the first field that breaks its rule."""
    cells = row.cells
    for name in REQUIRED:
        if name not in cells:
            raise Invalid(name, "it is missing")
    username, email = _text("username", cells), _text("email", cells)
    created, updated = _time("created_at", cells), _time("updated_at", cells)
    if created and updated and updated < created:
        raise Invalid("updated_at", "it is before created_at")
    return Checked(
        line=row.line,
        username=username or "",
        email=email or "",
        full_name=_text("full_name", cells),
        is_active=_truth("is_active", cells),
        is_superuser=_truth("is_superuser", cells),
        created_at=created,
        updated_at=updated,
        hashed_password=_text(HASH, cells),
        password=_password(cells, username or "", email or "", passwords),
    )


def _text(field: str, cells: Mapping[str, object]) -> str | None:
    value = cells.get(field)
    if value is None:
        return None
    if not isinstance(value, str):
        raise Invalid(field, f"it must be a text, not {type(value).__name__}")
    # The quick way for nearly all: printable ASCII holds no zero byte and no half character.
    if (
        len(value) <= RULES[field].max_length
        and value.isascii()
        and value.isprintable()
        and _PATTERNS[field](value)
    ):
        return value
    return check(field, value)


def _truth(field: str, cells: Mapping[str, object]) -> bool | None:
    value = cells.get(field)
    if value is None or isinstance(value, bool):
        return value
    word = str(value).strip().casefold()
    if word in _TRUE:
        return True
    if word in _FALSE:
        return False
    raise Invalid(field, "it must be true or false")


def _time(field: str, cells: Mapping[str, object]) -> datetime | None:
    value = cells.get(field)
    if value is None:
        return None
    try:
        when = datetime.fromisoformat(str(value))
        if when.tzinfo is None:
            raise Invalid(field, _DATE)
        return when.astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise Invalid(field, _DATE) from error


def _password(cells: Mapping[str, object], username: str, email: str, passwords: Passwords) -> str | None:
    value = cells.get(PASSWORD)
    if value is None:
        return None
    if HASH in cells:
        raise Invalid(PASSWORD, f"there is a {HASH} too")
    if not isinstance(value, str):
        raise Invalid(PASSWORD, "it must be a text")
    return passwords.check(value, username=username, email=email)
