"""What a record of a command holds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any


@dataclass(frozen=True, slots=True)
class Start:
    """A command about to change something: its arguments masked, the place that it changes.

    ``place`` names database, server and role; ``life`` tells its process from a later one with the same ``pid``.
    """

    id: str
    at: datetime
    command: str
    action: str
    arguments: Mapping[str, str]
    user: str
    host: str
    pid: int
    life: str
    environment: str
    place: str
    version: str


@dataclass(frozen=True, slots=True)
class End:
    """How it ended. ``changed`` holds counts of rows, revisions, ids: what its result said of them."""

    id: str
    at: datetime
    duration_seconds: float
    outcome: str
    exit_code: int
    why: str
    changed: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Entry:
    """A command of the record. ``outcome`` is done, found, refused, failed …; or running, or unfinished.

    Unfinished is what nobody ended: killed, or cut off with its machine. What is known only at the end is None
    until then.
    """

    id: str
    at: datetime
    command: str
    action: str
    arguments: Mapping[str, str]
    user: str
    host: str
    environment: str
    place: str
    outcome: str
    exit_code: int | None
    duration_seconds: float | None
    why: str
    changed: Mapping[str, Any]
    version: str
