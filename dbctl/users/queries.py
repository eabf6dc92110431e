"""The statements that read users: public columns only, each answered from an index."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import BigInteger, ColumnElement, Select, collate, func, literal, text, true
from sqlalchemy.orm import InstrumentedAttribute

from dbctl.errors import Invalid
from dbctl.users.model import Filters
from dbctl.users.orm import UserRow
from dbctl.users.rules import UNUSABLE, storable

if TYPE_CHECKING:
    Statement = Select[*tuple[Any, ...]]

# In the order of User's fields.
COLUMNS = (
    UserRow.id,
    UserRow.username,
    UserRow.email,
    UserRow.full_name,
    UserRow.is_active,
    UserRow.is_superuser,
    (UserRow.hashed_password != UNUSABLE).label("has_password"),
    UserRow.created_at,
    UserRow.updated_at,
)
# About how many users there are: as of the table's last VACUUM or ANALYZE.
ESTIMATE = text(
    "SELECT CAST(greatest(reltuples, 0) AS bigint) AS users FROM pg_class WHERE oid = CAST('users' AS regclass)"
).columns(users=BigInteger)
MAX_ID = 2**63 - 1
MAX_LIMIT = 10_000


def same_text(column: InstrumentedAttribute[str], value: str) -> ColumnElement[bool]:
    """``column`` equals ``value`` whatever the case, as its unique index says."""
    return func.lower(column) == lower(storable(column.key, value))


def has_id(user_id: int) -> ColumnElement[bool]:
    """The user with this id; nobody for a number that no bigint holds, where the driver would choke."""
    return UserRow.id == user_id if 0 < user_id <= MAX_ID else ~true()


def is_called(who: str) -> ColumnElement[bool]:
    """The user with this id, email or username: the rules let no text be two of them."""
    if who.isascii() and who.isdecimal():
        return has_id(int(who[:20]))
    return same_text(UserRow.email if "@" in who else UserRow.username, who)


def lower(value: str) -> ColumnElement[str]:
    return func.lower(collate(literal(value), "C"))


def filtered(statement: Statement, only: Filters, table: Any = UserRow) -> Statement:
    """``statement`` for those users only."""
    if only.is_active is not None:
        statement = statement.where(table.is_active.is_(only.is_active))
    if only.is_superuser is not None:
        statement = statement.where(table.is_superuser.is_(only.is_superuser))
    if only.created_since is not None:
        statement = statement.where(table.created_at >= only.created_since)
    if only.email_domain is not None:
        domain = literal_like(storable("email domain", only.email_domain.removeprefix("@")))
        statement = statement.where(table.email.ilike(f"%@{domain}"))
    return statement


def checked_limit(limit: int) -> int:
    """``limit`` where it is 1 to MAX_LIMIT; else Invalid."""
    if not 1 <= limit <= MAX_LIMIT:
        raise Invalid("limit", f"it must be from 1 to {MAX_LIMIT}")
    return limit


def literal_like(text: str) -> str:
    """``text`` as LIKE takes it for itself."""
    return text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
