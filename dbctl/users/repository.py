"""Every way to read and change users, in the transaction of the session that the caller brings."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from sqlalchemy import ColumnElement, delete, func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from dbctl.errors import Invalid, NotFound
from dbctl.users import passwords, queries
from dbctl.users.model import NewUser, Page, User, UserChanges
from dbctl.users.orm import UserRow
from dbctl.users.queries import COLUMNS
from dbctl.users.rules import RULES, UNUSABLE, check, storable
from dbctl.users.saving import saving

if TYPE_CHECKING:
    from dbctl.users.queries import Statement

_MAX_DAYS = 36_500


class UserRepository:
    """Users of one database. Nothing is committed here; a refused change leaves the transaction usable.

    Methods that name one user raise NotFound where it isn't there; values that break a rule raise Invalid,
    a username or email that is taken (whatever its case) AlreadyExists.
    """

    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def create(self, new: NewUser) -> User:
        """Add a user; hashing its password takes about 0.2 s."""
        values = {
            "username": new.username,
            "email": new.email,
            "full_name": new.full_name,
            "is_active": new.is_active,
            "is_superuser": new.is_superuser,
        }
        _check_all(values)
        values["hashed_password"] = await _hashed(new.password, username=new.username, email=new.email)
        async with saving(self._session, values):
            rows = await self._session.execute(insert(UserRow).values(values).returning(*COLUMNS))
            return User(*rows.one())

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
        *,
        limit: int = 50,
        after: str | None = None,
        newest: bool = False,
        is_active: bool | None = None,
        is_superuser: bool | None = None,
    ) -> Page:
        """A page by id, or newest first; ``after`` is the last page's cursor. Any page is as fast as the first."""
        statement = queries.page(limit=limit, after=after, newest=newest)
        users = await self._users(queries.filtered(statement, is_active=is_active, is_superuser=is_superuser))
        more = len(users) > limit
        items = users[:limit]
        return Page(items, queries.cursor(items[-1], newest=newest) if more else None)

    async def search(self, text: str, *, limit: int = 20) -> tuple[User, ...]:
        """Users whose username, email or full name holds ``text`` literally, whatever its case.

        Equal ones first, then those that begin with it, then the rest. One or two characters are too few
        for the trigram index: rare ones cost a scan.
        """
        return await self._users(queries.search(text, limit))

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

    async def count(
        self, *, is_active: bool | None = None, is_superuser: bool | None = None, text: str | None = None
    ) -> int:
        """How many users there are, exactly; with ``text``, how many a search for it would find."""
        statement = select(func.count()).select_from(UserRow)
        if text is not None:
            statement = statement.where(queries.holds(storable("search text", text)))
        found = await self._session.scalar(
            queries.filtered(statement, is_active=is_active, is_superuser=is_superuser)
        )
        return int(found or 0)

    async def update(self, user_id: int, changes: UserChanges) -> User:
        """Change the given fields and no other."""
        values = changes.given()
        if not values:
            raise Invalid("changes", "there are none", hint="give at least one field")
        _check_all(values)
        return await self._change(user_id, values)

    async def activate(self, user_id: int) -> User:
        """Let the user sign in."""
        return await self._change(user_id, {"is_active": True})

    async def deactivate(self, user_id: int) -> User:
        """Keep the user from signing in."""
        return await self._change(user_id, {"is_active": False})

    async def set_password(self, user_id: int, password: str | None) -> User:
        """Set the password; None takes away the usable one."""
        user = await self.get_by_id(user_id)
        hashed = await _hashed(password, username=user.username, email=user.email)
        return await self._change(user_id, {"hashed_password": hashed})

    async def verify_password(self, who: str, password: str) -> User | None:
        """The active user with this id, email or username, if the password is right; else None.

        Takes as long for a user that doesn't exist. A hash made with weaker parameters is renewed.
        """
        statement = select(*COLUMNS, UserRow.hashed_password).where(queries.is_called(who), UserRow.is_active)
        row = (await self._session.execute(statement)).one_or_none()
        hashed = row.hashed_password if row else UNUSABLE
        if not await passwords.verify(hashed, password) or row is None:
            return None
        user = User(*tuple(row)[:-1])
        if passwords.needs_rehash(hashed):
            user = await self._change(user.id, {"hashed_password": await passwords.hash_password(password)})
        return user

    async def delete(self, user_id: int) -> User:
        """Remove the user for good; gives what was removed."""
        rows = await self._session.execute(delete(UserRow).where(queries.has_id(user_id)).returning(*COLUMNS))
        return _found(rows.one_or_none(), user_id)

    async def _change(self, user_id: int, values: Mapping[str, object]) -> User:
        async with saving(self._session, values):
            statement = update(UserRow).where(queries.has_id(user_id)).values(values).returning(*COLUMNS)
            return _found((await self._session.execute(statement)).one_or_none(), user_id)

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


async def _hashed(password: str | None, *, username: str, email: str) -> str:
    if password is None:
        return UNUSABLE
    return await passwords.hash_password(passwords.check_password(password, username=username, email=email))


def _found(row: Any, who: object) -> User:
    if row is None:
        hint = (
            f"look for similar ones: `dbctl users search {shlex.quote(who)}`" if isinstance(who, str) else ""
        )
        raise NotFound(f"no user {who!r}", hint=hint)
    return User(*row)
