"""A folder on a disk as a target: a backup appears in it by one rename, complete and synced."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from dbctl.backup.naming import BACKUP_ID, MANIFEST_NAME
from dbctl.backup.storage import Item, Writer
from dbctl.errors import Failed
from dbctl.postgres.file_lock import file_lock

CHUNK_BYTES = 1 << 20
_ELSEWHERE = "mend its permissions, or set backup.target to another folder"


@dataclass(frozen=True, slots=True)
class FolderStorage:
    """``<root>/<id>/`` holds a backup, ``<root>/.partial/<id>/`` one in the making."""

    root: Path

    @property
    def place(self) -> str:
        """The folder's path."""
        return str(self.root)

    @property
    def remote(self) -> bool:
        """A disk answers soon enough."""
        return False

    @contextmanager
    def exclusive(self) -> Iterator[None]:
        """Make the folder if need be and be its only writer; raises Busy. Removes what a killed run left."""
        with ExitStack() as stack:
            with errors_of(self.root):
                self.root.mkdir(mode=0o700, parents=True, exist_ok=True)
                stack.enter_context(file_lock(self.root / ".lock"))
                shutil.rmtree(self._partial, ignore_errors=True)
                self._partial.mkdir(mode=0o700, exist_ok=True)
            yield

    def items(self, backup_id: str = "") -> Iterator[Item]:
        """The files of the backups that have appeared, down to the folder that an archive may be."""
        with errors_of(self.root, "read"):
            if not self.root.exists():
                return
            found = [self.root / backup_id] if backup_id else list(self.root.iterdir())
            for folder in found:
                if BACKUP_ID.fullmatch(folder.name) and folder.is_dir():
                    yield from _files(folder, folder.name)

    def read(self, key: str) -> Iterator[bytes]:
        """A file in chunks of 1 MiB."""
        with errors_of(self.root, "read"), (self.root / key).open("rb") as file:
            while chunk := file.read(CHUNK_BYTES):
                yield chunk

    def read_all(self, key: str) -> bytes | None:
        """A small file; None where there is none."""
        try:
            with errors_of(self.root, "read"):
                return (self.root / key).read_bytes()
        except Failed as error:
            if isinstance(error.__cause__, FileNotFoundError):
                return None
            raise

    def begin(self, backup_id: str) -> None:
        """Make a place below ``.partial``; nobody takes what lies there for a backup."""
        with errors_of(self.root):
            self.workplace(backup_id).mkdir(mode=0o700)

    @contextmanager
    def write(self, key: str, expected_bytes: int = 0) -> Iterator[Writer]:
        """A file of the new backup; on disk, and not only in the system's memory, when the block ends."""
        del expected_bytes
        path = self._partial / key
        with errors_of(self.root):
            path.parent.mkdir(mode=0o700, exist_ok=True)
            handle = open(path, "xb", opener=_private)  # noqa: SIM115
        with handle:
            yield _File(self.root, handle)
            with errors_of(self.root):
                handle.flush()
                os.fsync(handle.fileno())

    def commit(self, backup_id: str, manifest: bytes, sizes: Mapping[str, int]) -> None:
        """Write the manifest, then let the backup appear: one rename, which never replaces another."""
        work = self.workplace(backup_id)
        check_sizes(self.place, sizes, {one.key: one.size_bytes for one in _files(work, backup_id)})
        with errors_of(self.root):
            _write_new(work / MANIFEST_NAME, manifest)
            for folder in {(work / name).parent for name in sizes}:
                _sync(folder)
            work.rename(self.root / backup_id)
            _sync(self.root)

    def replace(self, key: str, content: bytes) -> None:
        """Put a small file in the place of another, by a rename."""
        path = self.root / key
        half = path.with_name(f".{path.name}.partial")
        with errors_of(self.root):
            half.unlink(missing_ok=True)
            _write_new(half, content)
            half.replace(path)
            _sync(path.parent)

    def delete(self, key: str) -> None:
        """Remove a file; none is no error."""
        with errors_of(self.root):
            (self.root / key).unlink(missing_ok=True)

    def discard(self, backup_id: str) -> None:
        """Remove what was written below ``.partial``."""
        shutil.rmtree(self.workplace(backup_id), ignore_errors=True)

    def remove(self, backup_id: str) -> None:
        """Let a backup disappear by a rename, then free its space. The caller is the only writer."""
        gone = self._partial / f"{backup_id}.removed"
        with errors_of(self.root):
            (self.root / backup_id).rename(gone)
            _sync(self.root)
        shutil.rmtree(gone, ignore_errors=True)

    def leftovers(self) -> tuple[str, ...]:
        """None: `exclusive` has removed them."""
        return ()

    def folder(self, backup_id: str) -> Path:
        """Where a backup's files are."""
        return self.root / backup_id

    def workplace(self, backup_id: str) -> Path:
        """Where those of a new one are."""
        return self._partial / backup_id

    @property
    def _partial(self) -> Path:
        return self.root / ".partial"


@dataclass(frozen=True, slots=True)
class _File:
    root: Path
    handle: BinaryIO

    def write(self, chunk: bytes) -> None:
        with errors_of(self.root):
            self.handle.write(chunk)


def check_sizes(place: str, wanted: Mapping[str, int], found: Mapping[str, int]) -> None:
    """Raise Failed unless the target holds each file whole; keys are ``<backup id>/<name>``, and what follows the slash."""
    there = {key.partition("/")[2]: size_bytes for key, size_bytes in found.items()}
    for name, size_bytes in wanted.items():
        if there.get(name) != size_bytes:
            raise Failed(
                f"the backup target {place} has not taken {name} whole",
                why=f"{size_bytes} bytes were written, {there.get(name, 'none')} are there",
                hint="try again; if it comes back, the target is at fault",
            )


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


def _files(folder: Path, key: str) -> Iterator[Item]:
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_file():
                yield Item(f"{key}/{entry.name}", entry.stat().st_size)
            elif entry.is_dir(follow_symlinks=False):
                yield from _files(Path(entry), f"{key}/{entry.name}")


def _write_new(path: Path, content: bytes) -> None:
    """A new private file, on the disk when this returns. Raises FileExistsError."""
    with open(path, "xb", opener=_private) as handle:
        handle.write(content)
        handle.flush()
        os.fsync(handle.fileno())


def _sync(folder: Path) -> None:
    """See the names in a folder onto the disk."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)
