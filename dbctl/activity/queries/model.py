"""What is said of statements."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class By(StrEnum):
    """What the most costly statements are ordered by."""

    TOTAL = "total"
    MEAN = "mean"
    IO = "io"
    TEMP = "temp"
    CALLS = "calls"


@dataclass(frozen=True, slots=True)
class TopQuery:
    """One statement of pg_stat_statements, by what it cost within the sample.

    ``share`` is of the time that all statements of the database took; ``is_nested``: run by a function, so its time
    is in another statement's too. ``io_seconds`` None: the server does not measure it (track_io_timing);
    ``calls_per_second`` None: nobody knows since when it counts. ``queryid`` is a text: it is larger than JSON's
    numbers in many languages.
    """

    queryid: str
    role: str
    calls: int
    calls_per_second: float | None
    total_seconds: float
    share: float
    mean_seconds: float
    rows: int
    read_bytes: int
    io_seconds: float | None
    temp_bytes: int
    is_nested: bool
    query: str


@dataclass(frozen=True, slots=True)
class TopReport:
    """The most costly statements; ``seconds`` is how long they were watched, None where nobody knows."""

    queries: tuple[TopQuery, ...]
    seconds: float | None
    calls: int
    total_seconds: float
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class RunningQuery:
    """One statement that runs now. ``waits_for`` is the server's word for it (Lock: relation, IO: DataFileRead).

    ``request_id`` is what the application set (`dbctl.database.request_id`); "" where it did not, or where the server
    shows the beginning of a long statement only (track_activity_query_size).
    """

    pid: int
    seconds: float
    transaction_seconds: float | None
    database: str
    role: str
    application: str
    client: str
    waits_for: str
    blocked_by: tuple[int, ...]
    request_id: str
    query: str


@dataclass(frozen=True, slots=True)
class RunningReport:
    """What runs, the longest first."""

    queries: tuple[RunningQuery, ...]
    notes: tuple[str, ...]
