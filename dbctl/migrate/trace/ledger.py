"""What is known over all runs of env.py that one trace takes, and of each try at a revision."""

from __future__ import annotations

from dataclasses import dataclass, field

from dbctl.migrate.trace.model import RevisionTrace, Statement

Key = tuple[str, str]


class Restart(BaseException):
    """The present run of env.py is of no more use: its connection, or its database, has to be made again."""


@dataclass(slots=True)
class Ledger:
    """What is known over all runs of env.py that one trace takes; a key is a database and a revision.

    ``stamped`` are not run any more. ``first`` are those that failed on rows and wait for a run without.
    """

    chosen: frozenset[str]
    traces: dict[Key, RevisionTrace] = field(default_factory=dict)
    first: dict[Key, RevisionTrace] = field(default_factory=dict)
    stamped: set[Key] = field(default_factory=set)
    heads: dict[str, tuple[str, ...]] = field(default_factory=dict)
    in_flight: Key | None = None
    opened: bool = False
    finished: bool = False
    restart: bool = False
    to_keep: str | None = None
    to_reset: str | None = None
    fatal: BaseException | None = None


@dataclass(frozen=True, slots=True)
class Tried:
    """``undone``: if it failed, nothing is left of it. ``disconnected``: it took the connection along.

    ``again``: it may do better without the extension that it failed of.
    """

    trace: RevisionTrace
    undone: bool = True
    disconnected: bool = False
    again: bool = False

    @property
    def ended_by(self) -> Statement | None:
        """The statement that ended it, where nothing is left of it and the connection is good for another try."""
        failure, last = self.trace.failure, self.trace.statements[-1:]
        if failure is None or failure.timed_out or not self.undone or self.disconnected or not last:
            return None
        return last[0] if last[0].failure and last[0].failure.sqlstate else None
