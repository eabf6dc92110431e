"""What a backup is, what a check found, what a restore did."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from pathlib import Path

FORMAT_VERSION = 1

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


@dataclass(frozen=True, slots=True)
class TableRows:
    """How many rows a table held."""

    schema: str
    name: str
    rows: int


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
    """What the database held in the snapshot that was dumped."""

    locale: Locale
    alembic_revisions: tuple[str, ...]
    roles: tuple[str, ...]
    extensions: tuple[Extension, ...]
    tables: tuple[TableRows, ...]


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a backup says of itself. ``archive`` is a file's name beside the manifest; never a secret in it."""

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
    notes: tuple[str, ...]
    facts: Facts


@dataclass(frozen=True, slots=True)
class Summary:
    """A backup in one line of a list; what an unreadable manifest leaves open is None."""

    id: str
    status: Status
    problem: str
    environment: str | None
    database: str | None
    created_at: datetime | None
    size_bytes: int | None
    path: Path


@dataclass(frozen=True, slots=True)
class Backup:
    """A backup in a folder; ``problem`` says why its status is not good."""

    id: str
    status: Status
    problem: str
    path: Path
    manifest: Manifest | None

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
        )


@dataclass(frozen=True, slots=True)
class Verified:
    """Whether a backup's bytes are those that its manifest describes."""

    id: str
    good: bool
    problem: str
    size_bytes: int
    duration_seconds: float


@dataclass(frozen=True, slots=True)
class Restored:
    """A finished restore; ``kept`` is the replaced database's new name, the commands are for a shell."""

    backup_id: str
    environment: str
    database: str
    kept: str | None
    tables: int
    rows: int
    duration_seconds: float
    drop_command: str
    undo_command: str
    notes: tuple[str, ...]
