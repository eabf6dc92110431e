"""The whole of a nightly run: a backup, its proof where that is asked for, and only then what retention removes."""

from __future__ import annotations

from dataclasses import replace

from dbctl.backup.archive import Archive
from dbctl.backup.create import create_backup
from dbctl.backup.encryption import NO_KEYS, Keyring
from dbctl.backup.folder import BackupFolder
from dbctl.backup.model import Backup, Progress, Request, Say, ignore
from dbctl.backup.proof import prove_backup
from dbctl.backup.prune import prune_backups
from dbctl.database import Target
from dbctl.errors import Failed, Refused, UsageError


async def make_backup(
    target: Target,
    folder: BackupFolder,
    request: Request,
    *,
    prove: bool = False,
    keyring: Keyring = NO_KEYS,
    progress: Progress = ignore,
    say: Say = ignore,
) -> Backup:
    """Write a backup; ``prove`` restores it on scratch and compares rows, values and catalog.

    One that does not restore stays, marked as failed, and is raised as Failed; nothing is then removed.
    """
    settings = target.settings.settings.backup
    if prove:
        _ensure_provable(request, encrypted=bool(settings.encrypt_to), keyring=keyring)
        request = replace(request, digests=True)
    backup = await create_backup(target, folder, settings, request, progress=progress, say=say)
    if prove:
        backup = await _proven(target, folder, Archive(backup, keyring), say)
    if settings.prune and request.selection.whole:
        removed = [one for one in await prune_backups(folder, target.environment, settings) if one.removed]
        say(f"removed {len(removed)} that backup.keep does not keep")
    return backup


def _ensure_provable(request: Request, *, encrypted: bool, keyring: Keyring) -> None:
    if not request.selection.whole:
        raise UsageError("a partial backup can't be proven", hint="leave out --prove")
    if encrypted and not keyring.identities:
        raise Refused(
            "the backup will be encrypted, and no key here opens it again",
            why="a proof reads it",
            hint="name a key by backup.identity, or run `dbctl backup verify --restore` where there is one",
        )


async def _proven(target: Target, folder: BackupFolder, archive: Archive, say: Say) -> Backup:
    verified = await prove_backup(folder, archive, target.settings)
    for note in verified.notes:
        say(f"note: {note}")
    if not verified.good:
        raise Failed(
            f"backup {verified.id} does not restore to what was dumped",
            why=verified.problem,
            hint="it is marked as failed and counts for nothing; `dbctl backup show` says more",
        )
    return folder.find(verified.id, environment=target.environment)
