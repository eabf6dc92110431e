"""Every way to read and change users, in the transaction of the session that the caller brings."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from sqlalchemy import ColumnElement, delete, func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from dbctl.errors import Conflict, Invalid, NotFound
from dbctl.users import pages, queries
from dbctl.users.matching import found_by, read_wanted
from dbctl.users.model import Filters, NewUser, Order, Page, User, UserChanges
from dbctl.users.orm import UserRow
from dbctl.users.passwords import Passwords
from dbctl.users.queries import COLUMNS
from dbctl.users.rules import RULES, UNUSABLE, check
from dbctl.users.saving import saving, saving_many
from dbctl.users.search import search_page

if TYPE_CHECKING:
    from dbctl.users.queries import Statement

_MAX_DAYS = 36_500


class UserRepository:
    """Users of one database. Nothing is committed here; a refused change leaves the transaction usable.

    Methods that name one user raise NotFound where it isn't there; values that break a rule raise Invalid,
    a username or email that is taken (whatever its case) AlreadyExists.
    """

    def __init__(self, session: AsyncSession, passwords: Passwords | None = None) -> None:
        self._session = session
        self._passwords = passwords or Passwords()

    async def create(self, new: NewUser) -> User:
        """Add a user; hashing its password takes about 0.2 s."""
        values = await self._values(new)
        async with saving(self._session, values):
            rows = await self._session.execute(insert(UserRow).values(values).returning(*COLUMNS))
            return User(*rows.one())

    async def create_many(self, new: Sequence[NewUser]) -> tuple[User, ...]:
        """Add all of them, or none, in their order: one statement a thousand."""
        if not new:
            return ()
        rows = [await self._values(one) for one in new]
        async with saving_many(self._session, rows):
            statement = insert(UserRow).returning(*COLUMNS, sort_by_parameter_order=True)
            return tuple(User(*row) for row in await self._session.execute(statement, rows))

    async def get_by_id(self, user_id: int) -> User:
        """The user with this id."""
        return await self._one(queries.has_id(user_id), user_id)

    async def get_by_username(self, username: str) -> User:
        """The user with this username, whatever its case."""
        return await self._one(queries.same_text(UserRow.username, username), username)

    async def get_by_email(self, email: str) -> User:
        """The user with this email, whatever its case."""
        return await self._one(queries.same_text(UserRow.email, email), email)

    async def find(self, who: str) -> User:
        """The user with this id, email or username: no text can be two of them."""
        return await self._one(queries.is_called(who), who)

    async def exists(self, who: str) -> bool:
        """Whether there is a user with this id, email or username."""
        found = await self._session.scalar(select(select(UserRow.id).where(queries.is_called(who)).exists()))
        return bool(found)

    async def list(
        self,
        only: Filters | None = None,
        *,
        order: Order = "id",
        descending: bool = False,
        limit: int = 50,
        after: str | None = None,
        skip: int = 0,
    ) -> Page:
        """A page; ``after`` is the last page's cursor, and any page is as fast as the first.

        ``skip`` leaves out so many rows instead, which are all read.
        """
        users = await self._users(
            pages.page(order, only or Filters(), descending=descending, limit=limit, after=after, skip=skip)
        )
        items = users[:limit]
        more = len(users) > limit
        return Page(items, pages.cursor(order, items[-1], descending=descending) if more else None)

    async def search(
        self, text: str, only: Filters | None = None, *, limit: int = 20, after: str | None = None
    ) -> Page:
        """Users whose username, email or full name holds ``text``, literally, whatever its case and accents.

        Equal ones first, then those that begin with it, those with a word that does, the rest; one or two characters
        are found at the beginning alone. Where nothing is found, those that are spelled alike.
        """
        return await search_page(self._session, text, only or Filters(), limit=limit, after=after)

    async def recently_active(self, days: int, *, limit: int = 100) -> tuple[User, ...]:
        """Active users whose row changed in the last ``days``, latest first.

        The table knows no sign-ins: ``updated_at`` is the nearest that it has.
        """
        if not 1 <= days <= _MAX_DAYS:
            raise Invalid("days", f"it must be from 1 to {_MAX_DAYS}")
        return await self._users(
            select(*COLUMNS)
            .where(UserRow.updated_at >= func.now() - timedelta(days=days), UserRow.is_active)
            .order_by(UserRow.updated_at.desc(), UserRow.id.desc())
            .limit(queries.checked_limit(limit))
        )

    async def count(self, only: Filters | None = None, *, text: str | None = None) -> int:
        """How many users there are, exactly; with ``text``, how many a search for it would find."""
        statement = select(func.count()).select_from(UserRow)
        if text is not None:
            statement = statement.where(found_by(await read_wanted(self._session, text)))
        return int(await self._session.scalar(queries.filtered(statement, only or Filters())) or 0)

    async def estimate(self) -> int:
        """About how many users there are, at once: as of the table's last VACUUM or ANALYZE."""
        return int(await self._session.scalar(queries.ESTIMATE) or 0)

    async def update(
        self, user_id: int, changes: UserChanges, *, unchanged_since: datetime | None = None
    ) -> User:
        """Change the given fields and no other.

        ``unchanged_since`` is the ``updated_at`` that the caller saw: Conflict where somebody changed the user after it.
        """
        values = changes.given()
        if not values:
            raise Invalid("changes", "there are none", hint="give at least one field")
        _check_all(values)
        if unchanged_since is None:
            return await self._change(user_id, values)
        try:
            return await self._change(user_id, values, UserRow.updated_at == unchanged_since)
        except NotFound:
            now = await self.get_by_id(user_id)
        raise Conflict(
            f"user {now.username!r} was changed meanwhile, at {now.updated_at.isoformat()}",
            hint=f"look at it again: `dbctl users get {now.id}`",
        )

    async def activate(self, user_id: int) -> User:
        """Let the user sign in."""
        return await self._change(user_id, {"is_active": True})

    async def deactivate(self, user_id: int) -> User:
        """Keep the user from signing in."""
        return await self._change(user_id, {"is_active": False})

    async def set_password(self, user_id: int, password: str | None) -> User:
        """Set the password; None takes away the usable one."""
        user = await self.get_by_id(user_id)
        hashed = await self._hashed(password, username=user.username, email=user.email)
        return await self._change(user_id, {"hashed_password": hashed})

    async def verify_password(self, who: str, password: str) -> User | None:
        """The active user with this id, email or username, if the password is right; else None.

        Takes as long for a user that doesn't exist. A hash made with weaker parameters is renewed.
        """
        statement = select(*COLUMNS, UserRow.hashed_password).where(queries.is_called(who), UserRow.is_active)
        row = (await self._session.execute(statement)).one_or_none()
        hashed = row.hashed_password if row else UNUSABLE
        if not await self._passwords.verify(hashed, password) or row is None:
            return None
        user = User(*tuple(row)[:-1])
        if self._passwords.needs_rehash(hashed):
            renewed = {"hashed_password": await self._passwords.hash(password)}
            # Meanwhile the password may have been changed: an old one must not come back.
            with suppress(NotFound):
                user = await self._change(user.id, renewed, UserRow.hashed_password == hashed)
        return user

    async def delete(self, user_id: int) -> User:
        """Remove the user for good; gives what was removed."""
        rows = await self._session.execute(delete(UserRow).where(queries.has_id(user_id)).returning(*COLUMNS))
        return _found(rows.one_or_none(), user_id)

    async def _change(
        self, user_id: int, values: Mapping[str, object], condition: ColumnElement[bool] | None = None
    ) -> User:
        statement = update(UserRow).where(queries.has_id(user_id)).values(values).returning(*COLUMNS)
        if condition is not None:
            statement = statement.where(condition)
        async with saving(self._session, values):
            return _found((await self._session.execute(statement)).one_or_none(), user_id)

    async def _values(self, new: NewUser) -> dict[str, str | bool | None]:
        values = {
            "username": new.username,
            "email": new.email,
            "full_name": new.full_name,
            "is_active": new.is_active,
            "is_superuser": new.is_superuser,
        }
        _check_all(values)
        hashed = await self._hashed(new.password, username=new.username, email=new.email)
        return {**values, "hashed_password": hashed}

    async def _hashed(self, password: str | None, *, username: str, email: str) -> str:
        if password is None:
            return UNUSABLE
        return await self._passwords.hash(self._passwords.check(password, username=username, email=email))

    async def _one(self, condition: ColumnElement[bool], who: object) -> User:
        rows = await self._session.execute(select(*COLUMNS).where(condition))
        return _found(rows.one_or_none(), who)

    async def _users(self, statement: Statement) -> tuple[User, ...]:
        return tuple(User(*row) for row in await self._session.execute(statement))


def _check_all(values: Mapping[str, str | bool | None]) -> None:
    for field, value in values.items():
        if isinstance(value, str):
            check(field, value)
        elif field in RULES and (value is not None or field != "full_name"):
            raise Invalid(field, "it must be a text")


def _found(row: Any, who: object) -> User:
    if row is None:
        hint = (
            f"look for similar ones: `dbctl users search {shlex.quote(who)}`" if isinstance(who, str) else ""
        )
        raise NotFound(f"no user {who!r}", hint=hint)
    return User(*row)
