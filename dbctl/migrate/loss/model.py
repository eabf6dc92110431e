"""What a `down` would lose, and what was saved of it: plain values for views and for JSON."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Literal

from dbctl.migrate.model import Run

Kind = Literal["dropped table", "dropped column", "changed type", "deleted rows", "overwritten"]


@dataclass(frozen=True, slots=True)
class Loss:
    """What one revision's downgrade would take away from one table of the target.

    ``count`` is of rows (dropped table, deleted rows) or of values that are not null (dropped column), no longer
    fit (changed type) or get another value (overwritten; without a ``column``, anything in the table may); None where it could not be counted, for which ``why`` has the reason. ``is_estimate``: by
    PostgreSQL's statistics, or at most so many. ``table`` is ``schema.name`` without ``public``.
    """

    revision: str
    kind: Kind
    table: str
    column: str = ""
    change: str = ""
    count: int | None = None
    is_estimate: bool = False
    why: str = ""

    @property
    def loses(self) -> bool:
        """Whether anything would be lost, as far as we know."""
        return self.count != 0


@dataclass(frozen=True, slots=True)
class UndoneRevision:
    """A revision that would be undone. ``failure`` is how its downgrade ended on the copy, else empty."""

    revision: str
    message: str
    failure: str = ""
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Outlook:
    """What `down` to ``destination`` would undo, in that order, and lose.

    ``current`` are the heads for which this holds. ``unknown``, where it is not empty, says why nobody could look.
    """

    database: str
    destination: str
    current: tuple[str, ...]
    revisions: tuple[UndoneRevision, ...] = ()
    losses: tuple[Loss, ...] = ()
    notes: tuple[str, ...] = ()
    unknown: str = ""
    duration_seconds: float = 0.0

    @property
    def lost(self) -> tuple[Loss, ...]:
        """Those losses that are some."""
        return tuple(one for one in self.losses if one.loses)

    @property
    def is_harmless(self) -> bool:
        """Whether it is certain that nothing would be lost."""
        return not (self.lost or self.unknown or any(one.failure for one in self.revisions))


@dataclass(frozen=True, slots=True)
class SavedFile:
    """One file of what was saved, in COPY's text format: rows of one table, or those ``columns`` of it."""

    file: str
    tables: tuple[str, ...]
    size_bytes: int
    sha256: str
    rows: int = 0
    columns: tuple[str, ...] = ()
    kind: Literal["tsv"] = "tsv"


@dataclass(frozen=True, slots=True)
class Saved:
    """What was put aside before it is lost. ``bring_back`` are commands for after the next `up`."""

    folder: Path
    database: str
    at: datetime
    heads: tuple[str, ...]
    files: tuple[SavedFile, ...]
    bring_back: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Undone(Run):
    """A run of `down`, with what it lost and where that was saved."""

    outlook: Outlook | None = None
    saved: Saved | None = None
