"""Reads the statements of a revision, where somebody must know what they do."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dbctl.migrate.runner.acts import Act, Memory

_TO_SAVEPOINT = re.compile(
    r"rollback\s+(?:work\s+|transaction\s+)?to\s+(?:savepoint\s+)?(\S+)", re.IGNORECASE
)
_SAVEPOINT = re.compile(r"^\s*savepoint\s+([^\s;]+)", re.IGNORECASE)
_EAGER = re.compile(
    r"\b(commit|rollback|savepoint|release|abort|begin|start|end|prepare|concurrently|reindex|if\s+not\s+exists)\b",
    re.IGNORECASE,
)


class Reader:
    """Reads for one revision, whose temporary tables it remembers.

    Most revisions end with their one transaction: then nobody reads SQL, and PostgreSQL's parser is not even loaded.
    """

    def __init__(self) -> None:
        self._memory: Memory | None = None

    def act(self, sql: str, digest: str, formats: str) -> Act:
        """What a statement does; ``formats`` is the driver's paramstyle, empty where it formats nothing."""
        from dbctl.migrate.runner.acts import read_act

        return read_act(sql, digest, formats)

    def is_to_be_noted(self, act: Act) -> bool:
        """Whether it is an act on what stays."""
        from dbctl.migrate.runner.acts import Memory

        self._memory = self._memory or Memory()
        return self._memory.is_to_be_noted(act)


def is_urgent(sql: str) -> bool:
    """Whether it may end a transaction, or find an index of an earlier run: it is read before it runs."""
    return bool(_EAGER.search(sql))


def savepoint_left(act: Act) -> str | None:
    """The savepoint that ROLLBACK TO goes back to."""
    found = _TO_SAVEPOINT.search(act.sql)
    return found[1].rstrip(";") if found else None


def savepoint_set(act: Act) -> str | None:
    """The savepoint that SAVEPOINT sets."""
    found = _SAVEPOINT.match(act.sql)
    return found[1] if found else None
