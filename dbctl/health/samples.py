"""Counters at two moments: what happened between them, which no counter since the beginning of time tells."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any

Row = Mapping[str, Any]
Key = tuple[Any, ...]

# Nearer together, a single autovacuum is a storm; further apart, last month's storm is today's.
SHORTEST_SECONDS = 0.5
LONGEST_SECONDS = 2 * 86400.0


@dataclass(frozen=True, slots=True)
class Sample:
    """The rows that a question gave at ``at``, which is the server's time."""

    at: datetime
    rows: tuple[Row, ...]


@dataclass(frozen=True, slots=True)
class Moved:
    """One object's counters: how they stand now (``now``, the whole row), and how they moved in ``seconds``."""

    now: Row
    before: Row
    seconds: float

    def delta(self, counter: str) -> float | None:
        """By how much it grew; None where it was reset meanwhile, is NULL or was not there before."""
        now, before = self.now.get(counter), self.before.get(counter)
        if now is None or before is None or now < before:
            return None
        return float(now) - float(before)

    def rate(self, counter: str) -> float | None:
        """How much of it in a second."""
        grown = self.delta(counter)
        return None if grown is None else grown / self.seconds


@dataclass(slots=True)
class Samples:
    """What earlier runs counted, and what this one counts: by question, to be compared by the same question only."""

    earlier: dict[str, Sample] = field(default_factory=dict)
    taken: dict[str, Sample] = field(default_factory=dict)

    def turn(self) -> None:
        """What was just counted is what the next round compares with."""
        self.earlier, self.taken = self.taken, {}

    def compare(self, question: str, key: Sequence[str], sample: Sample) -> list[Moved] | None:
        """Keep the sample, and tell how the objects known by the columns ``key`` moved; None: no earlier one."""
        name = hashlib.sha256(question.encode()).hexdigest()[:16]
        self.taken[name] = Sample(sample.at, tuple(_counters(row, key) for row in sample.rows))
        before = self.earlier.get(name)
        if before is None:
            return None
        seconds = (sample.at - before.at).total_seconds()
        if not SHORTEST_SECONDS <= seconds <= LONGEST_SECONDS:
            return None
        known = {_key(row, key): row for row in before.rows}
        pairs = ((row, known.get(_key(row, key))) for row in sample.rows)
        return [Moved(now, old, seconds) for now, old in pairs if old is not None]

    def missing(self, question: str, key: Sequence[str], sample: Sample, seconds: float) -> list[Row]:
        """Objects of earlier samples that are not in this one, for ``seconds`` after they were seen last.

        Each is what it is known by (``key``) and ``seen``, in seconds since 1970: remembered from sample to sample.
        """
        name = hashlib.sha256(f"seen: {question}".encode()).hexdigest()[:16]
        at = sample.at.timestamp()
        here = {
            _key(row, key): {**{one: _kept(row.get(one)) for one in key}, "seen": at} for row in sample.rows
        }
        before = self.earlier.get(name)
        known = {_key(row, key): row for row in before.rows if at - row["seen"] <= seconds} if before else {}
        gone = [row for identity, row in known.items() if identity not in here]
        self.taken[name] = Sample(sample.at, (*here.values(), *gone))
        return gone


def _counters(row: Row, key: Sequence[str]) -> Row:
    """What of a row is worth keeping, in JSON's own types: numbers, and what the object is known by. No text of SQL."""
    return {name: _kept(value) for name, value in row.items() if name in key or _is_number(value)}


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float | Decimal) and not isinstance(value, bool)


def _kept(value: Any) -> Any:
    if isinstance(value, Decimal):
        return int(value) if value == value.to_integral_value() else float(value)
    return value if value is None or isinstance(value, bool | int | float | str) else str(value)


def _key(row: Row, names: Sequence[str]) -> Key:
    return tuple(_kept(row.get(name)) for name in names)
