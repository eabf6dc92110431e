"""Users for the tests of the users room."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from sqlalchemy import event
from sqlalchemy.ext.asyncio import AsyncSession

from dbctl.database import Database
from dbctl.users.model import NewUser, User
from dbctl.users.repository import UserRepository


def new(username: str = "ada", **changes) -> NewUser:
    return NewUser(**{"username": username, "email": f"{username}@example.com", **changes})


@pytest.fixture
def users(session: AsyncSession) -> UserRepository:
    return UserRepository(session)


@pytest.fixture
async def ada(users: UserRepository) -> User:
    return await users.create(new(full_name="Ada Lovelace"))


@pytest.fixture
def statements(database: Database) -> Iterator[list[str]]:
    """The SQL that the database's engine sends from now on."""
    sent: list[str] = []

    def remember(_connection, _cursor, statement, *_rest):
        sent.append(statement)

    event.listen(database.engine.sync_engine, "before_cursor_execute", remember)
    yield sent
    event.remove(database.engine.sync_engine, "before_cursor_execute", remember)
