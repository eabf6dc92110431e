"""``dbctl users create``, ``update``, ``activate``, ``deactivate``, ``delete``, ``password``: one user changed."""

from __future__ import annotations

from typing import Annotated

import typer

from dbctl.cli.command import Invocation
from dbctl.cli.users_group import Generate, NoPassword, Stdin, Who, group
from dbctl.cli.users_input import given_changes, given_password
from dbctl.errors import UsageError


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
    from dbctl.users.passwords import Passwords
    from dbctl.users.repository import UserRepository

    password = given_password(run, stdin=password_stdin, generate=generate, none=no_password)
    new = NewUser(username, email, full_name, password, is_active=not inactive, is_superuser=superuser)
    async with run.database(write=f"creates user {username}") as database, database.session() as session:
        user = await UserRepository(session, Passwords.of(run.loaded.settings.passwords)).create(new)
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

    Refused where somebody else changes the user meanwhile.

    Example: dbctl users update ada --email countess@example.com
    """
    from dbctl.cli.output.views import users as view
    from dbctl.users.repository import UserRepository

    changes = given_changes(username=username, email=email, full_name=full_name, is_superuser=superuser)
    async with run.database(write=f"changes user {who}") as database:
        async with database.session() as session:
            seen = await UserRepository(session).find(who)
        run.ask(f"Change {', '.join(changes.given())} of user {seen.username} <{seen.email}>?")
        async with database.session() as session:
            user = await UserRepository(session).update(seen.id, changes, unchanged_since=seen.updated_at)
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
async def deactivate(
    run: Invocation,
    who: Annotated[str | None, typer.Argument(help="An id, a username or an email.")] = None,
    *,
    unchanged_for: Annotated[
        str,
        typer.Option("--inactive-for", metavar="SPAN", help="All that have not changed for so long: 365d."),
    ] = "",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only count them.")] = False,
) -> None:
    """Keep users from signing in, once confirmed: one, or all that have not changed for long.

    Superusers are left out of the latter. The table knows no sign-ins: a change of the row is what counts.
    `dbctl users activate` takes it back.

    Example: dbctl users deactivate --inactive-for 365d --dry-run
    """
    from dbctl.cli.users_idle import deactivate_one, deactivate_unchanged

    if (who is None) == (not unchanged_for) or (who and dry_run):
        raise UsageError("give either a user, or --inactive-for SPAN with or without --dry-run")
    if who is None:
        await deactivate_unchanged(run, unchanged_for, dry_run=dry_run)
    else:
        await deactivate_one(run, who)


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
    from dbctl.users.passwords import Passwords
    from dbctl.users.repository import UserRepository

    await run.announce_write(f"sets the password of user {who}")
    run.ask(f"Set a new password for user {who}? The old one is lost.")
    password = given_password(run, stdin=password_stdin, generate=generate, none=no_password)
    async with run.database() as database, database.session() as session:
        users = UserRepository(session, Passwords.of(run.loaded.settings.passwords))
        user = await users.set_password((await users.find(who)).id, password)
    run.emit(UserWithPassword.of(user, password if generate else None), view.user, always=generate)
