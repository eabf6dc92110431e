"""``dbctl users search``, ``list``, ``get``, ``count``, ``active``: what is asked of users."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from dbctl.cli.command import Invocation
from dbctl.cli.options import UserOrder
from dbctl.cli.users_group import (
    Active,
    After,
    CreatedSince,
    EmailDomain,
    Fields,
    Limit,
    Primary,
    Superuser,
    Who,
    chosen,
    group,
)
from dbctl.errors import UsageError

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncSession


@group.command("search", emits="list")
async def search(
    run: Invocation,
    text: Annotated[
        str, typer.Argument(help="Part of a username, an email or a full name; taken literally.")
    ],
    *,
    limit: Limit = 20,
    after: After = None,
    active: Active = None,
    superuser: Superuser = None,
    created_since: CreatedSince = None,
    email_domain: EmailDomain = None,
    fields: Fields = "",
    primary: Primary = False,
) -> None:
    """Find users by part of a username, email or full name, whatever its case and accents.

    The best matches come first; `%` and `_` mean themselves. One or two characters are looked for at the beginning
    alone. Where nothing is found, users with a similar name are shown.

    Example: dbctl users search ada --email-domain example.com --format json
    """
    from dbctl.cli.users_shown import show_page
    from dbctl.users.repository import UserRepository

    only = chosen(active, superuser, created_since, email_domain)
    async with run.reads(primary=primary) as reads:
        page = await reads.run(
            lambda session: UserRepository(session).search(text, only, limit=limit, after=after)
        )
    show_page(run, page, fields)


@group.command("list", emits="list")
async def list_(
    run: Invocation,
    *,
    order: Annotated[UserOrder, typer.Option(help="What to sort by.")] = UserOrder.ID,
    descending: Annotated[bool, typer.Option("--desc", help="The other way round.")] = False,
    limit: Limit = 50,
    after: After = None,
    skip: Annotated[
        int, typer.Option(help="Leave out so many, which are read all the same: --after is quick.", min=0)
    ] = 0,
    active: Active = None,
    superuser: Superuser = None,
    created_since: CreatedSince = None,
    email_domain: EmailDomain = None,
    fields: Fields = "",
    primary: Primary = False,
) -> None:
    """List users a page at a time.

    Example: dbctl users list --order created_at --desc --limit 10 --fields username,created_at
    """
    from dbctl.cli.users_shown import show_page
    from dbctl.users.repository import UserRepository

    only = chosen(active, superuser, created_since, email_domain)
    async with run.reads(primary=primary) as reads:
        page = await reads.run(
            lambda session: UserRepository(session).list(
                only, order=order.value, descending=descending, limit=limit, after=after, skip=skip
            )
        )
    show_page(run, page, fields)


@group.command("get", emits="report")
async def get(run: Invocation, who: Who, *, fields: Fields = "") -> None:
    """Show one user.

    Example: dbctl users get ada@example.com
    """
    from dbctl.cli.users_shown import show_user
    from dbctl.users.repository import UserRepository

    async with run.database() as database, database.session() as session:
        user = await UserRepository(session).find(who)
    show_user(run, user, fields)


@group.command("count", emits="report")
async def count(
    run: Invocation,
    *,
    text: Annotated[str | None, typer.Option(help="Only those that a search for it would find.")] = None,
    active: Active = None,
    superuser: Superuser = None,
    created_since: CreatedSince = None,
    email_domain: EmailDomain = None,
    estimate: Annotated[
        bool, typer.Option("--estimate", help="About how many there are in all, at once.")
    ] = False,
    primary: Primary = False,
) -> None:
    """Count users, exactly; or, with --estimate, as the server last did.

    Example: dbctl users count --active --created-since 30d
    """
    from dbctl.cli.output.views import users as view
    from dbctl.users.model import Count, Filters
    from dbctl.users.repository import UserRepository

    only = chosen(active, superuser, created_since, email_domain)
    if estimate and (text is not None or only != Filters()):
        raise UsageError("--estimate knows of all users only", hint="leave out the filters, or --estimate")

    async def read(session: AsyncSession) -> int:
        users = UserRepository(session)
        return await (users.estimate() if estimate else users.count(only, text=text))

    async with run.reads(primary=primary) as reads:
        run.emit(Count(await reads.run(read)), view.count)


@group.command("active", emits="list")
async def active_(
    run: Invocation,
    *,
    days: Annotated[int, typer.Option(help="How far to look back.", min=1, max=36_500)] = 30,
    limit: Limit = 100,
    fields: Fields = "",
    primary: Primary = False,
) -> None:
    """List active users that changed lately, the latest first.

    A change of the row is what counts: the table knows no sign-ins.

    Example: dbctl users active --days 7
    """
    from dbctl.cli.users_shown import show_page
    from dbctl.users.model import Page
    from dbctl.users.repository import UserRepository

    async with run.reads(primary=primary) as reads:
        found = await reads.run(lambda session: UserRepository(session).recently_active(days, limit=limit))
    show_page(run, Page(found, None), fields)
