"""What a user's fields may hold: one set of rules for the command line, the repository and the table's CHECKs."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from dbctl.errors import Invalid

# Python and PostgreSQL read these patterns alike: explicit ranges only, because \w and \s follow the locale.
_CONTROLS = r"\u0001-\u001f\u007f-\u009f"
_BLANKS = r" \u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000"
_LABEL = "[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"

UNUSABLE = "!"


@dataclass(frozen=True, slots=True)
class Rule:
    """A field's longest length in characters, its pattern, and the rule in words."""

    max_length: int
    pattern: str
    why: str


RULES: Mapping[str, Rule] = MappingProxyType(
    {
        # At least one letter and no `@`: an id, a username and an email can't be mistaken for each other.
        "username": Rule(
            50,
            "^(?=.*[A-Za-z])[A-Za-z0-9_](?:[A-Za-z0-9._-]*[A-Za-z0-9_])?$",
            "it takes a-z, A-Z, 0-9, `.`, `_` and `-`, at least one letter, and no `.` or `-` at its ends",
        ),
        # HTML's rule for <input type=email>: what every browser accepts.
        "email": Rule(
            255,
            rf"^[A-Za-z0-9.!#$%&'*+/=?^_`{{|}}~-]+@{_LABEL}(?:[.]{_LABEL})*$",
            "it needs the form name@host, in ASCII (an international host in its xn-- form)",
        ),
        "full_name": Rule(
            255,
            f"^[^{_CONTROLS}{_BLANKS}](?:[^{_CONTROLS}]*[^{_CONTROLS}{_BLANKS}])?$",
            "it must not be empty, begin or end with a blank, or hold control characters",
        ),
        # A PHC string such as $argon2id$…, or the marker: a plain password can't be stored by mistake.
        "hashed_password": Rule(
            255,
            "^(?:!|[$][a-z0-9-]+[$][!-~]+)$",
            "it must be a hash such as $argon2id$…, or `!` for no usable password",
        ),
    }
)


def check(field: str, value: str) -> str:
    """``value`` where it keeps the rule of ``field``; else Invalid, which says the rule."""
    rule = RULES[field]
    storable(field, value)
    if len(value) > rule.max_length:
        raise Invalid(field, f"it has {len(value)} characters, the most is {rule.max_length}")
    if not re.fullmatch(rule.pattern, value):
        raise Invalid(field, rule.why)
    return value


def storable(field: str, value: str) -> str:
    """``value`` where PostgreSQL can hold it as text; else Invalid: a zero byte, or no Unicode."""
    if "\x00" in value:
        raise Invalid(field, "it holds a zero byte, which PostgreSQL can't store")
    if any("\ud800" <= character <= "\udfff" for character in value):
        raise Invalid(field, "it is not valid UTF-8")
    return value
