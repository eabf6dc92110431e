"""Statements by which the scratch server itself would go elsewhere: drivers and sockets of ours see nothing of that."""

from __future__ import annotations

import re
from collections.abc import Iterable

from dbctl.migrate.trace.names import Names
from dbctl.postgres.sql import Parsed
from dbctl.postgres.sql.operations import Delete, Insert, Merge, Select, Update

_WAYS = {
    "another server, by dblink": re.compile(r"\bdblink(_\w+)?\s*\(", re.IGNORECASE),
    "a program on its machine, by COPY": re.compile(
        r"^\s*copy\b.*\b(?:from|to)\s+program\b", re.IGNORECASE | re.DOTALL
    ),
    "another server, by IMPORT FOREIGN SCHEMA": re.compile(r"^\s*import\s+foreign\s+schema\b", re.IGNORECASE),
    "another server, by CREATE SUBSCRIPTION": re.compile(
        r"^\s*create\s+subscription\b(?!.*\bconnect\s*=\s*'?(?:false|off|0))", re.IGNORECASE | re.DOTALL
    ),
}
# They only write down what may be called later.
_HARMLESS = re.compile(r"^\s*(create\s+(or\s+replace\s+)?(function|procedure)|comment)\b", re.IGNORECASE)
_ON_ROWS = (Select, Insert, Update, Delete, Merge)


def leads_away(parsed: Iterable[Parsed], names: Names, path: tuple[str, ...]) -> str:
    """Where a statement would lead the server; empty where it stays at home."""
    for each in parsed:
        if _HARMLESS.match(each.sql):
            continue
        for where, pattern in _WAYS.items():
            if pattern.search(each.sql):
                return where
        if any(isinstance(operation, _ON_ROWS) for operation in each.operations):
            for name in each.names:
                known = names.get(names.find(name, path) or 0)
                if known and known.relation.kind == "foreign table":
                    return f"another server, by the foreign table {known.relation.shown}"
    return ""
