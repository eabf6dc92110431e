"""libpq's password file, read as libpq reads it: asyncpg leaves an escaped colon in a password as it stands."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

from dbctl.database.conninfo import ConnInfo
from dbctl.errors import SettingsError

_FIELD = re.compile(r"((?:\\.|[^\\:])*)(?::|$)")
_ESCAPED = re.compile(r"\\(.)")


def find_password(conninfo: ConnInfo) -> str | None:
    """The password of the first line that fits; None where there is none.

    A file that others may read does not count; raises SettingsError where it was named.
    """
    named = conninfo.keywords.get("passfile")
    file = Path(named or Path.home() / ".pgpass").expanduser()
    if named and os.access(file, os.R_OK) and _is_open(file):
        raise SettingsError(f"{file} is not used", why="others may read it", hint=f"chmod 600 {file}")
    hosts = {*conninfo.host.split(","), *(["localhost"] if conninfo.is_socket else [])}
    wanted = (hosts, set(conninfo.port.split(",")), {conninfo.database}, {conninfo.role})
    for *fields, password in _lines(file):
        if all(
            field == "*" or _unescape(field) in given for field, given in zip(fields, wanted, strict=True)
        ):
            return _unescape(password)
    return None


def _lines(file: Path) -> Iterator[list[str]]:
    try:
        if not file.is_file() or _is_open(file):
            return
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return
    for line in text.splitlines():
        fields = [match[1] for match in _FIELD.finditer(line)][:5]
        if len(fields) == 5 and not line.startswith("#"):  # noqa: PLR2004 - host:port:database:user:password
            yield fields


def _is_open(file: Path) -> bool:
    return bool(file.stat().st_mode & 0o077)


def _unescape(field: str) -> str:
    return _ESCAPED.sub(r"\1", field)
