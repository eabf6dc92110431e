"""What a backup is, what a check found, what a restore did."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Literal

FORMAT_VERSION = 2

Progress = Callable[[int], None]
Say = Callable[[str], None]


def ignore(_what: object) -> None:
    """A callback for callers that want to hear nothing."""


class Status(StrEnum):
    """What a look at the folder tells, without reading the archive's bytes."""

    GOOD = "good"
    MISSING = "missing"
    DAMAGED = "damaged"
    UNREADABLE = "unreadable"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class TableRows:
    """How many rows a table held; ``digest`` is of their values in any order, None where none was taken."""

    schema: str
    name: str
    rows: int
    digest: str | None = None


@dataclass(frozen=True, slots=True)
class LargeObjects:
    """How many large objects there were, and a digest of their bytes."""

    count: int
    digest: str | None = None


@dataclass(frozen=True, slots=True)
class SequenceSpan:
    """A sequence, and between which values its next one lay while it was dumped: no snapshot holds it still."""

    schema: str
    name: str
    least: int
    most: int


@dataclass(frozen=True, slots=True)
class Extension:
    """An extension that the database uses."""

    name: str
    version: str


@dataclass(frozen=True, slots=True)
class Locale:
    """Encoding and collation of a database, as pg_database has them; ``provider`` is c, i or b."""

    encoding: str
    collate: str
    ctype: str
    provider: str
    name: str | None


@dataclass(frozen=True, slots=True)
class Facts:
    """What the database held in the snapshot that was dumped; ``size_bytes`` is its size on the server's disk.

    ``collations`` are those of the server that columns, indexes and domains are sorted by, but for C and POSIX.
    """

    locale: Locale
    alembic_revisions: tuple[str, ...]
    roles: tuple[str, ...]
    extensions: tuple[Extension, ...]
    tables: tuple[TableRows, ...]
    large_objects: LargeObjects | None = None
    size_bytes: int = 0
    sequences: tuple[SequenceSpan, ...] = ()
    collations: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Member:
    """A file of a backup, beside the manifest or one folder below; the SHA-256 is of the stored bytes."""

    name: str
    size_bytes: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Selection:
    """What a partial backup holds: patterns with ``*`` and ``?`` for schemas and for tables, with or without schema."""

    tables: tuple[str, ...] = ()
    schemas: tuple[str, ...] = ()
    excluded: tuple[str, ...] = ()

    @property
    def whole(self) -> bool:
        """Whether that is no selection at all."""
        return not (self.tables or self.schemas or self.excluded)


@dataclass(frozen=True, slots=True)
class Request:
    """What one backup shall be; ``jobs`` at a time whatever the size (None: as the settings say)."""

    selection: Selection = Selection()
    jobs: int | None = None
    digests: bool = False


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a backup says of itself; never a secret in it.

    ``archive`` is the file beside the manifest, or the folder, that pg_restore reads; ``size_bytes`` and
    ``sha256`` are its own (of a folder: of its files together, and of their sums as sha256sum writes them).
    ``members`` are all files of the backup; ``selection`` is None unless the backup is partial.
    """

    format_version: int
    id: str
    environment: str
    database: str
    host: str
    server_version: str
    client_version: str
    dbctl_version: str
    created_at: datetime
    finished_at: datetime
    duration_seconds: float
    archive: str
    size_bytes: int
    sha256: str
    compression: str
    encrypted_to: tuple[str, ...]
    members: tuple[Member, ...]
    selection: Selection | None
    notes: tuple[str, ...]
    facts: Facts


@dataclass(frozen=True, slots=True)
class Proof:
    """What was found when a backup's bytes were read (``kind`` bytes) or restored and compared (``restore``).

    ``manifest_sha256`` says of which manifest; ``compared`` in words what was.
    """

    backup_id: str
    manifest_sha256: str
    kind: Literal["bytes", "restore"]
    good: bool
    problems: tuple[str, ...]
    compared: str
    server_version: str
    checked_at: datetime
    duration_seconds: float
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Summary:
    """A backup in one line of a list; what an unreadable manifest leaves open is None. ``path`` may be a URL."""

    id: str
    status: Status
    problem: str
    environment: str | None
    database: str | None
    created_at: datetime | None
    size_bytes: int | None
    path: str
    partial: bool | None
    encrypted: bool | None
    proven_at: datetime | None


@dataclass(frozen=True, slots=True)
class Backup:
    """A backup; ``problem`` says why its status is not good, ``path`` is its folder or its URL.

    ``manifest_sha256`` is of the manifest's bytes.
    """

    id: str
    status: Status
    problem: str
    path: str
    manifest: Manifest | None
    manifest_sha256: str = ""
    proof: Proof | None = None

    @property
    def counts(self) -> bool:
        """Whether it may be the backup that one relies on: good, and of the whole database."""
        return self.status is Status.GOOD and self.manifest is not None and self.manifest.selection is None

    @property
    def proven_at(self) -> datetime | None:
        """When it was last restored and found equal; None: never."""
        found = self.proof
        return found.checked_at if found and found.good and found.kind == "restore" else None

    @property
    def summary(self) -> Summary:
        """The line of a list."""
        known = self.manifest
        return Summary(
            id=self.id,
            status=self.status,
            problem=self.problem,
            environment=known.environment if known else None,
            database=known.database if known else None,
            created_at=known.created_at if known else None,
            size_bytes=known.size_bytes if known else None,
            path=self.path,
            partial=known.selection is not None if known else None,
            encrypted=bool(known.encrypted_to) if known else None,
            proven_at=self.proven_at,
        )


@dataclass(frozen=True, slots=True)
class Verified:
    """Whether a backup's bytes are those that its manifest describes, or (``restored``) all that it brings back.

    ``compared`` says what was, in words; ``size_bytes`` were read; ``path`` is the backup's.
    """

    id: str
    good: bool
    problem: str
    size_bytes: int
    duration_seconds: float
    restored: bool = False
    compared: str = ""
    notes: tuple[str, ...] = ()
    path: str = ""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What retention says of a backup at ``path``, and why; ``removed`` once it was."""

    id: str
    keep: bool
    reasons: tuple[str, ...]
    environment: str | None
    database: str | None
    size_bytes: int | None
    removed: bool
    path: str = ""


class Level(StrEnum):
    """How bad it is."""

    OK = "ok"
    WARNING = "warning"
    CRITICAL = "critical"

    @property
    def severity(self) -> int:
        """As Nagios counts: 0, 1, 2."""
        return list(Level).index(self)


@dataclass(frozen=True, slots=True)
class Freshness:
    """One database's newest good backup in ``target``, and when one was last proven; None where there is none."""

    database: str
    host: str
    level: Level
    problem: str
    newest_id: str | None
    age_seconds: float | None
    proven_seconds_ago: float | None
    size_bytes: int | None
    good: int
    target: str = ""


@dataclass(frozen=True, slots=True)
class FreshnessReport:
    """The same of an environment; ``message`` in a line."""

    environment: str
    level: Level
    message: str
    databases: tuple[Freshness, ...]
