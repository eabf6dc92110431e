"""The steps of ``dbctl users deactivate``: one user, or all that have not changed for long."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from dbctl.cli.output.views import users as view
from dbctl.errors import Invalid
from dbctl.settings.types import parse_duration
from dbctl.users.idle import count_idle, deactivate_idle
from dbctl.users.model import Deactivated
from dbctl.users.repository import UserRepository

if TYPE_CHECKING:
    from dbctl.cli.command import Invocation


async def deactivate_one(run: Invocation, who: str) -> None:
    """The user, once confirmed."""
    async with run.database(write=f"deactivates user {who}") as database:
        run.ask(f"Deactivate user {who}?")
        async with database.session() as session:
            users = UserRepository(session)
            user = await users.deactivate((await users.find(who)).id)
    run.emit(user, view.user)


async def deactivate_unchanged(run: Invocation, span: str, *, dry_run: bool) -> None:
    """All that have not changed for so long, once their number is confirmed."""
    since = _since(span)
    write = "" if dry_run else f"deactivates users that have not changed since {since:%Y-%m-%d}"
    async with run.database(write=write) as database:
        async with database.session() as session:
            users = await count_idle(session, since)
        if not dry_run and users:
            run.ask(f"Deactivate {users} users?")
            with run.progress("Deactivating", total=users, unit="users") as progress:
                users = await deactivate_idle(database, since, progress=progress)
    run.emit(Deactivated(users, since, dry_run), view.deactivated)


def _since(span: str) -> datetime:
    try:
        return datetime.now(UTC) - timedelta(seconds=parse_duration(span))
    except (ValueError, OverflowError) as error:
        raise Invalid("inactive-for", f"{span!r}: {error}", hint="such as 365d") from None
