"""A backup's archive as pg_restore takes it: a file, a folder, or a stream that is decrypted on the way."""

from __future__ import annotations

from collections.abc import AsyncIterable, Callable
from dataclasses import dataclass
from pathlib import Path

from dbctl.backup.encryption import NO_KEYS, SUFFIX, Keyring
from dbctl.backup.model import Backup, Manifest, Verified, ignore
from dbctl.backup.repository import readable
from dbctl.backup.storage import Storage


@dataclass(frozen=True, slots=True)
class Archive:
    """A backup and the keys that open it; without any, only one in the clear can be read.

    ``storage`` is where it lies; None: in its path on this machine's disk, as `dbctl.backup.fetch` gives it.
    ``heard`` is told what reading all its bytes showed, good or not.
    """

    backup: Backup
    keyring: Keyring = NO_KEYS
    storage: Storage | None = None
    heard: Callable[[Verified], object] = ignore

    @property
    def manifest(self) -> Manifest:
        """Raises Corrupt where it can't be read."""
        return readable(self.backup)

    @property
    def encrypted(self) -> bool:
        """Whether it was encrypted."""
        return bool(self.manifest.encrypted_to)

    @property
    def path(self) -> Path:
        """Where its bytes are."""
        return Path(self.backup.path) / self.manifest.archive

    @property
    def arguments(self) -> tuple[str, ...]:
        """For pg_restore: the path, or nothing, as it then reads `stream`."""
        return () if self.encrypted else (str(self.path),)

    def stream(self) -> AsyncIterable[bytes] | None:
        """Its plaintext for pg_restore's stdin, where it is encrypted: never on disk."""
        return self.keyring.stream(self.path) if self.encrypted else None

    def ensure_opens(self) -> None:
        """Raise Refused where it is encrypted and no key here opens it."""
        if self.encrypted:
            self.keyring.ensure_opens(self.path)

    def read(self, name: str) -> bytes | None:
        """A small member by its plain name; None where the backup has none. Raises Corrupt."""
        stored = name + SUFFIX if self.encrypted else name
        if stored not in {one.name for one in self.manifest.members}:
            return None
        content = (Path(self.backup.path) / stored).read_bytes()
        return self.keyring.decrypt(content) if self.encrypted else content
