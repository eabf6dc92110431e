"""``dbctl users search``, ``list``, ``get``, ``count``, ``active``: what is asked of users."""

from __future__ import annotations

from typing import Annotated

import typer

from dbctl.cli.command import Invocation
from dbctl.cli.users_group import Active, Limit, Primary, Superuser, Who, group


@group.command("search", emits="list")
async def search(
    run: Invocation,
    text: Annotated[
        str, typer.Argument(help="Part of a username, an email or a full name; taken literally.")
    ],
    *,
    limit: Limit = 20,
    primary: Primary = False,
) -> None:
    """Find users by part of a username, email or full name.

    The best matches come first; `%` and `_` mean themselves.

    Example: dbctl users search ada --format json
    """
    from dbctl.cli.output.views import users as view
    from dbctl.users.repository import UserRepository

    async with run.reads(primary=primary) as reads:
        found = await reads.run(lambda session: UserRepository(session).search(text, limit=limit))
    run.emit(found, view.users)


@group.command("list", emits="list")
async def list_(
    run: Invocation,
    *,
    limit: Limit = 50,
    after: Annotated[
        str | None, typer.Option(metavar="CURSOR", help="Go on where the last page ended.")
    ] = None,
    newest: Annotated[bool, typer.Option("--newest", help="The latest to be created first.")] = False,
    active: Active = None,
    superuser: Superuser = None,
    primary: Primary = False,
) -> None:
    """List users a page at a time, by id.

    Example: dbctl users list --newest --limit 10
    """
    from dbctl.cli.output.views import users as view
    from dbctl.users.repository import UserRepository

    async with run.reads(primary=primary) as reads:
        page = await reads.run(
            lambda session: UserRepository(session).list(
                limit=limit, after=after, newest=newest, is_active=active, is_superuser=superuser
            )
        )
    run.emit(page.items, view.users)
    _say_where_to_go_on(run, page.next_cursor)


@group.command("get", emits="report")
async def get(run: Invocation, who: Who) -> None:
    """Show one user.

    Example: dbctl users get ada@example.com
    """
    from dbctl.cli.output.views import users as view
    from dbctl.users.repository import UserRepository

    async with run.database() as database, database.session() as session:
        user = await UserRepository(session).find(who)
    run.emit(user, view.user)


@group.command("count", emits="report")
async def count(
    run: Invocation,
    *,
    text: Annotated[str | None, typer.Option(help="Only those that a search for it would find.")] = None,
    active: Active = None,
    superuser: Superuser = None,
    primary: Primary = False,
) -> None:
    """Count users, exactly.

    Example: dbctl users count --active
    """
    from dbctl.cli.output.views import users as view
    from dbctl.users.model import Count
    from dbctl.users.repository import UserRepository

    async with run.reads(primary=primary) as reads:
        counted = await reads.run(
            lambda session: UserRepository(session).count(text=text, is_active=active, is_superuser=superuser)
        )
    run.emit(Count(counted), view.count)


@group.command("active", emits="list")
async def active_(
    run: Invocation,
    *,
    days: Annotated[int, typer.Option(help="How far to look back.", min=1, max=36_500)] = 30,
    limit: Limit = 100,
    primary: Primary = False,
) -> None:
    """List active users that changed lately, the latest first.

    A change of the row is what counts: the table knows no sign-ins.

    Example: dbctl users active --days 7
    """
    from dbctl.cli.output.views import users as view
    from dbctl.users.repository import UserRepository

    async with run.reads(primary=primary) as reads:
        found = await reads.run(lambda session: UserRepository(session).recently_active(days, limit=limit))
    run.emit(found, view.users)


def _say_where_to_go_on(run: Invocation, cursor: str | None) -> None:
    if cursor:
        run.say(f"more: add --after {cursor}")
