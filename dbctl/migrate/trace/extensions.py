"""Goes on without extensions that the scratch server lacks: what makes them is left out, and said to be."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, event

from dbctl.database.errors import sqlstate
from dbctl.errors import ToolMissing
from dbctl.migrate.trace.model import Lacking
from dbctl.migrate.trace.source import line_in

_MISSING = re.compile(
    r'extension "(?P<name>[^"]+)" is not available'
    r'|could not open extension control file ".*/(?P<file>[^/"]+)\.control"'
)
_STATES = {"0A000", "58P01"}
# One statement about one extension: nothing else is lost with it.
_ABOUT = re.compile(
    r'\s*(?:CREATE|ALTER|DROP|COMMENT\s+ON)\s+EXTENSION\s+(?:IF\s+(?:NOT\s+)?EXISTS\s+)?"?(?P<name>[\w-]+)"?\b[^;]*;?\s*',
    re.IGNORECASE,
)
_NOTHING = "SELECT 1 WHERE false"


class Extensions:
    """What a run does without. Not ``spare``: the first extension that is missing ends the run."""

    def __init__(self, *, spare: bool) -> None:
        self._spare = spare
        self.lacking: list[str] = []
        self._left_out: list[Lacking] = []
        self._path: Path | None = None

    @property
    def notes(self) -> tuple[str, ...]:
        """What to say of it to who asked for the run."""
        return tuple(
            f"the scratch server lacks the extension {name}: it was left out, and what needs it can't be judged; "
            f"name a server that has it and may be written: --scratch-url postgresql://…"
            for name in self.lacking
        )

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Leave out, on every engine of the process, the statements about what is lacking."""
        event.listen(Engine, "before_cursor_execute", self._before, retval=True)
        try:
            yield
        finally:
            event.remove(Engine, "before_cursor_execute", self._before)

    def start(self, path: Path) -> None:
        """A revision begins."""
        self._path, self._left_out = path, []

    def left_out(self) -> tuple[Lacking, ...]:
        """What its statements were about that were left out."""
        return tuple(dict.fromkeys(self._left_out))

    def note(self, error: BaseException, revision: str, major: int) -> bool:
        """Whether it is about an extension not known to be lacking until now: worth to be tried again without.

        Raises ToolMissing where that is not wanted.
        """
        name = _missing(error)
        if name is None or name in self.lacking:
            return False
        if not self._spare:
            raise missing_extension(name, revision, major) from error
        self.lacking.append(name)
        return True

    def _before(
        self, _connection: Connection, _cursor: Any, sql: str, parameters: Any, _context: Any, _many: bool
    ) -> tuple[str, Any]:
        found = _ABOUT.fullmatch(sql) if self.lacking else None
        if found is None or found["name"] not in self.lacking:
            return sql, parameters
        self._left_out.append(Lacking(found["name"], line_in(self._path) if self._path else None))
        return _NOTHING, parameters


def missing_extension(name: str, revision: str, major: int) -> ToolMissing:
    """The error of a CREATE EXTENSION that the scratch server can't serve."""
    return ToolMissing(
        f"the scratch server lacks the extension {name}",
        why=f"revision {revision} creates it, and PostgreSQL {major} here came without it",
        hint="name a server that has it and may be written: --scratch-url postgresql://…",
    )


def _missing(error: BaseException) -> str | None:
    found = _MISSING.search(str(error)) if sqlstate(error) in _STATES else None
    return (found["name"] or found["file"]) if found else None
