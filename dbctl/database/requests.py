"""Which request of the application a statement belongs to: set by the application, written behind the SQL."""

from __future__ import annotations

import re
from contextvars import ContextVar
from urllib.parse import quote, unquote

# What a middleware sets: ``request_id.set(request.headers["x-request-id"])``.
request_id: ContextVar[str] = ContextVar("dbctl_request_id", default="")

_MOST_CHARACTERS = 128
_WRITTEN = re.compile(r"/\* request_id='([^'*/]*)' \*/\s*\Z")


def with_request_id(statement: str) -> str:
    """``statement`` with the id of the present request as a comment behind it, if there is one.

    Percent-encoded, no value can end the comment; on a line of its own, a statement's last comment can't hide it.
    The text differs from request to request, so no prepared statement is used twice: one more round trip each.
    """
    value = request_id.get()
    if not value:
        return statement
    # Whatever a header may hold: half a character is none.
    shown = quote(value[:_MOST_CHARACTERS], safe="", errors="replace")
    return f"{statement}\n/* request_id='{shown}' */"


def find_request_id(statement: str) -> str:
    """The id that stands behind a statement; "" where there is none, or where the server has cut it off."""
    found = _WRITTEN.search(statement)
    return unquote(found[1]) if found else ""
