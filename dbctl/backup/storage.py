"""What every target of backups can do, be it a folder on a disk or a bucket: the one code path's floor."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeVar

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Item:
    """A stored file: ``key`` is ``<backup id>/<name>``."""

    key: str
    size_bytes: int


class Writer(Protocol):
    """Takes a file's bytes in order."""

    def write(self, chunk: bytes) -> None:
        """Take so much more; blocks while the target is behind. Raises Failed."""


class Storage(Protocol):
    """A target. Everything blocks, and raises Failed for what the target's machine says."""

    @property
    def place(self) -> str:
        """The folder, or the URL; never with a secret in it."""

    @property
    def remote(self) -> bool:
        """Whether each call waits for a network."""

    def exclusive(self) -> AbstractContextManager[None]:
        """Be the only writer. Raises Busy; what holds it dies with its owner."""

    def items(self, backup_id: str = "") -> Iterator[Item]:
        """All files of all backups, or of one, those of half-written ones included where they lie there too."""

    def read(self, key: str) -> Iterator[bytes]:
        """A file in chunks. Raises Failed where there is none."""

    def read_all(self, key: str) -> bytes | None:
        """A small file; None where there is none."""

    def begin(self, backup_id: str) -> None:
        """Make ready for a new backup."""

    def write(self, key: str, expected_bytes: int = 0) -> AbstractContextManager[Writer]:
        """A new file; whole and safe when the block ends, gone when it fails. ``expected_bytes`` at the most, 0 unknown."""

    def commit(self, backup_id: str, manifest: bytes, sizes: Mapping[str, int]) -> None:
        """Let the backup appear by its manifest, which never replaces another; ``sizes`` must be those that lie there."""

    def replace(self, key: str, content: bytes) -> None:
        """Put a small file in the place of another, at once."""

    def delete(self, key: str) -> None:
        """Remove a file; none is no error."""

    def discard(self, backup_id: str) -> None:
        """Remove what was written of a backup that has not appeared."""

    def remove(self, backup_id: str) -> None:
        """Let a backup disappear at once, then free its space."""

    def leftovers(self) -> tuple[str, ...]:
        """Ids of what interrupted runs left and nobody tidies up by himself."""

    def folder(self, backup_id: str) -> Path | None:
        """Where a backup's files are on this machine; None where they are elsewhere."""

    def workplace(self, backup_id: str) -> Path | None:
        """Where another program may write files of a new backup; None where none can."""


async def call(storage: Storage, function: Callable[..., T], *arguments: Any) -> T:
    """Call what may wait for the storage's network, without making everybody else wait."""
    return await asyncio.to_thread(function, *arguments) if storage.remote else function(*arguments)


async def stream(storage: Storage, key: str) -> AsyncIterator[bytes]:
    """A file in chunks; Ctrl-C gets its turn in between."""
    chunks = storage.read(key)
    while chunk := await call(storage, next, chunks, b""):
        yield chunk
        await asyncio.sleep(0)
