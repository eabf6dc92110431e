"""What an earlier run has done of a revision, held against what the revision's code says now."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from dbctl.errors import Refused
from dbctl.migrate.runner.steps import Noted, is_same, others


class Replay:
    """The statements of a revision that are done; ``match`` tells of one that comes now whether it is among them."""

    def __init__(self, revision: str, noted: Sequence[Noted]) -> None:
        self._revision = revision
        self._noted = list(noted)
        self._next = 0

    @property
    def numbered_to(self) -> int:
        """The highest number among them."""
        return max((one.number for one in self._noted), default=0)

    def match(self, digest: str, statement: str) -> Noted | None:
        """The next of them with this digest; what lies between was left out by the code itself.

        None: it is not among them. Raises Refused where that may mean to change data twice: code that looks for
        itself what is there (``checkfirst``) leaves out what makes a table or a type, and PostgreSQL refuses to
        make one twice; nothing refuses to add rows twice.
        """
        for place in range(self._next, len(self._noted)):
            if is_same(self._noted[place].digest, digest):
                self._next = place + 1
                return self._checked(self._noted[place])
        left = [one for one in self._noted[self._next :] if one.is_data and one.state != "undone"]
        if left:
            raise Refused(
                f"revision {self._revision} can't be resumed: it goes another way than before",
                why=_another(left[0], digest, statement),
                hint=_ways_out(self._revision),
            )
        return None

    def _checked(self, noted: Noted) -> Noted:
        if noted.returns_rows and noted.state == "done":
            raise Refused(
                f"revision {self._revision} can't be resumed: the rows that a statement gave back are not kept",
                why=f"statement {noted.number}, which is done, is `{noted.statement}`",
                hint=_ways_out(self._revision),
            )
        return noted


def in_its_place(affected: int, parameters: Any) -> tuple[str, Any]:
    """A statement that does nothing and has this rowcount."""
    sql = f"SELECT FROM generate_series(1, {affected:d})"
    several = isinstance(parameters, list)
    one = parameters[0] if several and parameters else parameters
    nothing: Any = {} if isinstance(one, dict) else ()
    return sql, [nothing] if several else nothing


def unclear(noted: Noted) -> Refused:
    """For a statement outside of transactions that was started, and whose end nobody saw."""
    return Refused(
        f"revision {noted.revision} can't be resumed: nobody knows whether a statement came to its end",
        why=f"statement {noted.number}, started {noted.noted_at:%Y-%m-%d %H:%M %Z}, is `{noted.statement}`",
        hint=_ways_out(noted.revision),
    )


def _another(noted: Noted, digest: str, statement: str) -> str:
    """How the statement that comes now differs from the one that is done; values are named, and never shown."""
    done = f"statement {noted.number}, which is done, was `{noted.statement}`"
    if noted.statement != statement:
        return f"{done}; now comes `{statement}`"
    names = others(noted.digest, digest)
    if not names:
        return f"{done}; now it comes with other values in its text"
    return f"{done}; now it comes with {'another value' if len(names) == 1 else 'other values'} of {', '.join(names)}"


def _ways_out(revision: str) -> str:
    return (
        f"finish it by hand and `dbctl migrate stamp {revision}`, or undo by hand what is done"
        f" and `dbctl migrate up --rerun {revision}`"
    )
