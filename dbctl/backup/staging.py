"""A backup in the making: its files, hashed while they are written, and the one moment when it appears."""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from dbctl.backup.manifest import MANIFEST_NAME, render
from dbctl.backup.model import Backup, Manifest, Member, Status
from dbctl.errors import Failed

CHUNK_BYTES = 1 << 20
_ELSEWHERE = "mend its permissions, or set backup.target to another folder"


@dataclass(slots=True)
class MemberFile:
    """A new file of a backup, hashed while it is written."""

    name: str
    place: Path
    handle: BinaryIO
    digest: hashlib._Hash
    size_bytes: int = 0

    def write(self, chunk: bytes) -> None:
        """Append; raises Failed when the disk is full."""
        with errors_of(self.place):
            self.handle.write(chunk)
        self.digest.update(chunk)
        self.size_bytes += len(chunk)

    @property
    def member(self) -> Member:
        """What was written so far, for the manifest."""
        return Member(self.name, self.size_bytes, self.digest.hexdigest())


@dataclass(frozen=True, slots=True)
class Staged:
    """A backup in the making, below ``.partial``; nobody takes it for a backup."""

    work: Path
    final: Path

    @contextmanager
    def member(self, name: str) -> Iterator[MemberFile]:
        """A file to fill; on disk, and not only in the system's memory, when the block ends."""
        with errors_of(self.final.parent):
            handle = open(self.work / name, "xb", opener=_private)  # noqa: SIM115
        with handle:
            yield MemberFile(name, self.final.parent, handle, hashlib.sha256())
            with errors_of(self.final.parent):
                handle.flush()
                os.fsync(handle.fileno())

    def adopt(self, folder: str) -> tuple[Member, ...]:
        """Hash what another program wrote into a folder of ours, and see it onto the disk. Blocks."""
        with errors_of(self.final.parent):
            found = [self._adopted(path) for path in sorted((self.work / folder).iterdir())]
            sync(self.work / folder)
        return tuple(found)

    def discard(self) -> None:
        """Remove what was written, to begin anew."""
        shutil.rmtree(self.work, ignore_errors=True)
        with errors_of(self.final.parent):
            self.work.mkdir(mode=0o700)

    def publish(self, manifest: Manifest, key: bytes | None = None) -> Backup:
        """Write the manifest, then let the backup appear: one rename, which never replaces another."""
        text = render(manifest, key)
        with errors_of(self.final.parent):
            write_new(self.work / MANIFEST_NAME, text)
            sync(self.work)
            self.work.rename(self.final)
            sync(self.final.parent)
        digest = hashlib.sha256(text.encode()).hexdigest()
        return Backup(manifest.id, Status.GOOD, "", self.final, manifest, digest)

    def _adopted(self, path: Path) -> Member:
        with path.open("rb") as handle:
            digest = hashlib.file_digest(handle, "sha256")
            os.fsync(handle.fileno())
            return Member(f"{path.parent.name}/{path.name}", path.stat().st_size, digest.hexdigest())


def write_new(path: Path, text: str) -> None:
    """A new private file, on the disk when this returns. Raises FileExistsError."""
    with open(path, "x", encoding="utf-8", opener=_private) as handle:
        handle.write(text)
        handle.flush()
        os.fsync(handle.fileno())


def sync(folder: Path) -> None:
    """See the names in a folder onto the disk."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def errors_of(folder: Path, verb: str = "write to") -> Iterator[None]:
    """The system's errors as Failed, with what to do about them."""
    try:
        yield
    except FileExistsError as error:
        raise Failed(
            f"can't {verb} the backup folder {folder}", why="it is a file", hint=_ELSEWHERE
        ) from error
    except OSError as error:
        full = error.errno in {errno.ENOSPC, errno.EDQUOT}
        raise Failed(
            f"can't {verb} the backup folder {folder}",
            why=error.strerror or str(error),
            hint="free some space there" if full else _ELSEWHERE,
        ) from error


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)
