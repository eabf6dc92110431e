"""What the commands of ``dbctl users`` make of their options: changes, and passwords that no argument holds."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from dbctl.errors import UsageError

if TYPE_CHECKING:
    from dbctl.cli.command import Invocation
    from dbctl.users.model import UserChanges


def given_changes(
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


def given_password(run: Invocation, *, stdin: bool, generate: bool, none: bool) -> str | None:
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
