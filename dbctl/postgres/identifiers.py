"""Names in SQL: quoted, whatever they hold."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING

from dbctl.errors import Invalid

if TYPE_CHECKING:
    from sqlalchemy.engine.interfaces import Dialect
    from sqlalchemy.sql.compiler import IdentifierPreparer

NAME_BYTES = 63


def quote_identifier(name: str) -> str:
    """The name as SQL, quoted; refuses what PostgreSQL would cut (over 63 bytes) or can't hold.

    For `exec_driver_sql`, DDL strings and psql; in `text()` a colon in a name would read as a parameter.
    """
    if not name or "\0" in name:
        raise Invalid("name", "it is empty or holds a NUL character")
    try:
        size = len(name.encode())
    except UnicodeEncodeError:
        raise Invalid("name", "it holds half of a character (a lone surrogate)") from None
    if size > NAME_BYTES:
        raise Invalid("name", f"{size} bytes, PostgreSQL keeps {NAME_BYTES}", hint="choose a shorter name")
    return _preparer().quote_identifier(name)


def quote_if_needed(name: str) -> str:
    """The name as a person writes it: quoted only if it is a key word, or has more than small letters and digits."""
    return _preparer().quote(name)


@cache
def _preparer() -> IdentifierPreparer:
    from sqlalchemy.dialects.postgresql import dialect

    # With the default style, a percent sign would be doubled for a driver that formats strings.
    make: Callable[..., Dialect] = dialect
    return make(paramstyle="named").identifier_preparer
