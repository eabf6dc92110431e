"""How users look."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from datetime import datetime

from dbctl.cli.output.blocks import Block, Cell, Lines, Table
from dbctl.users.model import Count, Deactivated, Seeded, TakenBack, User, UserWithPassword


def users(found: Sequence[User]) -> Iterator[Block]:
    """A line a user."""
    yield Table(
        ("id", "username", "email", "full name", "state", "changed"),
        [
            (str(one.id), one.username, one.email, one.full_name or "", _state(one), _time(one.updated_at))
            for one in found
        ],
        right=("id",),
    )


def user(one: User) -> Iterator[Block]:
    """A line a field."""
    yield Table(
        ("field", "value"),
        [
            ("id", str(one.id)),
            ("username", one.username),
            ("email", one.email),
            ("full name", one.full_name or ""),
            ("state", _state(one)),
            ("password", "set" if one.has_password else Cell("none", "warning")),
            ("created", _time(one.created_at)),
            ("changed", _time(one.updated_at)),
            *_generated(one),
        ],
    )


def parts(names: Sequence[str], rows: Sequence[Sequence[object]]) -> Iterator[Block]:
    """Some fields of users, a line a user."""
    yield Table(
        tuple(names),
        [tuple(_text(value) for value in row) for row in rows],
        right=("id",) if "id" in names else (),
    )


def deactivated(done: Deactivated) -> Iterator[Block]:
    """One line."""
    words = "would be deactivated" if done.dry_run else "deactivated"
    yield Lines([f"{done.users} users {words}, unchanged since {_time(done.unchanged_since)}"])


def count(counted: Count) -> Iterator[Block]:
    """The number alone."""
    yield Lines([str(counted.users)])


def seeded(done: Seeded) -> Iterator[Block]:
    """What was added, and how it is taken back."""
    if not done.rows:
        yield Lines([f"all users of {done.tag} are there already"])
        return
    yield Lines(
        [
            f"{done.rows} users added (from number {done.first} of seed {done.seed})",
            f"to take them back: dbctl users seed --undo {shlex.quote(done.tag)}",
        ]
    )


def taken_back(done: TakenBack) -> Iterator[Block]:
    """One line."""
    yield Lines([f"{done.rows} users of {done.tag} deleted"])


def _generated(one: User) -> list[tuple[str, str]]:
    password = one.generated_password if isinstance(one, UserWithPassword) else None
    return [("new password", password)] if password else []


def _state(one: User) -> Cell:
    if not one.is_active:
        return Cell("inactive", "dim")
    return Cell("superuser", "warning") if one.is_superuser else Cell("active", "good")


def _text(value: object) -> str:
    if isinstance(value, datetime):
        return _time(value)
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "" if value is None else str(value)


def _time(when: datetime) -> str:
    """As the clock on the wall shows it."""
    return f"{when.astimezone():%Y-%m-%d %H:%M %Z}"
