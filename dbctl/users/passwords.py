"""Passwords: argon2id, away from the event loop, and never shorter than they should be."""

from __future__ import annotations

import asyncio
import secrets
from functools import cache
from typing import TYPE_CHECKING

from dbctl.errors import Invalid
from dbctl.users.rules import storable

if TYPE_CHECKING:
    from argon2 import PasswordHasher

MIN_LENGTH = 12
# Hashing a megabyte is work that a stranger could ask for.
MAX_LENGTH = 1024
GENERATED_LENGTH = 20
# No 0 O 1 l I: it may be read aloud. 116 bits.
_ALPHABET = "abcdefghijkmnopqrstuvwxyzABCDEFGHJKLMNPQRSTUVWXYZ23456789"


def check_password(password: str, *, username: str, email: str) -> str:
    """``password`` where it may be used for this user; else Invalid, which never repeats it."""
    storable("password", password)
    if not MIN_LENGTH <= len(password) <= MAX_LENGTH:
        raise Invalid("password", f"it must have {MIN_LENGTH} to {MAX_LENGTH} characters")
    if password.casefold() in {username.casefold(), email.casefold()}:
        raise Invalid("password", "it must not be the username or the email")
    return password


async def hash_password(password: str) -> str:
    """The PHC string of ``password``; takes about 0.2 s and 64 MiB in a thread."""
    return await asyncio.to_thread(_hasher().hash, password)


async def verify(hashed: str, password: str) -> bool:
    """Whether ``hashed`` was made from ``password``; never for the unusable marker, which takes as long."""
    return await asyncio.to_thread(_verify, hashed, password)


def needs_rehash(hashed: str) -> bool:
    """Whether a valid argon2 hash is weaker than what would be made today."""
    return _hasher().check_needs_rehash(hashed)


def generate_password() -> str:
    """A new random password of letters and digits that can't be mistaken for each other."""
    return "".join(secrets.choice(_ALPHABET) for _ in range(GENERATED_LENGTH))


def _verify(hashed: str, password: str) -> bool:
    from argon2.exceptions import InvalidHashError, VerificationError

    is_argon2 = hashed.startswith("$argon2")
    try:
        _hasher().verify(hashed if is_argon2 else _decoy(), password)
    except (VerificationError, InvalidHashError, UnicodeEncodeError):
        return False
    return is_argon2


@cache
def _decoy() -> str:
    """A hash of nobody's password: where there is none to check, checking takes as long."""
    return _hasher().hash(generate_password())


@cache
def _hasher() -> PasswordHasher:
    from argon2 import PasswordHasher

    return PasswordHasher()
