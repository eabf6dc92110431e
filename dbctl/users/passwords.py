"""Passwords: argon2id, away from the event loop, never shorter than they should be, nor what everybody tries first."""

from __future__ import annotations

import asyncio
import secrets
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

from dbctl.errors import Invalid
from dbctl.users.rules import storable

if TYPE_CHECKING:
    from argon2 import PasswordHasher

    from dbctl.settings import PasswordSettings

# Hashing a megabyte is work that a stranger could ask for.
MAX_LENGTH = 1024
GENERATED_LENGTH = 20
# 1.3, of 2016: the last there is.
ARGON2_VERSION = 19
# No 0 O 1 l I: it may be read aloud. 116 bits.
_ALPHABET = "abcdefghijkmnopqrstuvwxyzABCDEFGHJKLMNPQRSTUVWXYZ23456789"
# zxcvbn reads no more, and grows with the square of it.
_JUDGED_LENGTH = 72
# Of 0 to 4: fewer than 10^8 guesses are within reach of who guesses over the network.
_LEAST_SCORE = 3


@dataclass(frozen=True, slots=True)
class Passwords:
    """The rule for passwords, and what a hash of theirs costs: rounds, KiB of memory, threads."""

    min_length: int = 12
    time_cost: int = 3
    memory_cost: int = 65_536
    parallelism: int = 4

    @classmethod
    def of(cls, settings: PasswordSettings) -> Passwords:
        """As an environment's settings say."""
        return cls(settings.min_length, settings.time_cost, settings.memory_cost, settings.parallelism)

    def check(self, password: str, *, username: str, email: str) -> str:
        """``password`` where it may be used for this user; else Invalid, which never repeats it."""
        storable("password", password)
        if not self.min_length <= len(password) <= MAX_LENGTH:
            raise Invalid("password", f"it must have {self.min_length} to {MAX_LENGTH} characters")
        if password.casefold() in {username.casefold(), email.casefold()}:
            raise Invalid("password", "it must not be the username or the email")
        if why := _why_guessable(password, username, email):
            raise Invalid(
                "password", why, hint="a few words that do not belong together are good, or --generate"
            )
        return password

    async def hash(self, password: str) -> str:
        """The PHC string of ``password``; takes about 0.2 s and 64 MiB in a thread."""
        return await asyncio.to_thread(self._hasher.hash, password)

    async def verify(self, hashed: str, password: str) -> bool:
        """Whether ``hashed`` was made from ``password``; never for the unusable marker, which takes as long."""
        return await asyncio.to_thread(self._verify, hashed, password)

    def needs_rehash(self, hashed: str) -> bool:
        """Whether a valid argon2 hash is weaker than what would be made today; a stronger one stays."""
        from argon2 import Type, extract_parameters

        made = extract_parameters(hashed)
        today = self._hasher
        return (
            made.type is not Type.ID
            or made.version < ARGON2_VERSION
            or made.time_cost < today.time_cost
            or made.memory_cost < today.memory_cost
            or made.hash_len < today.hash_len
        )

    @property
    def _hasher(self) -> PasswordHasher:
        return _hasher(self.time_cost, self.memory_cost, self.parallelism)

    def _verify(self, hashed: str, password: str) -> bool:
        from argon2.exceptions import InvalidHashError, VerificationError

        is_argon2 = hashed.startswith("$argon2")
        try:
            self._hasher.verify(hashed if is_argon2 else decoy(self), password)
        except (VerificationError, InvalidHashError, UnicodeEncodeError):
            return False
        return is_argon2


@cache
def decoy(passwords: Passwords) -> str:
    """A hash of nobody's password: where there is none to check, checking takes as long."""
    return _hasher(passwords.time_cost, passwords.memory_cost, passwords.parallelism).hash(
        generate_password()
    )


def generate_password() -> str:
    """A new random password of letters and digits that can't be mistaken for each other."""
    return "".join(secrets.choice(_ALPHABET) for _ in range(GENERATED_LENGTH))


def _why_guessable(password: str, *known: str) -> str:
    """Why it would soon be guessed, in words; empty where it would not."""
    from zxcvbn import zxcvbn

    judged = zxcvbn(password[:_JUDGED_LENGTH], user_inputs=[text for text in known if text])
    if judged["score"] >= _LEAST_SCORE:
        return ""
    warning = str(judged["feedback"]["warning"]).rstrip(".")
    return f"it would soon be guessed{': ' + warning[0].lower() + warning[1:] if warning else ''}"


@cache
def _hasher(time_cost: int, memory_cost: int, parallelism: int) -> PasswordHasher:
    from argon2 import PasswordHasher

    return PasswordHasher(time_cost=time_cost, memory_cost=memory_cost, parallelism=parallelism)
