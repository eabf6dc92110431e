"""What an import and an export take and give."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

Format = Literal["csv", "ndjson"]
OnConflict = Literal["error", "skip", "update"]

# In the order of a file that dbctl writes; `password` is only ever read.
WRITTEN = ("username", "email", "full_name", "is_active", "is_superuser", "created_at", "updated_at")
HASH = "hashed_password"
PASSWORD = "password"  # noqa: S105 - a field's name
READ = (*WRITTEN, HASH, PASSWORD)
REQUIRED = ("username", "email")
# A file's own: the database gives others.
IGNORED = ("id", "has_password")
SECRET = (HASH, PASSWORD)


@dataclass(frozen=True, slots=True)
class Row:
    """A row of a file as it was read: where it begins, and what stands under each of its headers."""

    line: int
    cells: Mapping[str, object] = dataclasses.field(repr=False)


@dataclass(frozen=True, slots=True)
class Rejected:
    """A row that is not imported: where, which field, and why; ``cells`` hold no secret."""

    line: int
    field: str
    why: str
    cells: Mapping[str, object] = dataclasses.field(repr=False)


@dataclass(frozen=True, slots=True)
class Imported:
    """What an import did, or with ``dry_run`` would do. ``resumed_behind``: lines that an earlier run had done."""

    rows: int
    added: int
    updated: int
    skipped: int
    rejected: int
    resumed_behind: int = 0
    dry_run: bool = False


@dataclass(frozen=True, slots=True)
class Exported:
    """What an export wrote."""

    rows: int
    place: str
