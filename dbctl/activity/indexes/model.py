"""What is said of indexes."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


class Kind(StrEnum):
    """What is wrong. MISSING_FK: no index finds the rows that refer; MISSING: the workload reads tables in full."""

    INVALID = "invalid"
    DUPLICATE = "duplicate"
    REDUNDANT = "redundant"
    UNUSED = "unused"
    MISSING_FK = "missing-fk"
    MISSING = "missing"


@dataclass(frozen=True, slots=True)
class IndexFinding:
    """One index that is wrong or, with ``index`` None, lacking.

    ``sql`` and ``alembic`` mend it: SQL statements, the body of an upgrade(); "" where there is only a hint.
    ``undo`` brings it back, as SQL. ``size_bytes`` None: nobody knows.
    """

    kind: Kind
    table: str
    index: str | None
    columns: tuple[str, ...]
    message: str
    size_bytes: int | None = None
    scans: int | None = None
    last_scan: datetime | None = None
    sql: str = ""
    alembic: str = ""
    undo: str = ""


@dataclass(frozen=True, slots=True)
class IndexReport:
    """All findings, by kind; ``notes`` say what could not be seen or judged."""

    findings: tuple[IndexFinding, ...]
    notes: tuple[str, ...]
