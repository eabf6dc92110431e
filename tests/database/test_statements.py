"""The application's statements: named by their request, and logged when they are slow."""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress

from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import text

from dbctl.database import open_database, request_id
from dbctl.database.requests import find_request_id, with_request_id
from dbctl.errors import DbctlError
from dbctl.settings import DatabaseSettings, PoolSettings

SHOW = text("SELECT query FROM pg_stat_activity WHERE pid = pg_backend_pid()")


def slow(seconds):
    return DatabaseSettings(slow_query_seconds=seconds)


async def test_the_servers_view_of_a_statement_names_its_request(database):
    request_id.set("7f3a */ DROP TABLE users; --")
    async with database.session() as session:
        seen = await session.scalar(SHOW)
    assert find_request_id(seen) == "7f3a */ DROP TABLE users; --"
    assert seen.count("*/") == 1


async def test_without_a_request_a_statement_is_sent_as_it_is(database):
    async with database.session() as session:
        assert await session.scalar(SHOW) == SHOW.text


async def test_each_task_has_a_request_of_its_own(database):
    async def serve(name):
        request_id.set(name)
        async with database.session() as session:
            return find_request_id(await session.scalar(SHOW))

    names = [f"request {number}" for number in range(10)]
    assert await asyncio.gather(*map(serve, names)) == names


@given(st.text(min_size=1))
def test_no_value_ends_the_comment_and_each_is_read_back(value):
    token = request_id.set(value)
    try:
        sent = with_request_id("SELECT 1 -- one")
    finally:
        request_id.reset(token)
    line = sent.removeprefix("SELECT 1 -- one\n")
    assert line.startswith("/* request_id='")
    assert line.index("*/") == len(line) - 2
    assert line.count("'") == 2
    assert "\n" not in line
    assert find_request_id(sent) == value[:128].encode(errors="replace").decode()


async def test_a_slow_statement_is_logged_with_its_request_and_without_its_values(conninfo, caplog):
    request_id.set("7f3a")
    with caplog.at_level(logging.WARNING, "dbctl.slow_queries"):
        async with open_database(conninfo, slow(0.000001), PoolSettings()) as database:
            async with database.session() as session:
                await session.execute(text("SELECT 'secret', :value"), {"value": "hidden"})
    [record] = [one for one in caplog.records if "SELECT ?" in one.getMessage()]
    assert "request_id='7f3a'" in record.getMessage()
    assert "secret" not in record.getMessage()
    assert "hidden" not in record.getMessage()
    assert record.seconds > 0
    assert record.request_id == "7f3a"


async def test_one_that_ran_into_its_time_limit_is_logged_too(conninfo, caplog):
    settings = DatabaseSettings(slow_query_seconds=0.01, statement_timeout=0.05)
    async with open_database(conninfo, settings, PoolSettings()) as database:
        with suppress(DbctlError):
            async with database.session() as session:
                await session.execute(text("SELECT pg_sleep(60)"))
    assert any(", failed: SELECT pg_sleep(?)" in one.getMessage() for one in caplog.records)


async def test_a_quick_one_is_not_logged(conninfo, caplog):
    async with open_database(conninfo, slow(3600), PoolSettings()) as database:
        async with database.session() as session:
            await session.execute(text("SELECT 1"))
    assert not [one for one in caplog.records if one.name == "dbctl.slow_queries"]
