"""SQL text with names and server-made expressions in it, as `text()` wants it."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from sqlalchemy import Connection, Row, TextClause, text
from sqlalchemy.exc import DBAPIError

from dbctl.postgres.identifiers import quote_identifier

# Nothing that a server has checked can hold it.
_PARAMETER = "\0"


def prepared(sql: str) -> TextClause:
    """The SQL as `text()`, in which only `json_parameter` makes parameters: a colon elsewhere is a colon."""
    return text(sql.replace(":", r"\:").replace(_PARAMETER, ":"))


def rows_of(connection: Connection, sql: str | TextClause, **values: Any) -> list[Row[Any]]:
    """What the SQL gives; ``values`` are handed over as JSON."""
    return list(connection.execute(prepared(sql) if isinstance(sql, str) else sql, _bound(values)))


def run(connection: Connection, sql: str | TextClause, **values: Any) -> int:
    """Run it; how many rows it wrote."""
    return connection.execute(prepared(sql) if isinstance(sql, str) else sql, _bound(values)).rowcount


def json_parameter(name: str) -> str:
    """A parameter that holds JSON, typed so that each driver takes it as text."""
    return f"CAST(CAST({_PARAMETER}{name} AS text) AS jsonb)"


def qualified(schema: str, name: str) -> str:
    """The table's name as SQL."""
    return f"{quote_identifier(schema)}.{quote_identifier(name)}"


def listed(names: Iterable[str]) -> str:
    """The columns' names as SQL."""
    return ", ".join(quote_identifier(name) for name in names)


def told(error: Exception) -> str:
    """An error in one line, the server's in its own words; a lost connection is raised."""
    if isinstance(error, DBAPIError) and error.connection_invalidated:
        raise error
    words = str(error.orig if isinstance(error, DBAPIError) else error)
    lines = (words.partition(">: ")[2] or words).strip().splitlines()
    return lines[0] if lines else type(error).__name__


def _bound(values: dict[str, Any]) -> dict[str, str]:
    return {name: json.dumps(value) for name, value in values.items()}
