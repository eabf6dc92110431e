"""Compares a backup's bytes with its manifest."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime

from dbctl.backup.folder import BackupFolder
from dbctl.backup.model import Backup, Member, Progress, Proof, Status, Verified, ignore
from dbctl.errors import Corrupt, Failed

_CHUNK_BYTES = 1 << 20


async def verify_bytes(backup: Backup, *, progress: Progress = ignore) -> Verified:
    """Read every byte of every member; ``progress`` takes the bytes read so far. No database is asked."""
    started = time.monotonic()
    problem = backup.problem
    count = _Count(progress)
    if backup.manifest is not None and backup.status not in {Status.MISSING, Status.UNREADABLE}:
        found = [await _compare(backup, member, count) for member in backup.manifest.members]
        problem = next((one for one in found if one), "")
        if not problem and backup.status is Status.FAILED:
            problem = backup.problem
    return Verified(backup.id, not problem, problem, count.bytes, round(time.monotonic() - started, 3))


async def verify_and_note(folder: BackupFolder, backup: Backup, *, progress: Progress = ignore) -> Verified:
    """The same; a backup that turns out damaged counts as good no longer, one that is mended does again."""
    verified = await verify_bytes(backup, progress=progress)
    # From a folder that we may only read, the answer is worth as much.
    with suppress(Failed):
        if not verified.good and backup.status is Status.GOOD:
            folder.record(backup, _damage(backup, verified))
        if verified.good and backup.proof and not backup.proof.good:
            folder.forget_proof(backup)
    return verified


async def ensure_intact(backup: Backup, *, progress: Progress = ignore) -> None:
    """Raise Corrupt unless every byte is the one that the manifest describes."""
    verified = await verify_bytes(backup, progress=progress)
    if not verified.good:
        raise Corrupt(
            f"backup {backup.id} is damaged",
            why=verified.problem,
            hint="choose another: `dbctl backup verify --all`",
        )


@dataclass(slots=True)
class _Count:
    progress: Callable[[int], None]
    bytes: int = 0

    def add(self, size_bytes: int) -> None:
        self.bytes += size_bytes
        self.progress(self.bytes)


async def _compare(backup: Backup, member: Member, count: _Count) -> str:
    digest, before = hashlib.sha256(), count.bytes
    try:
        with (backup.path / member.name).open("rb") as file:
            while chunk := file.read(_CHUNK_BYTES):
                digest.update(chunk)
                count.add(len(chunk))
                # Ctrl-C gets its turn here.
                await asyncio.sleep(0)
    except OSError as error:
        return f"{member.name} can't be read: {error.strerror}"
    if (size_bytes := count.bytes - before) != member.size_bytes:
        return f"{member.name} has {size_bytes} bytes, not {member.size_bytes}"
    return (
        ""
        if digest.hexdigest() == member.sha256
        else f"{member.name} has another SHA-256 than the manifest says"
    )


def _damage(backup: Backup, verified: Verified) -> Proof:
    return Proof(
        backup_id=backup.id,
        manifest_sha256=backup.manifest_sha256,
        kind="bytes",
        good=False,
        problems=(verified.problem,),
        compared="every byte with its SHA-256",
        server_version="",
        checked_at=datetime.now(UTC),
        duration_seconds=verified.duration_seconds,
    )
