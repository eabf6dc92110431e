"""Statements of a revision that are not committed yet."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from dbctl.migrate.runner.steps import State, Step

if TYPE_CHECKING:
    from dbctl.migrate.runner.acts import Act


@dataclass(slots=True)
class Unread:
    """A statement in a transaction that most likely ends with its revision: then nobody asks what it was."""

    sql: str
    digest: str
    formats: str
    affected: int = 0
    state: State = "done"


@dataclass(slots=True)
class Running:
    """A statement between its two events. ``wrapped`` in a transaction of ours, or ``started`` outside of any."""

    act: Act
    step: Step
    wrapped: bool = False
    started: bool = False


@dataclass(slots=True)
class Open:
    """What a transaction has done that is not committed; ``savepoints`` say how much there was at each."""

    steps: list[Step | Unread] = field(default_factory=list)
    savepoints: dict[str, int] = field(default_factory=dict)
