"""Rows as the table will hold them: every value is checked here, before the server sees it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import NamedTuple

from dbctl.errors import Invalid
from dbctl.users.passwords import Passwords
from dbctl.users.rules import RULES, UNUSABLE, check
from dbctl.users.transfer.model import HASH, PASSWORD, REQUIRED, Row

_TRUE = frozenset(("true", "t", "yes", "y", "1"))
_FALSE = frozenset(("false", "f", "no", "n", "0"))
_PATTERNS = {field: re.compile(rule.pattern).fullmatch for field, rule in RULES.items()}
# As PHC strings and crypt(3) name them: Argon2, bcrypt, scrypt, PBKDF2, SHA-2 and yescrypt. dbctl itself verifies Argon2.
_SCHEMES = frozenset(
    (
        *("argon2id", "argon2i", "argon2d", "2a", "2b", "2y", "bcrypt-sha256", "scrypt"),
        *("pbkdf2", "pbkdf2-sha1", "pbkdf2-sha256", "pbkdf2-sha512", "5", "6", "y"),
    )
)
_KINDS = {dict: "an object", list: "a list", bool: "true or false"}
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
        hashed_password=_hash(cells),
        password=_password(cells, username or "", email or "", passwords),
    )


def _text(field: str, cells: Mapping[str, object]) -> str | None:
    value = cells.get(field)
    if value is None:
        return None
    if not isinstance(value, str):
        raise Invalid(field, f"it must be a text, not {_KINDS.get(type(value), 'a number')}")
    # The quick way for nearly all: printable ASCII holds no zero byte and no half character.
    if (
        len(value) <= RULES[field].max_length
        and value.isascii()
        and value.isprintable()
        and _PATTERNS[field](value)
    ):
        return value
    return check(field, value)


def _hash(cells: Mapping[str, object]) -> str | None:
    """A hash, as it is. What has not the form of its scheme would lock its user out, unnoticed."""
    value = _text(HASH, cells)
    if value is None or value == UNUSABLE:
        return value
    scheme = value.split("$")[1]
    if scheme not in _SCHEMES:
        raise Invalid(HASH, f"{scheme!r} is no known scheme")
    if scheme.startswith("argon2"):
        _check_argon2(value)
    return value


def _check_argon2(hashed: str) -> None:
    from argon2 import extract_parameters
    from argon2.exceptions import InvalidHashError

    try:
        extract_parameters(hashed)
    except InvalidHashError as error:
        raise Invalid(HASH, "it is no hash of Argon2, or is cut short") from error


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
