"""Where backups are: which are there, what is wrong with them, and what proofs found."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from dbctl.backup.manifest import parse_manifest, parse_proof, render
from dbctl.backup.model import Backup, Manifest, Proof, Status
from dbctl.backup.naming import BACKUP_ID, MANIFEST_NAME, PROOF_NAME
from dbctl.backup.staging import Copies, Copy, Staged, path_of
from dbctl.backup.storage import Storage
from dbctl.errors import Corrupt, DbctlError, NotFound, UsageError

LATEST = "latest"
_READERS = 8

Sizes = Mapping[str, int]


@dataclass(frozen=True)
class Repository:
    """The backups in one target: ``<id>/`` holds an archive, its manifest, and what proofs found.

    With ``key`` only those count whose manifest was sealed by it.
    """

    storage: Storage
    key: bytes | None = None

    @property
    def place(self) -> str:
        """The folder or the URL."""
        return self.storage.place

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Be the only writer; raises Busy."""
        with self.storage.exclusive():
            yield

    @contextmanager
    def stage(self, backup_id: str) -> Iterator[Staged]:
        """A place for a new backup; gone at the block's end, unless it was published."""
        with stage_in(Copies([Copy(self.storage, self.key)]), backup_id) as staged:
            yield staged

    def backups(self) -> tuple[Backup, ...]:
        """Every backup, the newest first; those that can't be read go last."""
        found: dict[str, dict[str, int]] = defaultdict(dict)
        for item in self.storage.items():
            backup_id, _, name = item.key.partition("/")
            found[backup_id][name] = item.size_bytes
        complete = [one for one in found if BACKUP_ID.fullmatch(one) and MANIFEST_NAME in found[one]]
        if self.storage.remote:
            with ThreadPoolExecutor(_READERS) as pool:
                read = list(pool.map(lambda one: self._read(one, found[one]), complete))
        else:
            read = [self._read(one, found[one]) for one in complete]
        return tuple(sorted(read, key=_age, reverse=True))

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
            raise NotFound(f"no backup {reference!r} in {self.place}", hint="see `dbctl backup list`")
        return matches[0]

    def record(self, backup: Backup, proof: Proof) -> Backup:
        """Note beside the manifest what a proof found, in the place of what the last one did."""
        self.storage.replace(f"{backup.id}/{PROOF_NAME}", render(proof, self.key).encode())
        return self._again(backup)

    def forget_proof(self, backup: Backup) -> Backup:
        """Remove what a proof found: it no longer holds."""
        self.storage.delete(f"{backup.id}/{PROOF_NAME}")
        return self._again(backup)

    def remove(self, backup: Backup) -> None:
        """Let a backup disappear at once, then free its space. The caller is the only writer."""
        self.storage.remove(backup.id)

    def _again(self, backup: Backup) -> Backup:
        sizes = {one.key.partition("/")[2]: one.size_bytes for one in self.storage.items(backup.id)}
        return self._read(backup.id, sizes)

    def _read(self, backup_id: str, sizes: Sizes) -> Backup:
        path = path_of(self.storage, backup_id)
        try:
            text = self.storage.read_all(f"{backup_id}/{MANIFEST_NAME}") or b""
            manifest = parse_manifest(text.decode(), backup_id, self.key)
        except UnicodeDecodeError as error:
            return Backup(backup_id, Status.UNREADABLE, str(error), path, None)
        except DbctlError as error:
            return Backup(backup_id, Status.UNREADABLE, error.why, path, None)
        digest = hashlib.sha256(text).hexdigest()
        proof = self._proof(backup_id, digest) if PROOF_NAME in sizes else None
        return Backup(backup_id, *_look(sizes, manifest, proof), path, manifest, digest, proof)

    def _proof(self, backup_id: str, manifest_sha256: str) -> Proof | None:
        """What the last proof of this very manifest found; one that can't be believed is none."""
        with suppress(UnicodeDecodeError, DbctlError):
            text = self.storage.read_all(f"{backup_id}/{PROOF_NAME}") or b""
            proof = parse_proof(text.decode(), backup_id, self.key)
            return proof if proof.manifest_sha256 == manifest_sha256 else None
        return None

    def _latest(self, environment: str, database: str | None) -> Backup:
        for one in self.backups():
            if one.counts and _is_of(one, environment, database):
                return one
        wanted = f"{environment}, database {database}" if database else environment
        raise NotFound(
            f"no good backup of {wanted} in {self.place}",
            hint="see `dbctl backup list`, or make one: `dbctl backup`",
        )


@contextmanager
def stage_in(copies: Copies, backup_id: str) -> Iterator[Staged]:
    """A place for a new backup in several targets; gone at the block's end where it was not published."""
    staged = Staged(backup_id, copies)
    try:
        copies.each(lambda one: one.storage.begin(backup_id))
        yield staged
    finally:
        staged.clear()


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


def _look(sizes: Sizes, manifest: Manifest, proof: Proof | None) -> tuple[Status, str]:
    for member in manifest.members:
        if (size_bytes := sizes.get(member.name)) is None:
            return Status.MISSING, f"no file {member.name}"
        if size_bytes != member.size_bytes:
            return Status.DAMAGED, f"{member.name} has {size_bytes} bytes, not {member.size_bytes}"
    if proof and not proof.good:
        status = Status.FAILED if proof.kind == "restore" else Status.DAMAGED
        return status, "; ".join(proof.problems)
    return Status.GOOD, ""


def _age(backup: Backup) -> tuple[bool, float, str]:
    known = backup.manifest
    return known is not None, known.created_at.timestamp() if known else 0.0, backup.id
