"""Compares a backup's bytes with its manifest."""

from __future__ import annotations

import asyncio
import hashlib
import time

from dbctl.backup.folder import readable
from dbctl.backup.model import Backup, Progress, Status, Verified, ignore
from dbctl.errors import Corrupt

_CHUNK_BYTES = 1 << 20


async def verify_bytes(backup: Backup, *, progress: Progress = ignore) -> Verified:
    """Read every byte of the archive; ``progress`` takes the bytes read so far. No database is asked."""
    started = time.monotonic()
    problem, size_bytes = backup.problem, 0
    if backup.status is Status.GOOD:
        problem, size_bytes = await _compare(backup, progress)
    return Verified(backup.id, not problem, problem, size_bytes, round(time.monotonic() - started, 3))


async def ensure_intact(backup: Backup, *, progress: Progress = ignore) -> None:
    """Raise Corrupt unless every byte is the one that the manifest describes."""
    verified = await verify_bytes(backup, progress=progress)
    if not verified.good:
        raise Corrupt(
            f"backup {backup.id} is damaged",
            why=verified.problem,
            hint="choose another: `dbctl backup verify --all`",
        )


async def _compare(backup: Backup, progress: Progress) -> tuple[str, int]:
    manifest = readable(backup)
    digest, size_bytes = hashlib.sha256(), 0
    try:
        with (backup.path / manifest.archive).open("rb") as archive:
            while chunk := archive.read(_CHUNK_BYTES):
                digest.update(chunk)
                size_bytes += len(chunk)
                progress(size_bytes)
                # Ctrl-C gets its turn here.
                await asyncio.sleep(0)
    except OSError as error:
        return f"{manifest.archive} can't be read: {error.strerror}", size_bytes
    if size_bytes != manifest.size_bytes:
        return f"{manifest.archive} has {size_bytes} bytes, not {manifest.size_bytes}", size_bytes
    if digest.hexdigest() != manifest.sha256:
        return f"{manifest.archive} has another SHA-256 than the manifest says", size_bytes
    return "", size_bytes
