"""A bucket of S3, Google or Azure as a target: no temporary file, and a backup is there when its manifest is."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import datetime
from typing import Any

import obstore
from obstore.exceptions import AlreadyExistsError, PreconditionError

from dbctl.backup.disk import check_sizes
from dbctl.backup.lease import CLOCK_KEY, Lease, Seen
from dbctl.backup.naming import BACKUP_ID, MANIFEST_NAME
from dbctl.backup.object_errors import errors_of
from dbctl.backup.storage import Item, Writer
from dbctl.backup.unfinished import Unfinished
from dbctl.backup.upload import Upload
from dbctl.errors import AlreadyExists, Failed

# So many bytes are read by one request, which is tried again by itself.
_RANGE_BYTES = 8 << 20
_PARTS_AT_A_TIME = 3
_DELETED_AT_A_TIME = 8
# S3 and Google take 10,000 parts; a dump may be larger than its database, though never by so much.
_MOST_PARTS, _GROWTH = 9_000, 2


class ObjectStorage:
    """``<prefix>/<id>/`` holds a backup. Members go there at once; the manifest, put last, makes it one.

    ``store`` is obstore's, with the prefix in it; ``part_bytes`` are held in memory four times or so.
    """

    def __init__(
        self,
        store: Any,
        place: str,
        *,
        part_bytes: int = 16 << 20,
        lease_seconds: float = 60,
        unfinished: Unfinished | None = None,
    ) -> None:
        self._store = store
        self._place = place.rstrip("/")
        self._part_bytes = part_bytes
        self._lease_seconds = lease_seconds
        self._lease: Lease | None = None
        self._unfinished = unfinished

    @property
    def place(self) -> str:
        """The URL; credentials are never in it."""
        return self._place

    @property
    def remote(self) -> bool:
        """It answers over a network."""
        return True

    @contextmanager
    def exclusive(self) -> Iterator[None]:
        """Hold the lease. Raises Busy; a dead owner's ends by itself."""
        lease = Lease(self, self._lease_seconds, self._place)
        with lease.held():
            self._lease = lease
            try:
                yield
            finally:
                self._lease = None

    def items(self, backup_id: str = "") -> Iterator[Item]:
        """All objects of backups, whole or half."""
        with self._errors("read"):
            for page in obstore.list(self._store, f"{backup_id}/" if backup_id else None, chunk_size=1000):
                for one in page:
                    key = str(one["path"])
                    if BACKUP_ID.fullmatch(key.partition("/")[0]) and "/" in key:
                        yield Item(key, one["size"])

    def read(self, key: str) -> Iterator[bytes]:
        """An object, by ranges."""
        with self._errors("read"):
            size_bytes = obstore.head(self._store, key)["size"]
            for start in range(0, size_bytes, _RANGE_BYTES):
                length = min(_RANGE_BYTES, size_bytes - start)
                yield bytes(obstore.get_range(self._store, key, start=start, length=length))

    def read_all(self, key: str) -> bytes | None:
        """A small object; None where there is none."""
        seen = self.look(key)
        return seen.content if seen else None

    def begin(self, backup_id: str) -> None:
        """Nothing is to be made; that the bucket answers was seen when the lease was taken."""

    @contextmanager
    def write(self, key: str, expected_bytes: int = 0) -> Iterator[Writer]:
        """An object, uploaded while it is written; aborted when the block fails."""
        part_bytes = max(self._part_bytes, expected_bytes * _GROWTH // _MOST_PARTS)

        def send(content: bytes | Iterator[bytes]) -> None:
            with self._errors("write to"):
                obstore.put(
                    self._store, key, content, chunk_size=part_bytes, max_concurrency=_PARTS_AT_A_TIME
                )

        upload = Upload(send, part_bytes)
        try:
            yield upload
            upload.finish()
        except BaseException:
            upload.abort()
            raise

    def commit(self, backup_id: str, manifest: bytes, sizes: Mapping[str, int]) -> None:
        """Put the manifest, if none is there: after a look at what the bucket holds, and while the lease is ours."""
        check_sizes(self._place, sizes, {one.key: one.size_bytes for one in self.items(backup_id)})
        if self._lease:
            self._lease.ensure()
        key = f"{backup_id}/{MANIFEST_NAME}"
        try:
            version = self.put_if(key, manifest, None)
        except Failed:
            # It may have arrived, and only the answer was lost.
            if self.read_all(key) != manifest:
                raise
            return
        if version is None and self.read_all(key) != manifest:
            raise AlreadyExists(
                f"a backup {backup_id} is there already", why=f"in {self._place}", hint="try again"
            )

    def replace(self, key: str, content: bytes) -> None:
        """Put a small object in the place of another, at once."""
        with self._errors("write to"):
            obstore.put(self._store, key, content, use_multipart=False)

    def delete(self, key: str) -> None:
        """Remove an object; none is no error."""
        with self._errors("delete from"):
            try:
                obstore.delete(self._store, key)
            except FileNotFoundError:
                return

    def discard(self, backup_id: str) -> None:
        """Remove all of an id, what nobody finished as well."""
        self._delete_all(backup_id)
        if self._unfinished:
            self._unfinished.abort(backup_id)

    def _delete_all(self, backup_id: str) -> None:
        # The manifest first: without it, it is no backup any more.
        manifest = f"{backup_id}/{MANIFEST_NAME}"
        keys = [one.key for one in self.items(backup_id)]
        if manifest in keys:
            self.delete(manifest)
            keys.remove(manifest)
        with ThreadPoolExecutor(_DELETED_AT_A_TIME) as pool:
            list(pool.map(self.delete, keys))

    def remove(self, backup_id: str) -> None:
        """Remove all of a backup. The caller is the only writer."""
        if self._lease:
            self._lease.ensure()
        self._delete_all(backup_id)

    def leftovers(self) -> tuple[str, ...]:
        """Ids with objects and no manifest, or with an upload that nobody finished, as far as that can be asked."""
        keys = {one.key for one in self.items()}
        found = {key.partition("/")[0] for key in keys}
        found |= set(self._unfinished.ids()) if self._unfinished else set()
        return tuple(sorted(one for one in found if f"{one}/{MANIFEST_NAME}" not in keys))

    def folder(self, backup_id: str) -> None:
        """Not on this machine."""

    def workplace(self, backup_id: str) -> None:
        """No other program can write here."""

    def look(self, key: str) -> Seen | None:
        """A small object and its version; None where there is none."""
        with self._errors("read"):
            try:
                found = obstore.get(self._store, key)
            except FileNotFoundError as error:
                if "NoSuchBucket" in str(error):
                    raise
                return None
            meta = found.meta
            return Seen(bytes(found.bytes()), _version(meta), meta["last_modified"])

    def put_if(self, key: str, content: bytes, version: dict[str, str] | None) -> dict[str, str] | None:
        """Write a small object if it is of that version, or not there (None); None where somebody was faster."""
        mode: Any = "create" if version is None else version
        with self._errors("write to"):
            try:
                return _version(obstore.put(self._store, key, content, mode=mode))
            except (AlreadyExistsError, PreconditionError):
                return None

    def server_time(self) -> datetime:
        """By an object that is written for it."""
        self.replace(CLOCK_KEY, b"")
        with self._errors("read"):
            moment: datetime = obstore.head(self._store, CLOCK_KEY)["last_modified"]
            return moment

    @contextmanager
    def _errors(self, verb: str) -> Iterator[None]:
        with errors_of(self._place, verb):
            yield


def _version(meta: Mapping[str, Any]) -> dict[str, str]:
    """What names a version: an ETag, a generation, or both."""
    return {name: str(meta[name]) for name in ("e_tag", "version") if meta.get(name) is not None}
