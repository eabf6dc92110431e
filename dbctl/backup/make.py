"""The whole of a nightly run: a backup, its proof where that is asked for, and only then what retention removes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from dbctl.backup.archive import Archive
from dbctl.backup.create import Created, create_backup
from dbctl.backup.encryption import NO_KEYS, Keyring
from dbctl.backup.model import Backup, Progress, Request, Say, ignore
from dbctl.backup.proof import prove_backup
from dbctl.backup.prune import prune_backups
from dbctl.backup.repository import Repository
from dbctl.backup.verify import verify_and_note
from dbctl.database import Target
from dbctl.errors import Busy, DbctlError, Failed, Refused, UsageError


async def make_backup(
    target: Target,
    repositories: Sequence[Repository],
    request: Request,
    *,
    prove: bool = False,
    keyring: Keyring = NO_KEYS,
    progress: Progress = ignore,
    say: Say = ignore,
) -> Backup:
    """Write a backup; ``prove`` restores it on scratch and compares rows, values and catalog.

    One that does not restore stays, marked as failed, and is raised as Failed; nothing is then removed. One
    that some repository did not take is raised as Failed too, when all is done in the others.
    """
    settings = target.settings.settings.backup
    if prove:
        _ensure_provable(request, encrypted=bool(settings.encrypt_to), keyring=keyring)
        request = replace(request, digests=True)
    made = await create_backup(target, repositories, settings, request, progress=progress, say=say)
    backup = made.backup
    failures: dict[str, DbctlError] = dict(made.failures)
    if prove:
        backup = await _proven(target, made, keyring, say)
    if settings.prune and request.selection.whole:
        for repository in made.holders:
            try:
                verdicts = await prune_backups(repository, target.environment, settings)
            except (Busy, Failed) as error:
                failures[repository.place] = error
            else:
                say(f"removed {sum(one.removed for one in verdicts)} that backup.keep does not keep")
    if failures:
        raise Failed(
            f"backup {backup.id} is good, but not all went well in every target",
            why="; ".join(f"{place}: {error}" for place, error in failures.items()),
            hint=f"it is in {', '.join(one.place for one in made.holders)}; mend the other, and run it again",
        )
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


async def _proven(target: Target, made: Created, keyring: Keyring, say: Say) -> Backup:
    """Restore it from where it is read fastest; the others are read back, byte by byte, and share the proof."""
    first, *others = sorted(made.holders, key=lambda one: one.storage.remote)
    backup = first.find(made.backup.id, environment=target.environment)
    verified = await prove_backup(first, Archive(backup, keyring, first.storage), target.settings)
    for note in verified.notes:
        say(f"note: {note}")
    proven = first.find(backup.id, environment=target.environment)
    for other in others:
        copy = other.find(backup.id, environment=target.environment)
        read = await verify_and_note(other, copy)
        if read.good and proven.proof:
            other.record(copy, replace(proven.proof, manifest_sha256=copy.manifest_sha256))
        verified = verified if read.good else read
    if not verified.good:
        raise Failed(
            f"backup {verified.id} does not restore to what was dumped",
            why=verified.problem,
            hint="it is marked as failed and counts for nothing; `dbctl backup show` says more",
        )
    return proven
