"""Where an environment's backups are, and the keys that seal and open them."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Annotated

import typer

from dbctl.cli.command import Invocation
from dbctl.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dbctl.backup.encryption import Keyring
    from dbctl.backup.model import Verdict
    from dbctl.backup.repository import Repository


Where = Annotated[
    str | None,
    typer.Option("--target", metavar="FOLDER|URL", help="Only there. [backup.target, backup.targets]"),
]


def open_repositories(run: Invocation, where: str | None = None) -> tuple[Repository, ...]:
    """Where the environment's backups are, the place to look first coming first; or only ``where`` of --target."""
    from dbctl.backup.repository import Repository
    from dbctl.backup.seal import read_key
    from dbctl.backup.targets import open_storage

    settings = run.loaded.settings.backup
    key = read_key(run.loaded.path(settings.seal_key) if settings.seal_key else None)
    names = (_checked(where),) if where is not None else settings.targets or (settings.target,)
    storage = settings.storage
    if storage.profile is None and "AWS_ACCESS_KEY_ID" not in os.environ:
        # As Amazon's own tools do: keys in the environment come first.
        storage = storage.model_copy(update={"profile": os.environ.get("AWS_PROFILE") or None})
    return tuple(Repository(open_storage(one, storage, run.loaded.root), key) for one in names)


def _checked(where: str) -> str:
    """A target of the command line. Raises UsageError; what it holds by mistake is not shown."""
    from pydantic import TypeAdapter, ValidationError

    from dbctl.settings.types import Place

    try:
        return TypeAdapter(Place).validate_python(where)
    except ValidationError as error:
        raise UsageError("--target is no target", why=str(error.errors()[0]["msg"])) from None


def open_keyring(run: Invocation) -> Keyring:
    """The private keys that the environment names, for encrypted backups."""
    from dbctl.backup.encryption import Keyring

    identity = run.loaded.settings.backup.identity
    return Keyring.read(run.loaded.path(identity) if identity else None)


def agrees_to_remove(run: Invocation, planned: Sequence[Verdict]) -> bool:
    """Whether to remove what the plan does not keep: with --yes, and a protected environment's name. Raises Refused."""
    going = sum(not one.keep for one in planned)
    if going and run.common.yes and run.loaded.settings.protected:
        run.ask_name(run.loaded.environment, f"removes {going} backups of a protected environment")
    agreed = bool(going) and run.common.yes
    if agreed:
        run.record("backups", f"removes {going} backups")
    return agreed


def seconds_of(option: str, given: str | None, default: float) -> float:
    """A duration of the command line, such as ``26h``; else the settings'. Raises UsageError."""
    from dbctl.settings.types import parse_duration

    try:
        return default if given is None else float(parse_duration(given))
    except ValueError as error:
        raise UsageError(f"{option} {given!r} is no duration", why=str(error)) from None
