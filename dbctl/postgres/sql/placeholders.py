"""A driver's placeholders as PostgreSQL's own: $1, $2 …"""

from __future__ import annotations

import re

# psycopg also knows %b and %t (binary, text).
_PERCENT = re.compile(r"%(?:%|\((?P<name>[^)]*)\)[sbt]|(?P<positional>[sbt]))")


def numbered(sql: str, paramstyle: str) -> str:
    """What the server gets of ``sql`` with placeholders of the DB-API style ``pyformat`` or ``format``.

    A name that comes twice is one parameter; ``%%`` is a percent sign. Like the drivers, it does not look
    whether one stands in a string literal. Text of other styles (numeric_dollar …) passes as it is.
    """
    if paramstyle not in {"pyformat", "format"} or "%" not in sql:
        return sql
    numbers: dict[str, int] = {}

    def number(found: re.Match[str]) -> str:
        if found[0] == "%%":
            return "%"
        # A positional one is each time another.
        key = found["name"] if found["positional"] is None else f" {len(numbers)}"
        return f"${numbers.setdefault(key, len(numbers) + 1)}"

    return _PERCENT.sub(number, sql)
