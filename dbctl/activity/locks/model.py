"""What a blocking tree holds."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

# In place of a pid: a prepared transaction has no process.
NO_PROCESS = 0


@dataclass(frozen=True, slots=True)
class Locked:
    """One session of a blocking tree: roots first, each followed by those that wait for it.

    ``parent_pid`` is the session that holds what it waits for, ``blocked_by`` all that stand in its way, queued
    ones too; ``blocks`` counts all behind it. ``mode`` and ``on`` are what it waits for, ``relation`` the table of
    it where that is known, ``holds`` what others wait for. None where the server tells this role nothing, or
    (``wait_seconds``, before PostgreSQL 14) nobody.
    """

    pid: int
    depth: int
    root_pid: int
    parent_pid: int | None
    blocked_by: tuple[int, ...]
    blocks: int
    mode: str | None
    on: str | None
    relation: str | None
    wait_seconds: float | None
    holds: tuple[str, ...]
    database: str
    role: str
    application: str
    client: str
    state: str | None
    transaction_seconds: float | None
    state_seconds: float | None
    query: str | None
    prepared: str | None
    deadlocked: bool


@dataclass(frozen=True, slots=True)
class Tree:
    """All that is blocked at one moment; ``notes`` say what could not be seen."""

    at: datetime
    sessions: tuple[Locked, ...]
    notes: tuple[str, ...]

    @property
    def roots(self) -> tuple[Locked, ...]:
        """Those that wait for nobody and keep others waiting, the one with the most behind it first."""
        return tuple(one for one in self.sessions if one.depth == 0)


@dataclass(frozen=True, slots=True)
class Victim:
    """A session that somebody wants to end, as it was when they were asked.

    ``backend_start`` and ``transaction_start`` are what it is known again by; ``waiting`` are the pids behind it.
    """

    pid: int
    database: str
    role: str
    application: str
    state: str
    transaction_seconds: float | None
    query: str
    waiting: tuple[int, ...]
    backend_start: datetime
    transaction_start: datetime | None

    @property
    def is_running(self) -> bool:
        """Whether there is a statement that could be cancelled."""
        return self.state == "active"


@dataclass(frozen=True, slots=True)
class Killed:
    """How a session let go: its statement cancelled, or itself terminated. ``freed``: those that wait no more."""

    pid: int
    how: Literal["cancelled", "terminated"]
    seconds: float
    freed: tuple[int, ...]
