"""``get_db``: one engine a process, one transaction a request."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import text

from dbctl.database import dispose_db, get_db
from dbctl.database.fastapi import shared
from tests.fixtures.cli import url_of


@pytest.fixture
async def application(conninfo, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DATABASE_URL", url_of(conninfo))
    yield
    await dispose_db()


async def request(work):
    """What FastAPI does with a dependency that yields."""
    dependency: Any = get_db()
    session = await anext(dependency)
    try:
        result = await work(session)
    except ValueError as error:
        with pytest.raises(type(error)):
            await dependency.athrow(error)
        return None
    with pytest.raises(StopAsyncIteration):
        await anext(dependency)
    return result


async def test_a_request_commits_and_the_next_one_sees_it(application):
    await request(lambda session: session.execute(text("CREATE TABLE seen (id int)")))
    counted = await request(lambda session: session.execute(text("SELECT count(*) FROM seen")))
    assert counted.scalar() == 0


async def test_a_failed_request_rolls_back(application):
    async def fail(session):
        await session.execute(text("CREATE TABLE unseen (id int)"))
        raise ValueError

    await request(fail)
    found = await request(lambda session: session.execute(text("SELECT to_regclass('unseen')")))
    assert found.scalar() is None


async def test_all_requests_share_one_engine_until_it_is_disposed(application):
    first = await shared()
    assert await shared() is first
    await dispose_db()
    assert await shared() is not first
