"""``pool.pooler``: through a PgBouncer that gives each transaction another session, nothing fails or stays behind."""

from __future__ import annotations

import asyncio

import pytest
from sqlalchemy import text

from dbctl import errors
from dbctl.database import ConnInfo, open_database
from dbctl.settings import DatabaseSettings, PoolSettings
from tests.fixtures.database import execute
from tests.fixtures.pooler import pgbouncer

POOLED = PoolSettings(size=12, max_overflow=0, timeout=60, pooler="pgbouncer")
LIMITS = ("statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout")
SETTINGS = DatabaseSettings(statement_timeout=7, lock_timeout=3, idle_in_transaction_timeout=11)
SHOWN = text("SELECT " + ", ".join(f"current_setting('{name}')" for name in LIMITS))


def strict(server: ConnInfo, sessions: int = 2):
    """A PgBouncer as it comes: it refuses the settings that it does not know."""
    return pgbouncer(server, ignored="", default_pool_size=sessions)


async def test_many_tasks_share_two_sessions_and_each_gets_its_own_answer(conninfo):
    with strict(conninfo) as pooled:
        async with open_database(pooled, DatabaseSettings(), POOLED) as database:

            async def work(number: int) -> None:
                for turn in range(6):
                    async with database.session() as session:
                        assert await session.scalar(text("SELECT :a + 0"), {"a": number}) == number
                        told = await session.scalar(text(f"SELECT CAST(:a AS text) || '{turn}'"), {"a": "ü"})
                        assert told == f"ü{turn}"
                    async with database.connect() as connection:
                        assert await connection.scalar(text("SELECT :a * 2"), {"a": number}) == 2 * number

            await asyncio.gather(*(work(number) for number in range(30)))
        sessions = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
        assert execute(conninfo, sessions) <= [(3,)]


async def test_the_time_limits_hold_in_each_transaction_and_stay_with_nobody(conninfo):
    with strict(conninfo, sessions=1) as pooled:
        async with open_database(pooled, SETTINGS, POOLED) as database:
            async with database.session() as session:
                assert (await session.execute(SHOWN)).one() == ("7s", "3s", "11s")
            async with database.connect() as connection:
                assert (await connection.execute(SHOWN)).one() == ("7s", "3s", "11s")
            ours = DatabaseSettings(statement_timeout=0.2)
            with pytest.raises(errors.TimedOut):
                async with open_database(pooled, ours, POOLED) as other, other.connect() as connection:
                    await connection.execute(text("SELECT pg_sleep(60)"))
            plain = execute(pooled, SHOWN.text)
        assert plain == execute(conninfo, SHOWN.text)


async def test_each_statement_of_a_plain_connection_commits_by_itself_and_a_failed_one_is_over(conninfo):
    with strict(conninfo) as pooled:
        async with open_database(pooled, DatabaseSettings(), POOLED) as database:
            async with database.connect() as connection:
                await connection.execute(text("CREATE TABLE kept (id int)"))
                await connection.execute(text("INSERT INTO kept VALUES (:id)"), [{"id": 1}, {"id": 2}])
                with pytest.raises(errors.Failed, match="division"):
                    async with database.connect() as failing:
                        await failing.execute(text("SELECT 1 / 0"))
                assert execute(conninfo, "SELECT count(*) FROM kept") == [(2,)]
                with pytest.raises(Exception, match="division"):
                    await connection.execute(text("SELECT 1 / 0"))
                assert await connection.scalar(text("SELECT count(*) FROM kept")) == 2
            async with database.session() as session:
                await session.execute(text("DELETE FROM kept"))
                await session.rollback()
        assert execute(conninfo, "SELECT count(*) FROM kept") == [(2,)]
