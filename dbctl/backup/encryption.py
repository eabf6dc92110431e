"""Encryption to public keys by age: the database's machine needs no key that could read its own backups."""

from __future__ import annotations

import asyncio
import queue
import threading
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any, Self

from dbctl.errors import Corrupt, DbctlError, Failed, Refused, SettingsError, ToolMissing

SUFFIX = ".age"
_CHUNKS = 4
_CHUNK_BYTES = 1 << 20
_POLL_SECONDS = 0.2
_HINT = "name a file of private age keys (AGE-SECRET-KEY-1…) by backup.identity"


def _age() -> ModuleType:
    try:
        import pyrage
    except ImportError:
        raise ToolMissing(
            "backups can't be encrypted or decrypted here",
            why="the package pyrage is not installed",
            hint='`pip install "pg-dbctl[encryption]"`',
        ) from None
    module: ModuleType = pyrage
    return module


def parse_recipients(keys: Sequence[str]) -> list[Any]:
    """The public keys to encrypt to. Raises SettingsError for one that is none, ToolMissing without pyrage."""
    age = _age()
    found = []
    for key in keys:
        try:
            found.append(age.x25519.Recipient.from_str(key))
        except (age.RecipientError, ValueError) as error:
            raise SettingsError(
                "backup.encrypt_to holds no public age key",
                why=f"{key[:12]}…: {error}",
                hint="it begins with age1; `age-keygen` prints it",
            ) from None
    return found


@dataclass(frozen=True, slots=True)
class Keyring:
    """The private keys at hand; none of them is ever shown."""

    identities: tuple[Any, ...] = field(repr=False)

    @classmethod
    def read(cls, path: Path | None) -> Keyring:
        """Those in the file, one a line, as age-keygen writes them; none where no file is named."""
        if path is None:
            return cls(())
        age = _age()
        try:
            lines = [line.strip() for line in path.read_text().splitlines()]
            keys = [line for line in lines if line and not line.startswith("#")]
            return cls(tuple(age.x25519.Identity.from_str(key) for key in keys))
        except OSError as error:
            raise SettingsError(
                "the keys that open backups can't be read", why=f"{path}: {error.strerror}", hint=_HINT
            ) from None
        except (age.IdentityError, ValueError):
            # Its text may hold the key.
            raise SettingsError(f"{path} holds no private age keys", hint=_HINT) from None

    def ensure_opens(self, path: Path) -> None:
        """Raise Refused unless one of the keys opens that file (its header is read)."""
        if not self.identities:
            raise Refused("the backup is encrypted", why="no private key is named here", hint=_HINT)
        age = _age()
        with path.open("rb") as file, suppress(_Enough):
            try:
                age.decrypt_io(file, _Taster(), self.identities)
            except age.DecryptError as error:
                raise Refused(
                    "the backup is encrypted, and none of the keys here opens it", why=str(error), hint=_HINT
                ) from None

    def decrypt(self, content: bytes) -> bytes:
        """All of a small member. Raises Corrupt."""
        age = _age()
        try:
            return bytes(age.decrypt(content, self.identities))
        except (age.DecryptError, OSError) as error:
            raise Corrupt("a member of the backup can't be decrypted", why=str(error)) from None

    async def stream(self, path: Path) -> AsyncIterator[bytes]:
        """A member's content, in chunks; never on disk, and a few MiB in memory. Raises Corrupt."""
        age = _age()
        channel = _Channel()

        def work() -> None:
            with path.open("rb") as file:
                age.decrypt_io(file, channel, self.identities)

        task = asyncio.create_task(channel.run(work))
        try:
            while (chunk := await channel.get()) is not None:
                yield chunk
            try:
                await task
            except (age.DecryptError, OSError) as error:
                raise Corrupt("the archive can't be decrypted", why=str(error)) from None
        finally:
            channel.abandon()
            with suppress(Exception):
                await task


NO_KEYS = Keyring(())


class _Enough(Exception):
    """Raised out of age as soon as it has opened a file."""


class _Taster:
    def write(self, _chunk: bytes) -> int:
        raise _Enough

    def flush(self) -> None:
        """Nothing is kept."""


def encrypt(content: bytes, recipients: Sequence[Any]) -> bytes:
    """All of a small member."""
    return bytes(_age().encrypt(content, list(recipients)))


class Encrypter:
    """Takes plaintext in chunks and gives its ciphertext to ``write``, in a thread, a few MiB behind."""

    def __init__(self, recipients: Sequence[Any], write: Callable[[bytes], None]) -> None:
        self._channel = _Channel()
        self._recipients = list(recipients)
        self._write = write
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._channel.run(self._encrypt))
        return self

    async def __aexit__(self, kind: type[BaseException] | None, *_: object) -> None:
        assert self._task  # noqa: S101 - made on entry
        if kind is None:
            await self.put(b"")
            await self._task
        else:
            self._channel.abandon()
            with suppress(Exception):
                await self._task

    async def put(self, chunk: bytes) -> None:
        """Encrypt so much more; waits for the thread where it is behind, raises what it ran into."""
        await self._channel.put(chunk or None)
        if self._task and self._task.done():
            await self._task

    def _encrypt(self) -> None:
        age, writer = _age(), _Writer(self._write)
        try:
            age.encrypt_io(self._channel, writer, self._recipients)
        except age.EncryptError as error:
            # Its own error says in one line what ours, such as a full disk, says with a hint.
            raise writer.failure or Failed("the backup can't be encrypted", why=str(error)) from None


class _Writer:
    def __init__(self, write: Callable[[bytes], None]) -> None:
        self._write = write
        self.failure: DbctlError | None = None

    def write(self, chunk: bytes) -> int:
        try:
            self._write(bytes(chunk))
        except DbctlError as error:
            self.failure = error
            raise
        return len(chunk)

    def flush(self) -> None:
        """The file's owner sees it onto the disk."""


class _Abandoned(Exception):
    """The other side has gone."""


class _Channel:
    """Chunks between a coroutine and a thread that reads or writes them as a file; None is the end."""

    def __init__(self) -> None:
        self._queue: queue.Queue[bytes | None] = queue.Queue(_CHUNKS)
        self._gone = threading.Event()
        self._chunk, self._read = memoryview(b""), 0
        self._gathered = bytearray()
        self._ended = False

    async def run(self, work: Callable[[], None]) -> None:
        """Run ``work`` in a thread of its own; the other side learns of its end."""

        def all_of_it() -> None:
            try:
                work()
                self._flush()
            finally:
                self._ended = True

        await asyncio.to_thread(all_of_it)

    def abandon(self) -> None:
        """Let the thread end at its next read or write."""
        self._gone.set()

    async def put(self, chunk: bytes | None) -> None:
        """From the coroutine: for the thread to read."""
        while not self._ended:
            try:
                return self._queue.put_nowait(chunk)
            except queue.Full:
                await asyncio.sleep(0.001)
        return None

    async def get(self) -> bytes | None:
        """In the coroutine: what the thread wrote; None at its end."""
        while True:
            try:
                return self._queue.get_nowait()
            except queue.Empty:
                if self._ended and self._queue.empty():
                    return None
                await asyncio.sleep(0.001)

    def read(self, size: int = -1) -> bytes:
        """In the thread: so many bytes at most, none at the end."""
        if self._read == len(self._chunk):
            self._chunk, self._read = memoryview(self._next() or b""), 0
        end = len(self._chunk) if size < 0 else min(self._read + size, len(self._chunk))
        found, self._read = bytes(self._chunk[self._read : end]), end
        return found

    def write(self, chunk: bytes) -> int:
        """In the thread: hand on, gathered to larger chunks."""
        self._gathered += chunk
        if len(self._gathered) >= _CHUNK_BYTES:
            self._flush()
        return len(chunk)

    def flush(self) -> None:
        """Chunks are handed on when they are large enough, and at the end."""

    def _flush(self) -> None:
        if self._gathered:
            self._hand_on(bytes(self._gathered))
            self._gathered = bytearray()

    def _hand_on(self, chunk: bytes) -> None:
        while not self._gone.is_set():
            with suppress(queue.Full):
                return self._queue.put(chunk, timeout=_POLL_SECONDS)
        raise _Abandoned

    def _next(self) -> bytes | None:
        while not self._gone.is_set():
            with suppress(queue.Empty):
                return self._queue.get(timeout=_POLL_SECONDS)
        raise _Abandoned
