"""The group ``dbctl users``, and the options that several of its commands have."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated

import typer

from dbctl.cli.command import Group
from dbctl.errors import Invalid

if TYPE_CHECKING:
    from dbctl.users.model import Filters

group = Group("users", "Find, create and change users.")

Who = Annotated[str, typer.Argument(help="An id, a username or an email.")]
Limit = Annotated[int, typer.Option(help="The most to show.", min=1, max=10_000)]
After = Annotated[str | None, typer.Option(metavar="CURSOR", help="Go on where the last page ended.")]
Fields = Annotated[str, typer.Option(metavar="A,B,…", help="These fields alone, in this order.")]
Active = Annotated[
    bool | None, typer.Option("--active/--inactive", help="Only those who may, or may not, sign in.")
]
Superuser = Annotated[
    bool | None, typer.Option("--superuser/--no-superuser", help="Only superusers, or only others.")
]
CreatedSince = Annotated[
    str | None, typer.Option(metavar="WHEN", help="Only those made since: 2026-01-31, or 30d ago.")
]
EmailDomain = Annotated[
    str | None, typer.Option(metavar="DOMAIN", help="Only those with an email at this host.")
]
Primary = Annotated[bool, typer.Option("--primary", help="Ask the primary alone, none of database.replicas.")]
Stdin = Annotated[
    bool, typer.Option("--password-stdin", help="Read the password from the first line of stdin.")
]
Generate = Annotated[bool, typer.Option("--generate", help="Make up a password and show it this once.")]
NoPassword = Annotated[
    bool, typer.Option("--no-password", help="Without a password nobody can sign in as this user.")
]


def chosen(
    active: bool | None, superuser: bool | None, created_since: str | None, email_domain: str | None
) -> Filters:
    """The users that the options ask for."""
    from dbctl.users.model import Filters

    since = None if created_since is None else moment("created-since", created_since)
    return Filters(active, superuser, since, email_domain)


def moment(option: str, given: str) -> datetime:
    """A date or time, local where it names no zone, or so long ago. Raises Invalid."""
    from dbctl.settings.types import parse_duration

    try:
        return datetime.now(UTC) - timedelta(seconds=parse_duration(given))
    except (ValueError, OverflowError):
        pass
    try:
        return datetime.fromisoformat(given).astimezone()
    except (ValueError, OverflowError):
        raise Invalid(
            option,
            f"{given!r} is no date",
            hint="such as 2026-01-31, 2026-01-31T12:00Z, or 30d for so long ago",
        ) from None
