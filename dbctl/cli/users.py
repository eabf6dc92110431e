"""``dbctl users``: find, create and change users."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from dbctl.cli.command import Group, Invocation
from dbctl.errors import UsageError

if TYPE_CHECKING:
    from dbctl.users.model import UserChanges

group = Group("users", "Find, create and change users.")
app = group.app

Who = Annotated[str, typer.Argument(help="An id, a username or an email.")]
Limit = Annotated[int, typer.Option(help="The most to show.", min=1, max=10_000)]
Active = Annotated[
    bool | None, typer.Option("--active/--inactive", help="Only those who may, or may not, sign in.")
]
Superuser = Annotated[
    bool | None, typer.Option("--superuser/--no-superuser", help="Only superusers, or only others.")
]
Stdin = Annotated[
    bool, typer.Option("--password-stdin", help="Read the password from the first line of stdin.")
]
Generate = Annotated[bool, typer.Option("--generate", help="Make up a password and show it this once.")]
NoPassword = Annotated[
    bool, typer.Option("--no-password", help="Without a password nobody can sign in as this user.")
]


@group.command("search", emits="list")
async def search(
    run: Invocation,
    text: Annotated[
        str, typer.Argument(help="Part of a username, an email or a full name; taken literally.")
    ],
    *,
    limit: Limit = 20,
) -> None:
    """Find users by part of a username, email or full name.

    The best matches come first; `%` and `_` mean themselves.

    Example: dbctl users search ada --format json
    """
    from dbctl.cli.output.views import users as view
    from dbctl.users.repository import UserRepository

    async with run.database() as database, database.session() as session:
        found = await UserRepository(session).search(text, limit=limit)
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
) -> None:
    """List users a page at a time, by id.

    Example: dbctl users list --newest --limit 10
    """
    from dbctl.cli.output.views import users as view
    from dbctl.users.repository import UserRepository

    async with run.database() as database, database.session() as session:
        page = await UserRepository(session).list(
            limit=limit, after=after, newest=newest, is_active=active, is_superuser=superuser
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


@group.command("create", emits="report", writes=True)
async def create(
    run: Invocation,
    username: Annotated[str, typer.Argument(help="1 to 50 of a-z, A-Z, 0-9, `.`, `_` and `-`.")],
    email: Annotated[str, typer.Argument(help="The address, unique whatever its case.")],
    *,
    full_name: Annotated[str | None, typer.Option(help="What people call the user.")] = None,
    superuser: Annotated[bool, typer.Option("--superuser", help="May do everything.")] = False,
    inactive: Annotated[bool, typer.Option("--inactive", help="May not sign in yet.")] = False,
    password_stdin: Stdin = False,
    generate: Generate = False,
    no_password: NoPassword = False,
) -> None:
    """Create a user.

    Asks for the password unless an option says where it comes from.

    Example: dbctl users create ada ada@example.com --full-name "Ada Lovelace" --generate
    """
    from dbctl.cli.output.views import users as view
    from dbctl.users.model import NewUser, UserWithPassword
    from dbctl.users.repository import UserRepository

    password = _password(run, stdin=password_stdin, generate=generate, none=no_password)
    new = NewUser(username, email, full_name, password, is_active=not inactive, is_superuser=superuser)
    async with run.database(write=f"creates user {username}") as database, database.session() as session:
        user = await UserRepository(session).create(new)
    run.emit(UserWithPassword.of(user, password if generate else None), view.user, always=generate)


@group.command("update", emits="report", writes=True)
async def update(
    run: Invocation,
    who: Who,
    *,
    username: Annotated[str | None, typer.Option(help="The new username.")] = None,
    email: Annotated[str | None, typer.Option(help="The new email.")] = None,
    full_name: Annotated[str | None, typer.Option(help="The new full name; '' removes it.")] = None,
    superuser: Annotated[
        bool | None, typer.Option("--superuser/--no-superuser", help="May do everything.")
    ] = None,
) -> None:
    """Change the given fields of a user, once confirmed.

    Example: dbctl users update ada --email countess@example.com
    """
    from dbctl.cli.output.views import users as view
    from dbctl.users.repository import UserRepository

    changes = _changes(username=username, email=email, full_name=full_name, is_superuser=superuser)
    async with run.database(write=f"changes user {who}") as database:
        run.ask(f"Change {', '.join(changes.given())} of user {who}?")
        async with database.session() as session:
            users = UserRepository(session)
            user = await users.update((await users.find(who)).id, changes)
    run.emit(user, view.user)


@group.command("activate", emits="report", writes=True)
async def activate(run: Invocation, who: Who) -> None:
    """Let a user sign in again, once confirmed.

    Example: dbctl users activate ada --yes
    """
    from dbctl.cli.output.views import users as view
    from dbctl.users.repository import UserRepository

    async with run.database(write=f"activates user {who}") as database:
        run.ask(f"Activate user {who}?")
        async with database.session() as session:
            users = UserRepository(session)
            user = await users.activate((await users.find(who)).id)
    run.emit(user, view.user)


@group.command("deactivate", emits="report", writes=True)
async def deactivate(run: Invocation, who: Who) -> None:
    """Keep a user from signing in, once confirmed.

    `dbctl users activate` takes it back.

    Example: dbctl users deactivate ada --yes
    """
    from dbctl.cli.output.views import users as view
    from dbctl.users.repository import UserRepository

    async with run.database(write=f"deactivates user {who}") as database:
        run.ask(f"Deactivate user {who}?")
        async with database.session() as session:
            users = UserRepository(session)
            user = await users.deactivate((await users.find(who)).id)
    run.emit(user, view.user)


@group.command("delete", emits="report", writes=True)
async def delete(run: Invocation, who: Who) -> None:
    """Delete a user for good, once its username is typed.

    A script gives it with --confirm.

    Example: dbctl users delete ada --confirm ada
    """
    from dbctl.cli.output.views import users as view
    from dbctl.users.repository import UserRepository

    async with run.database(write=f"deletes user {who}") as database:
        async with database.session() as session:
            user = await UserRepository(session).find(who)
        run.ask_name(user.username, f"deletes user {user.username} <{user.email}>")
        async with database.session() as session:
            user = await UserRepository(session).delete(user.id)
    run.emit(user, view.user)


@group.command("password", emits="report", writes=True)
async def password_(
    run: Invocation,
    who: Who,
    *,
    password_stdin: Stdin = False,
    generate: Generate = False,
    no_password: NoPassword = False,
) -> None:
    """Set a user's password, once confirmed: the old one is lost.

    Asks for the new one unless an option says where it comes from.

    Example: dbctl users password ada --generate --yes
    """
    from dbctl.cli.output.views import users as view
    from dbctl.users.model import UserWithPassword
    from dbctl.users.repository import UserRepository

    await run.announce_write(f"sets the password of user {who}")
    run.ask(f"Set a new password for user {who}? The old one is lost.")
    password = _password(run, stdin=password_stdin, generate=generate, none=no_password)
    async with run.database() as database, database.session() as session:
        users = UserRepository(session)
        user = await users.set_password((await users.find(who)).id, password)
    run.emit(UserWithPassword.of(user, password if generate else None), view.user, always=generate)


@group.command("count", emits="report")
async def count(
    run: Invocation,
    *,
    text: Annotated[str | None, typer.Option(help="Only those that a search for it would find.")] = None,
    active: Active = None,
    superuser: Superuser = None,
) -> None:
    """Count users, exactly.

    Example: dbctl users count --active
    """
    from dbctl.cli.output.views import users as view
    from dbctl.users.model import Count
    from dbctl.users.repository import UserRepository

    async with run.database() as database, database.session() as session:
        counted = await UserRepository(session).count(text=text, is_active=active, is_superuser=superuser)
    run.emit(Count(counted), view.count)


@group.command("active", emits="list")
async def active_(
    run: Invocation,
    *,
    days: Annotated[int, typer.Option(help="How far to look back.", min=1, max=36_500)] = 30,
    limit: Limit = 100,
) -> None:
    """List active users that changed lately, the latest first.

    A change of the row is what counts: the table knows no sign-ins.

    Example: dbctl users active --days 7
    """
    from dbctl.cli.output.views import users as view
    from dbctl.users.repository import UserRepository

    async with run.database() as database, database.session() as session:
        found = await UserRepository(session).recently_active(days, limit=limit)
    run.emit(found, view.users)


@group.command("seed", emits="report", writes=True)
async def seed_(
    run: Invocation,
    count: Annotated[int, typer.Argument(help="How many users to make up.", min=1, max=10_000_000)],
    *,
    seed: Annotated[int, typer.Option(help="The same number gives the same users in an empty table.")] = 42,
) -> None:
    """Add made-up users, for development and tests.

    Each run adds others; none can sign in.

    Example: dbctl users seed 1000
    """
    from dbctl.cli.output.views import users as view
    from dbctl.users.seed import seed as add

    with run.progress("Seeding", total=count, unit="rows") as progress:
        async with (
            run.database(
                write=f"adds {count} made-up users", statement_timeout=0, command_timeout=0
            ) as database,
            database.session() as session,
        ):
            seeded = await add(session, count, seed=seed, progress=progress)
    run.emit(seeded, view.seeded)


def _changes(
    *, username: str | None, email: str | None, full_name: str | None, is_superuser: bool | None
) -> UserChanges:
    """What the command line gives; an empty full name removes it."""
    from dbctl.users.model import UNSET, UserChanges

    return UserChanges(
        username=UNSET if username is None else username,
        email=UNSET if email is None else email,
        full_name=UNSET if full_name is None else full_name or None,
        is_superuser=UNSET if is_superuser is None else is_superuser,
    )


def _password(run: Invocation, *, stdin: bool, generate: bool, none: bool) -> str | None:
    """The password from where exactly one option says, else from a prompt; never from an argument."""
    from dbctl.users.passwords import generate_password

    if stdin + generate + none > 1:
        raise UsageError("give one of --password-stdin, --generate and --no-password")
    if none:
        return None
    return generate_password() if generate else _typed_password(run, once=stdin or not sys.stdin.isatty())


def _typed_password(run: Invocation, *, once: bool) -> str:
    password = run.read_secret("Password")
    if not password:
        raise UsageError("no password was given", hint="add --password-stdin, --generate or --no-password")
    if not once and run.read_secret("The same again") != password:
        raise UsageError("the two passwords differ", hint="nothing was changed; try again")
    return password


def _say_where_to_go_on(run: Invocation, cursor: str | None) -> None:
    if cursor:
        run.say(f"more: add --after {cursor}")
