"""What a rule finds, and what is known of the hazard: plain values."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Literal

from dbctl.postgres.lock_modes import LockMode


class Level(StrEnum):
    """How bad it is: ``danger`` stops a deploy, ``caution`` wants a look, ``notice`` is good to know."""

    DANGER = "danger"
    CAUTION = "caution"
    NOTICE = "notice"


# What makes it bad: `blocking` grows with the table (so a small one is forgiven), the others do not.
Effect = Literal["blocking", "failing", "breaking code", "losing data", "replication", "style"]


@dataclass(frozen=True, slots=True)
class Hazard:
    """What is known of a hazard, whatever the migration.

    ``lock`` is the strongest mode that its statement takes on a table that was there (measured by a test);
    ``safe`` is the safe way: bodies of ``upgrade()``, one a revision, in which {table}, {column} … stand for
    the finding's own names (``str.format``). ``versions`` says on which PostgreSQL it holds.
    """

    id: str
    level: Level
    effect: Effect
    why: str
    safe: tuple[str, ...]
    lock: LockMode | None = None
    versions: str = "13-18"


@dataclass(frozen=True, slots=True)
class Finding:
    """A hazard met by a statement. ``statement`` is its SQL; empty for one of the graph or the file.

    ``rewrites`` and ``scans`` are about ``tables``; ``hidden`` if the SQL ran inside a DO block or function.
    ``accepted`` is the reason given in the revision file, empty where there is none.
    """

    hazard: str
    level: Level
    revision: str
    file: Path | None
    line: int | None
    statement: str
    lock_mode: LockMode | None
    tables: tuple[str, ...]
    rewrites: bool
    scans: bool
    why: str
    fix: str
    hidden: bool = False
    accepted: str = ""
    details: dict[str, str] = field(default_factory=dict)
