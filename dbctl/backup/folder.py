"""A folder of backups: each in a folder of its own, which appears complete or not at all."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from dbctl.backup.manifest import MANIFEST_NAME, PROOF_NAME, parse_manifest, parse_proof, render
from dbctl.backup.model import Backup, Manifest, Proof, Status
from dbctl.backup.naming import BACKUP_ID
from dbctl.backup.staging import Staged, errors_of, sync, write_new
from dbctl.errors import Corrupt, DbctlError, NotFound, UsageError
from dbctl.postgres.file_lock import file_lock

LATEST = "latest"


@dataclass(frozen=True, slots=True)
class BackupFolder:
    """Where backups are: ``<path>/<id>/`` holds an archive, its manifest, and what proofs found.

    With ``key`` only those count whose manifest was sealed by it.
    """

    path: Path
    key: bytes | None = None

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Make the folder if need be and be its only writer; raises Busy. Removes what a killed run left."""
        with ExitStack() as stack:
            with errors_of(self.path):
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
            with errors_of(self.path):
                staged.work.mkdir(mode=0o700)
            yield staged
        finally:
            shutil.rmtree(staged.work, ignore_errors=True)

    def backups(self) -> tuple[Backup, ...]:
        """Every backup, the newest first; those that can't be read go last."""
        with errors_of(self.path, "read"):
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

    def record(self, backup: Backup, proof: Proof) -> Backup:
        """Note beside the manifest what a proof found, in the place of what the last one did."""
        half = backup.path / f".{PROOF_NAME}.partial"
        with errors_of(self.path):
            half.unlink(missing_ok=True)
            write_new(half, render(proof, self.key))
            half.replace(backup.path / PROOF_NAME)
            sync(backup.path)
        return self._read(backup.path)

    def forget_proof(self, backup: Backup) -> Backup:
        """Remove what a proof found: it no longer holds."""
        with errors_of(self.path):
            (backup.path / PROOF_NAME).unlink(missing_ok=True)
        return self._read(backup.path)

    def remove(self, backup: Backup) -> None:
        """Let a backup disappear at once, then free its space. The caller holds the folder's lock."""
        gone = self._partial / f"{backup.id}.removed"
        with errors_of(self.path):
            backup.path.rename(gone)
            sync(self.path)
        shutil.rmtree(gone, ignore_errors=True)

    def _read(self, folder: Path) -> Backup:
        try:
            text = (folder / MANIFEST_NAME).read_bytes()
            manifest = parse_manifest(text.decode(), folder.name, self.key)
        except (OSError, UnicodeDecodeError, DbctlError) as error:
            why = error.why if isinstance(error, DbctlError) else str(error)
            return Backup(folder.name, Status.UNREADABLE, why, folder, None)
        digest = hashlib.sha256(text).hexdigest()
        proof = self._proof(folder, digest)
        return Backup(folder.name, *_look(folder, manifest, proof), folder, manifest, digest, proof)

    def _proof(self, folder: Path, manifest_sha256: str) -> Proof | None:
        """What the last proof of this very manifest found; one that can't be believed is none."""
        with suppress(OSError, UnicodeDecodeError, DbctlError):
            proof = parse_proof((folder / PROOF_NAME).read_bytes().decode(), folder.name, self.key)
            return proof if proof.manifest_sha256 == manifest_sha256 else None
        return None

    def _latest(self, environment: str, database: str | None) -> Backup:
        for one in self.backups():
            if one.counts and _is_of(one, environment, database):
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


def _look(folder: Path, manifest: Manifest, proof: Proof | None) -> tuple[Status, str]:
    for member in manifest.members:
        file = folder / member.name
        if not file.is_file():
            return Status.MISSING, f"no file {member.name}"
        if (size_bytes := file.stat().st_size) != member.size_bytes:
            return Status.DAMAGED, f"{member.name} has {size_bytes} bytes, not {member.size_bytes}"
    if proof and not proof.good:
        status = Status.FAILED if proof.kind == "restore" else Status.DAMAGED
        return status, "; ".join(proof.problems)
    return Status.GOOD, ""


def _age(backup: Backup) -> tuple[bool, float, str]:
    known = backup.manifest
    return known is not None, known.created_at.timestamp() if known else 0.0, backup.id
