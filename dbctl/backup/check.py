"""Checks several backups one after the other: their bytes, or what they restore to."""

from __future__ import annotations

from collections.abc import Sequence

from dbctl.backup.archive import Archive
from dbctl.backup.encryption import Keyring
from dbctl.backup.model import Backup, Progress, Verified
from dbctl.backup.repository import Repository
from dbctl.backup.several import Round
from dbctl.backup.verify import verify_and_note
from dbctl.settings import Loaded


async def check_backups(
    chosen: Sequence[tuple[Repository, Backup]],
    loaded: Loaded,
    way: Round,
    *,
    restore: bool,
    keyring: Keyring,
    progress: Progress,
) -> list[Verified]:
    """``restore`` proves those that can be: a partial one, or one without a manifest, is only read."""
    results = []
    for repository, one in chosen:
        with way.at(repository):
            results.append(
                await _check(repository, one, loaded, restore=restore, keyring=keyring, progress=progress)
            )
    return results


async def _check(
    repository: Repository,
    backup: Backup,
    loaded: Loaded,
    *,
    restore: bool,
    keyring: Keyring,
    progress: Progress,
) -> Verified:
    whole = backup.manifest is not None and backup.manifest.selection is None
    if not restore or not whole:
        return await verify_and_note(repository, backup, progress=progress)
    from dbctl.backup.proof import prove_backup

    return await prove_backup(
        repository, Archive(backup, keyring, repository.storage), loaded, progress=progress
    )
