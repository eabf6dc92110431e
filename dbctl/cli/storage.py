"""Where an environment's backups are, and the keys that seal and open them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dbctl.cli.command import Invocation
from dbctl.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dbctl.backup.encryption import Keyring
    from dbctl.backup.folder import BackupFolder
    from dbctl.backup.model import Verdict


def open_folder(run: Invocation) -> BackupFolder:
    """The environment's folder of backups."""
    from dbctl.backup.folder import BackupFolder
    from dbctl.backup.seal import read_key

    settings = run.loaded.settings.backup
    key = run.loaded.path(settings.seal_key) if settings.seal_key else None
    return BackupFolder(run.loaded.path(settings.target), read_key(key))


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
    return bool(going) and run.common.yes


def seconds_of(option: str, given: str | None, default: float) -> float:
    """A duration of the command line, such as ``26h``; else the settings'. Raises UsageError."""
    from dbctl.settings.types import parse_duration

    try:
        return default if given is None else float(parse_duration(given))
    except ValueError as error:
        raise UsageError(f"{option} {given!r} is no duration", why=str(error)) from None
