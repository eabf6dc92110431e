"""An archive on this machine's disk, every byte compared with the manifest before anybody reads it."""

from __future__ import annotations

import os
import shutil
import stat
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import replace
from pathlib import Path

from dbctl.backup.archive import Archive
from dbctl.backup.model import Manifest, Progress, Verified, ignore
from dbctl.backup.verify import ensure_good, verify_bytes
from dbctl.errors import Busy, Refused
from dbctl.postgres.file_lock import file_lock

_PREFIX = "dbctl-fetched-"


@asynccontextmanager
async def fetched(
    archive: Archive, *, progress: Progress = ignore
) -> AsyncIterator[tuple[Verified, Archive]]:
    """What reading it showed, and the archive as pg_restore can read it: only to be used where that was good.

    One in a folder is read where it lies. One in a bucket is downloaded once, encrypted as it is, into a private
    folder below TMPDIR, which needs room for all of it; pg_restore reads it several times and in several places,
    and nobody can change it meanwhile. Raises Refused where there is no room.
    """
    storage = archive.storage
    if storage is None or storage.folder(archive.backup.id) is not None:
        yield await verify_bytes(archive.backup, progress=progress), replace(archive, storage=None)
        return
    with _private_folder(archive.manifest) as folder:
        verified = await verify_bytes(archive.backup, storage, progress=progress, copy_to=folder)
        yield verified, replace(archive, backup=replace(archive.backup, path=str(folder)), storage=None)


@asynccontextmanager
async def intact(archive: Archive, *, progress: Progress = ignore) -> AsyncIterator[Archive]:
    """The archive as pg_restore can read it; raises Corrupt unless every byte is the one that the manifest describes."""
    async with fetched(archive, progress=progress) as (verified, ready):
        archive.heard(verified)
        ensure_good(verified)
        yield ready


@contextmanager
def _private_folder(manifest: Manifest) -> Iterator[Path]:
    needed = sum(one.size_bytes for one in manifest.members)
    root = Path(tempfile.gettempdir())
    _sweep(root)
    if (free := shutil.disk_usage(root).free) < needed:
        raise Refused(
            f"backup {manifest.id} has no room in {root}",
            why=f"it is downloaded before it is restored: {needed} bytes, {free} are free",
            hint="set TMPDIR to a folder with more room",
        )
    with (
        tempfile.TemporaryDirectory(prefix=_PREFIX, ignore_cleanup_errors=True) as name,
        # Held as long as we live: whoever finds the folder unlocked may remove it.
        file_lock(Path(name) / ".lock"),
    ):
        content = Path(name) / "backup"
        content.mkdir(mode=0o700)
        yield content


def _sweep(root: Path) -> None:
    """Remove what downloads of ours left whose owners were killed."""
    for folder in root.glob(f"{_PREFIX}*"):
        # Many write to a folder such as /tmp: nothing but a private one of our own is touched.
        with suppress(OSError):
            seen = folder.lstat()
            private = stat.S_ISDIR(seen.st_mode) and not seen.st_mode & 0o077
            if private and seen.st_uid == os.geteuid():
                _sweep_one(folder)


def _sweep_one(folder: Path) -> None:
    with suppress(Busy), file_lock(folder / ".lock"):
        shutil.rmtree(folder, ignore_errors=True)
