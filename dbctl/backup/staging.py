"""A backup in the making: its files, hashed once while every target gets them, and the moment when it appears."""

from __future__ import annotations

import asyncio
import hashlib
import os
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import AbstractContextManager, asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from dbctl.backup.disk import CHUNK_BYTES, errors_of
from dbctl.backup.manifest import render
from dbctl.backup.model import Backup, Manifest, Member, Status
from dbctl.backup.storage import Storage, Writer
from dbctl.errors import DbctlError, Failed
from dbctl.postgres.tasks import surely

T = TypeVar("T")


@dataclass(slots=True, eq=False)
class Copy:
    """A target of the backup in the making, the key that seals its manifest, and why it was given up."""

    storage: Storage
    key: bytes | None = None
    failure: DbctlError | None = None


class Copies:
    """The targets of one backup. One that fails is left out of all that follows; with the last, all has failed."""

    def __init__(self, copies: Sequence[Copy]) -> None:
        self._all = tuple(copies)

    @property
    def live(self) -> tuple[Copy, ...]:
        """Those that have not failed."""
        return tuple(one for one in self._all if one.failure is None)

    @property
    def failed(self) -> tuple[Copy, ...]:
        """Those that have."""
        return tuple(one for one in self._all if one.failure is not None)

    def each(self, action: Callable[[Copy], T]) -> dict[Copy, T]:
        """Do it to all that live; raises Failed, the first one's, when none is left."""
        done: dict[Copy, T] = {}
        for one in self.live:
            try:
                done[one] = action(one)
            except Failed as error:
                one.failure = error
        if not self.live:
            raise next(one.failure for one in self._all if one.failure)
        return done


class _Output:
    """A file in one target, which is given up at its first error."""

    def __init__(self, block: AbstractContextManager[Writer]) -> None:
        self._block: AbstractContextManager[Writer] | None = block
        self._writer = block.__enter__()

    def write(self, chunk: bytes) -> None:
        try:
            self._writer.write(chunk)
        except Failed as error:
            self.abort(error)
            raise

    def close(self) -> None:
        block, self._block = self._block, None
        if block:
            block.__exit__(None, None, None)

    def abort(self, error: BaseException) -> None:
        block, self._block = self._block, None
        if block:
            # It raises the same again.
            with suppress(type(error)):
                block.__exit__(type(error), error, error.__traceback__)


class MemberFile:
    """A new file of a backup, hashed while it is written."""

    def __init__(self, name: str, write: Callable[[bytes], None]) -> None:
        self.name = name
        self.size_bytes = 0
        self._write = write
        self._digest = hashlib.sha256()

    def write(self, chunk: bytes) -> None:
        """Append, and wait for a target that is behind; raises Failed when no target takes it."""
        self._write(chunk)
        self._digest.update(chunk)
        self.size_bytes += len(chunk)

    @property
    def member(self) -> Member:
        """What was written so far, for the manifest."""
        return Member(self.name, self.size_bytes, self._digest.hexdigest())


class Staged:
    """A backup in the making; nobody takes it for a backup."""

    def __init__(self, backup_id: str, copies: Copies) -> None:
        self.id = backup_id
        self.copies = copies
        self._sizes: dict[str, int] = {}
        self._published: dict[Copy, str] = {}

    @property
    def remote(self) -> bool:
        """Whether writing waits for a network."""
        return any(one.storage.remote for one in self.copies.live)

    @property
    def workplace(self) -> Path | None:
        """Where another program may write a folder of files, to be adopted; None without a target on a disk."""
        places = (one.storage.workplace(self.id) for one in self.copies.live)
        return next((place for place in places if place is not None), None)

    @contextmanager
    def member(self, name: str, expected_bytes: int = 0) -> Iterator[MemberFile]:
        """A file to fill; in each target that lives, whole and safe when the block ends."""
        with self._filling(name, lambda one, key: one.write(key, expected_bytes)) as file:
            yield file

    @asynccontextmanager
    async def opened(self, name: str, expected_bytes: int = 0) -> AsyncIterator[MemberFile]:
        """The same, where what waits for a network lets others work meanwhile."""
        block = self.member(name, expected_bytes)
        file = await self.call(block.__enter__)
        try:
            yield file
        except BaseException as error:
            # In here, and not in a thread: a cancelled task would not wait for it.
            if not block.__exit__(type(error), error, error.__traceback__):
                raise
        else:
            # An upload whose last byte is on its way can't be called back: it is removed when it has arrived.
            await surely(self.call(block.__exit__, None, None, None))

    async def call(self, function: Callable[..., T], *arguments: object) -> T:
        """Call what may wait for a network."""
        return await asyncio.to_thread(function, *arguments) if self.remote else function(*arguments)

    def adopt(self, folder: str) -> tuple[Member, ...]:
        """Hash what another program wrote into a folder of the workplace, and give it to the other targets. Blocks."""
        work = self.workplace
        if work is None:
            raise Failed("no folder is left that could hold the archive", why="its target failed")
        return tuple([self._adopted(work, path) for path in sorted((work / folder).iterdir())])

    def discard(self) -> None:
        """Remove what was written, to begin anew."""
        self._sizes.clear()
        self.copies.each(lambda one: one.storage.discard(self.id))
        self.copies.each(lambda one: one.storage.begin(self.id))

    def publish(self, manifest: Manifest) -> Backup:
        """Let the backup appear in each target that lives, by its manifest; give it as it is in the first."""

        def commit(one: Copy) -> str:
            text = render(manifest, one.key).encode()
            one.storage.commit(self.id, text, self._sizes)
            return hashlib.sha256(text).hexdigest()

        self._published = self.copies.each(commit)
        first, digest = next(iter(self._published.items()))
        return Backup(manifest.id, Status.GOOD, "", path_of(first.storage, self.id), manifest, digest)

    def clear(self) -> None:
        """Remove it from each target where it has not appeared. What can't be removed is a leftover for prune."""
        for one in (*self.copies.live, *self.copies.failed):
            if one not in self._published:
                with suppress(DbctlError):
                    one.storage.discard(self.id)

    def _adopted(self, work: Path, path: Path) -> Member:
        def given(storage: Storage, key: str) -> AbstractContextManager[Writer]:
            return _there(path) if storage.workplace(self.id) == work else storage.write(key)

        name = f"{path.parent.name}/{path.name}"
        with path.open("rb") as source, self._filling(name, given) as file:
            while chunk := source.read(CHUNK_BYTES):
                file.write(chunk)
        return file.member

    @contextmanager
    def _filling(
        self, name: str, begin: Callable[[Storage, str], AbstractContextManager[Writer]]
    ) -> Iterator[MemberFile]:
        outputs = self.copies.each(lambda one: _Output(begin(one.storage, f"{self.id}/{name}")))
        file = MemberFile(name, lambda chunk: self._spread(outputs, chunk))
        try:
            yield file
        except BaseException as error:
            for output in outputs.values():
                output.abort(error)
            raise
        self.copies.each(lambda one: outputs[one].close())
        self._sizes[name] = file.size_bytes

    def _spread(self, outputs: dict[Copy, _Output], chunk: bytes) -> None:
        self.copies.each(lambda one: outputs[one].write(chunk))


class _Nothing:
    """Takes what lies there already."""

    def write(self, chunk: bytes) -> None:
        """Nothing is to be done."""


@contextmanager
def _there(path: Path) -> Iterator[Writer]:
    """A file that another program wrote, seen onto the disk."""
    yield _Nothing()
    with errors_of(path.parent), path.open("rb") as file:
        os.fsync(file.fileno())


def path_of(storage: Storage, backup_id: str) -> str:
    """A backup's folder or URL."""
    return f"{storage.place.rstrip('/')}/{backup_id}"
