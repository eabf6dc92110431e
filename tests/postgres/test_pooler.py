"""A lock of a session is not taken through a pooler that shares sessions, and the way round it is named."""

from __future__ import annotations

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine

from dbctl.database import ConnInfo, open_database
from dbctl.errors import SettingsError
from dbctl.postgres.locks import advisory_lock
from dbctl.settings import DatabaseSettings, PoolSettings
from tests.fixtures.pooler import pgbouncer

HELD = text("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'")


def engine_at(conninfo: ConnInfo):
    return create_async_engine("postgresql+asyncpg://", connect_args=conninfo.asyncpg_arguments())


async def test_sessions_that_are_shared_are_noticed_and_nothing_stays_locked(conninfo):
    with pgbouncer(conninfo) as pooled:
        for engine in (engine_at(pooled), engine_at(pooled)):
            async with engine.connect() as connection:
                with pytest.raises(SettingsError, match="a pooler") as caught:
                    async with advisory_lock(connection, "x"):
                        pass
            await engine.dispose()
            assert "DBCTL_DATABASE__DIRECT_URL" in caught.value.hint
    engine = engine_at(conninfo)
    async with engine.connect() as connection:
        assert await connection.scalar(HELD) == 0
    await engine.dispose()


async def test_a_pooler_that_gives_each_client_a_session_is_no_hindrance(conninfo):
    with pgbouncer(conninfo, mode="session") as pooled:
        engine = engine_at(pooled)
        async with engine.connect() as connection:
            async with advisory_lock(connection, "x"):
                assert await connection.scalar(HELD) == 1
            assert await connection.scalar(HELD) == 0
        await engine.dispose()


async def test_a_pooler_that_refuses_our_settings_is_told_from_a_lost_connection(conninfo):
    with pgbouncer(conninfo, ignored="") as pooled:
        async with open_database(pooled, DatabaseSettings(), PoolSettings()) as database:
            with pytest.raises(SettingsError, match="a pooler stands in between") as caught:
                async with database.connect():
                    pass
    assert "unsupported startup parameter" in caught.value.why
    assert "direct_url" in caught.value.hint
