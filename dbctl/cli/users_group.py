"""The group ``dbctl users``, and the options that several of its commands have."""

from __future__ import annotations

from typing import Annotated

import typer

from dbctl.cli.command import Group

group = Group("users", "Find, create and change users.")

Who = Annotated[str, typer.Argument(help="An id, a username or an email.")]
Limit = Annotated[int, typer.Option(help="The most to show.", min=1, max=10_000)]
Active = Annotated[
    bool | None, typer.Option("--active/--inactive", help="Only those who may, or may not, sign in.")
]
Superuser = Annotated[
    bool | None, typer.Option("--superuser/--no-superuser", help="Only superusers, or only others.")
]
Primary = Annotated[bool, typer.Option("--primary", help="Ask the primary alone, none of database.replicas.")]
Stdin = Annotated[
    bool, typer.Option("--password-stdin", help="Read the password from the first line of stdin.")
]
Generate = Annotated[bool, typer.Option("--generate", help="Make up a password and show it this once.")]
NoPassword = Annotated[
    bool, typer.Option("--no-password", help="Without a password nobody can sign in as this user.")
]
