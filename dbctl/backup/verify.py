"""Compares a backup's bytes with its manifest."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from dbctl.backup.disk import FolderStorage, errors_of
from dbctl.backup.model import Backup, Member, Progress, Proof, Status, Verified, ignore
from dbctl.backup.repository import Repository
from dbctl.backup.storage import Storage, stream
from dbctl.errors import Corrupt, Failed


async def verify_bytes(
    backup: Backup,
    storage: Storage | None = None,
    *,
    progress: Progress = ignore,
    copy_to: Path | None = None,
) -> Verified:
    """Read every byte of every member; ``progress`` takes the bytes read so far. No database is asked.

    ``storage`` is where it lies (None: in its path on a disk); ``copy_to`` an empty folder that gets what is read.
    """
    started = time.monotonic()
    problem = backup.problem
    reader = _Reader(storage or FolderStorage(Path(backup.path).parent), backup.id, progress, copy_to)
    if backup.manifest is not None and backup.status not in {Status.MISSING, Status.UNREADABLE}:
        found = [await reader.compare(member) for member in backup.manifest.members]
        problem = next((one for one in found if one), "")
        if not problem and backup.status is Status.FAILED:
            problem = backup.problem
    seconds = round(time.monotonic() - started, 3)
    return Verified(backup.id, not problem, problem, reader.size_bytes, seconds, path=backup.path)


async def verify_and_note(repository: Repository, backup: Backup, *, progress: Progress = ignore) -> Verified:
    """The same; a backup that turns out damaged counts as good no longer, one that is mended does again."""
    verified = await verify_bytes(backup, repository.storage, progress=progress)
    note(repository, backup, verified)
    return verified


def note(repository: Repository, backup: Backup, verified: Verified) -> None:
    """Record beside the manifest what reading its bytes showed, where that is news."""
    # From a target that we may only read, the answer is worth as much.
    with suppress(Failed):
        if not verified.good and backup.status is Status.GOOD:
            repository.record(backup, _damage(backup, verified))
        if verified.good and backup.proof and not backup.proof.good:
            repository.forget_proof(backup)


def ensure_good(verified: Verified) -> None:
    """Raise Corrupt unless every byte was the one that the manifest describes."""
    if not verified.good:
        raise Corrupt(
            f"backup {verified.id} is damaged",
            why=verified.problem,
            hint="choose another: `dbctl backup verify --all`",
        )


@dataclass(slots=True)
class _Reader:
    storage: Storage
    backup_id: str
    progress: Callable[[int], None]
    copy_to: Path | None
    size_bytes: int = 0

    async def compare(self, member: Member) -> str:
        """What is wrong with that member; empty where nothing is."""
        digest, before = hashlib.sha256(), self.size_bytes
        with self._copy(member.name) as write:
            try:
                async for chunk in stream(self.storage, f"{self.backup_id}/{member.name}"):
                    digest.update(chunk)
                    write(chunk)
                    self.size_bytes += len(chunk)
                    self.progress(self.size_bytes)
            except Failed as error:
                if self.storage.remote:
                    # What a network keeps from us now is no damage.
                    raise
                return f"{member.name} can't be read: {error.why}"
        if (size_bytes := self.size_bytes - before) != member.size_bytes:
            return f"{member.name} has {size_bytes} bytes, not {member.size_bytes}"
        if digest.hexdigest() != member.sha256:
            return f"{member.name} has another SHA-256 than the manifest says"
        return ""

    @contextmanager
    def _copy(self, name: str) -> Iterator[Callable[[bytes], object]]:
        if self.copy_to is None:
            yield ignore
            return
        path = self.copy_to / name
        with errors_of(self.copy_to):
            path.parent.mkdir(mode=0o700, exist_ok=True)
            file = path.open("xb")
        with file:

            def write(chunk: bytes) -> None:
                with errors_of(path.parent):
                    file.write(chunk)

            yield write


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
