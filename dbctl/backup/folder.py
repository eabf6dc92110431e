"""A folder of backups: each in a folder of its own, which appears complete or not at all."""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from dbctl.backup.manifest import MANIFEST_NAME, parse_manifest, render_manifest
from dbctl.backup.model import Backup, Manifest, Status
from dbctl.backup.naming import BACKUP_ID
from dbctl.errors import Corrupt, DbctlError, Failed, NotFound, UsageError
from dbctl.postgres.file_lock import file_lock

ARCHIVE_NAME = "archive.dump"
LATEST = "latest"
_ELSEWHERE = "mend its permissions, or set backup.target to another folder"


@dataclass(slots=True)
class ArchiveFile:
    """A new archive, hashed while it is written."""

    path: Path
    handle: BinaryIO
    digest: hashlib._Hash
    size_bytes: int = 0

    def write(self, chunk: bytes) -> None:
        """Append; raises Failed when the disk is full."""
        with _errors_of(self.path):
            self.handle.write(chunk)
        self.digest.update(chunk)
        self.size_bytes += len(chunk)


@dataclass(frozen=True, slots=True)
class Staged:
    """A backup in the making, below ``.partial``; nobody takes it for a backup."""

    work: Path
    final: Path

    @contextmanager
    def archive(self) -> Iterator[ArchiveFile]:
        """The archive to fill; on disk, and not only in the system's memory, when the block ends."""
        with _errors_of(self.final.parent):
            handle = open(self.work / ARCHIVE_NAME, "xb", opener=_private)  # noqa: SIM115
        with handle:
            yield ArchiveFile(self.final.parent, handle, hashlib.sha256())
            with _errors_of(self.final.parent):
                handle.flush()
                os.fsync(handle.fileno())

    def publish(self, manifest: Manifest) -> Backup:
        """Write the manifest, then let the backup appear: one rename, which never replaces another."""
        with _errors_of(self.final.parent):
            with open(self.work / MANIFEST_NAME, "x", encoding="utf-8", opener=_private) as handle:
                handle.write(render_manifest(manifest))
                handle.flush()
                os.fsync(handle.fileno())
            _sync(self.work)
            self.work.rename(self.final)
            _sync(self.final.parent)
        return Backup(manifest.id, Status.GOOD, "", self.final, manifest)


@dataclass(frozen=True, slots=True)
class BackupFolder:
    """Where backups are: ``<path>/<id>/`` holds an archive and its manifest."""

    path: Path

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Make the folder if need be and be its only writer; raises Busy. Removes what a killed run left."""
        with ExitStack() as stack:
            with _errors_of(self.path):
                self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
                stack.enter_context(file_lock(self.path / ".lock"))
                shutil.rmtree(self._partial, ignore_errors=True)
                self._partial.mkdir(mode=0o700, exist_ok=True)
            yield

    @contextmanager
    def stage(self, backup_id: str) -> Iterator[Staged]:
        """A place for a new backup; gone at the block's end, unless it was published."""
        staged = Staged(self._partial / backup_id, self.path / backup_id)
        try:
            with _errors_of(self.path):
                staged.work.mkdir(mode=0o700)
            yield staged
        finally:
            shutil.rmtree(staged.work, ignore_errors=True)

    def backups(self) -> tuple[Backup, ...]:
        """Every backup, the newest first; those that can't be read go last."""
        with _errors_of(self.path, "read"):
            found = [self._read(folder) for folder in self._folders()]
        return tuple(sorted(found, key=_age, reverse=True))

    def find(self, reference: str, *, environment: str, database: str | None = None) -> Backup:
        """By id, by the beginning of one, or ``latest``: the newest good one of environment and database."""
        if reference == LATEST:
            return self._latest(environment, database)
        matches = [one for one in self.backups() if reference and one.id.startswith(reference)]
        if len(matches) > 1:
            ids = ", ".join(one.id for one in matches[:5])
            raise UsageError(
                f"{reference!r} is short for {len(matches)} backups", why=ids, hint="give more of it"
            )
        if not matches:
            raise NotFound(f"no backup {reference!r} in {self.path}", hint="see `dbctl backup list`")
        return matches[0]

    @property
    def _partial(self) -> Path:
        return self.path / ".partial"

    def _folders(self) -> Iterator[Path]:
        if self.path.exists():
            for entry in self.path.iterdir():
                if BACKUP_ID.fullmatch(entry.name) and (entry / MANIFEST_NAME).is_file():
                    yield entry

    def _read(self, folder: Path) -> Backup:
        try:
            manifest = parse_manifest((folder / MANIFEST_NAME).read_text(encoding="utf-8"), folder.name)
        except (OSError, UnicodeDecodeError, DbctlError) as error:
            why = error.why if isinstance(error, DbctlError) else str(error)
            return Backup(folder.name, Status.UNREADABLE, why, folder, None)
        return Backup(folder.name, *_look(folder / manifest.archive, manifest), folder, manifest)

    def _latest(self, environment: str, database: str | None) -> Backup:
        for one in self.backups():
            if one.status is Status.GOOD and _is_of(one, environment, database):
                return one
        wanted = f"{environment}, database {database}" if database else environment
        raise NotFound(
            f"no good backup of {wanted} in {self.path}",
            hint="see `dbctl backup list`, or make one: `dbctl backup`",
        )


def readable(backup: Backup) -> Manifest:
    """Its manifest; raises Corrupt where there is none that can be read."""
    if backup.manifest is None:
        raise Corrupt(
            f"the manifest of backup {backup.id} is broken",
            why=backup.problem,
            hint="see `dbctl backup list`",
        )
    return backup.manifest


def _is_of(backup: Backup, environment: str, database: str | None) -> bool:
    known = backup.manifest
    return known is not None and known.environment == environment and database in {None, known.database}


def _look(archive: Path, manifest: Manifest) -> tuple[Status, str]:
    if not archive.is_file():
        return Status.MISSING, f"no archive {archive.name}"
    size_bytes = archive.stat().st_size
    if size_bytes != manifest.size_bytes:
        return Status.DAMAGED, f"{archive.name} has {size_bytes} bytes, not {manifest.size_bytes}"
    return Status.GOOD, ""


def _age(backup: Backup) -> tuple[bool, float, str]:
    known = backup.manifest
    return known is not None, known.created_at.timestamp() if known else 0.0, backup.id


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def _sync(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def _errors_of(folder: Path, verb: str = "write to") -> Iterator[None]:
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
