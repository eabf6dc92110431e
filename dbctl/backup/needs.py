"""What an archive needs of the server that it goes into, read from the SQL that pg_restore would run."""

from __future__ import annotations

import re
from dataclasses import dataclass

from dbctl.backup.archive import Archive
from dbctl.backup.archive_tools import Tool
from dbctl.postgres.client import run_tool

_OWNER = re.compile(rb'^ALTER .* OWNER TO ("(?:[^"]|"")+"|[^\s";]+);$')
_TABLESPACE = re.compile(rb'^SET default_tablespace = ("(?:[^"]|"")+"|[^\s";\']+);$')
_LONGEST_LINE = 1 << 16


@dataclass(frozen=True, slots=True)
class Missing:
    """A thing that a restore would stumble over, and the SQL, option or step that mends it."""

    what: str
    mend: str


@dataclass(frozen=True, slots=True)
class Needs:
    """The roles that shall own things, and the tablespaces that things shall lie in."""

    owners: tuple[str, ...] = ()
    tablespaces: tuple[str, ...] = ()


class _Lines:
    """Looks at SQL line by line as it streams in; keeps names only."""

    def __init__(self) -> None:
        self._rest = b""
        self.found: dict[re.Pattern[bytes], set[str]] = {_OWNER: set(), _TABLESPACE: set()}

    def __call__(self, chunk: bytes) -> None:
        *lines, rest = (self._rest + chunk).split(b"\n")
        # A line without an end is a literal: none of those that are looked for.
        self._rest = rest[-_LONGEST_LINE:]
        for line in lines:
            for pattern, names in self.found.items():
                if match := pattern.match(line):
                    names.add(_unquoted(match[1].decode()))

    def needs(self) -> Needs:
        """What was found so far."""
        return Needs(tuple(sorted(self.found[_OWNER])), tuple(sorted(self.found[_TABLESPACE])))


async def read_needs(pg_restore: Tool, archive: Archive) -> Needs:
    """Have pg_restore write the archive's SQL without its rows; no server is asked. Raises ToolFailed."""
    lines = _Lines()
    await run_tool(
        pg_restore.path,
        "--schema-only",
        "--file=-",
        *archive.arguments,
        stdin=archive.stream(),
        environment={},
        sink=lines,
    )
    return lines.needs()


def _unquoted(name: str) -> str:
    return name[1:-1].replace('""', '"') if name.startswith('"') else name
