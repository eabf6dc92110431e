"""Users that have not changed for long: deactivated in batches, superusers and the changed ones left alone."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import text

from dbctl.users.idle import count_idle, deactivate_idle
from dbctl.users.model import Filters
from dbctl.users.repository import UserRepository
from dbctl.users.seed import seed
from tests.users.conftest import new

YEAR_AGO = datetime.now(UTC) - timedelta(days=365)


@pytest.fixture
async def idle(database) -> list[str]:
    """Thirty users, of whom twenty are active and have not changed for two years, and a superuser like them."""
    async with database.session() as session:
        await session.execute(text("ALTER TABLE users DISABLE TRIGGER USER"))
        for number in range(30):
            await UserRepository(session).create(new(f"u{number}", is_active=number < 25))
        await UserRepository(session).create(new("root", is_superuser=True))
        await session.execute(
            text(
                "UPDATE users SET created_at = now() - interval '2 years', updated_at = now() - interval '2 years'"
                " WHERE username NOT IN ('u0', 'u1', 'u2', 'u3', 'u4')"
            )
        )
        await session.execute(text("ALTER TABLE users ENABLE TRIGGER USER"))
    return [f"u{number}" for number in range(5, 25)]


async def test_those_alone_that_have_not_changed_are_deactivated(database, idle, monkeypatch):
    monkeypatch.setattr("dbctl.users.idle._BATCH_ROWS", 3)
    async with database.session() as session:
        assert await count_idle(session, YEAR_AGO) == 20
    steps: list[int] = []
    assert await deactivate_idle(database, YEAR_AGO, progress=steps.append) == 20
    assert steps == [3, 6, 9, 12, 15, 18, 20]
    async with database.session() as session:
        users = UserRepository(session)
        assert await count_idle(session, YEAR_AGO) == 0
        for name in idle:
            assert not (await users.find(name)).is_active
        left = await users.list(Filters(is_active=True))
        assert {user.username for user in left.items} == {"root", "u0", "u1", "u2", "u3", "u4"}


async def test_the_index_finds_them(database):
    async with database.session() as session:
        await seed(session, 20_000)
        await session.execute(text("ANALYZE users"))
        plan = "\n".join(
            await session.scalars(
                text(
                    "EXPLAIN SELECT updated_at, id FROM users WHERE updated_at < :since AND is_active"
                    " AND NOT is_superuser AND (updated_at, id) > (:since - interval '9 years', 0)"
                    " ORDER BY updated_at, id LIMIT 1000 FOR UPDATE"
                ),
                {"since": YEAR_AGO},
            )
        )
    assert "Index Scan using ix_users_updated_at_id" in plan
