"""The shared engine: limits that hold, sessions that roll back, errors in our words."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any
from uuid import uuid4

import psycopg2
import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from dbctl import errors
from dbctl.database import ConnInfo, open_database
from dbctl.database.errors import translate
from dbctl.postgres.identifiers import quote_identifier
from dbctl.settings import DatabaseSettings, PoolSettings
from tests.fixtures.database import execute, psycopg2_arguments


async def open_once(conninfo: ConnInfo, **settings):
    limits = DatabaseSettings(**settings)
    async with open_database(conninfo, limits, PoolSettings()) as database, database.session() as session:
        return (await session.execute(text("SELECT 1"))).scalar()


async def test_a_session_commits_at_its_end(empty_conninfo):
    async with open_database(empty_conninfo, DatabaseSettings(), PoolSettings()) as database:
        async with database.session() as session:
            await session.execute(text("CREATE TABLE kept (id int)"))
        async with database.session() as session:
            assert (await session.execute(text("SELECT count(*) FROM kept"))).scalar() == 0


async def test_a_session_rolls_back_on_any_error(empty_conninfo):
    async with open_database(empty_conninfo, DatabaseSettings(), PoolSettings()) as database:
        with pytest.raises(ValueError, match="ours"):
            async with database.session() as session:
                await session.execute(text("CREATE TABLE gone (id int)"))
                raise ValueError("ours")
        async with database.session() as session:
            assert (await session.execute(text("SELECT to_regclass('gone')"))).scalar() is None


async def test_limits_and_name_reach_the_server(empty_conninfo):
    settings = DatabaseSettings(statement_timeout=7, lock_timeout=3, idle_in_transaction_timeout=11)
    async with (
        open_database(empty_conninfo, settings, PoolSettings(), application_name="me") as database,
        database.session() as session,
    ):
        names = (
            "statement_timeout",
            "lock_timeout",
            "idle_in_transaction_session_timeout",
            "application_name",
        )
        rows = [
            (await session.execute(text("SELECT current_setting(:name)"), {"name": name})).scalar()
            for name in names
        ]
    assert rows == ["7s", "3s", "11s", "me"]


async def test_a_slow_statement_is_stopped_and_said(empty_conninfo):
    async with open_database(
        empty_conninfo, DatabaseSettings(statement_timeout=0.1), PoolSettings()
    ) as database:
        with pytest.raises(errors.TimedOut) as caught:
            async with database.session() as session:
                await session.execute(text("SELECT pg_sleep(5)"))
    assert "statement_timeout" in caught.value.hint


async def test_an_empty_pool_is_busy_not_a_hang(empty_conninfo):
    pool = PoolSettings(size=1, max_overflow=0, timeout=0.1)
    async with (
        open_database(empty_conninfo, DatabaseSettings(), pool) as database,
        database.session() as session,
    ):
        await session.execute(text("SELECT 1"))
        with pytest.raises(errors.Busy):
            async with database.session() as second:
                await second.execute(text("SELECT 1"))


async def test_a_killed_connection_is_replaced_at_the_next_checkout(empty_conninfo):
    async with open_database(empty_conninfo, DatabaseSettings(), PoolSettings(size=2)) as database:
        async with database.session() as session:
            pid = (await session.execute(text("SELECT pg_backend_pid()"))).scalar()
        async with (
            open_database(empty_conninfo, DatabaseSettings(), PoolSettings()) as other,
            other.session() as session,
        ):
            await session.execute(text("SELECT pg_terminate_backend(:pid)"), {"pid": pid})
        async with database.session() as session:
            assert (await session.execute(text("SELECT 1"))).scalar() == 1


async def test_a_connection_lost_at_work_is_said(empty_conninfo):
    async with open_database(empty_conninfo, DatabaseSettings(), PoolSettings()) as database:
        with pytest.raises(errors.ConnectionLost):
            async with database.session() as session:
                await session.execute(text("SELECT pg_terminate_backend(pg_backend_pid())"))


async def test_no_connection_is_left_after_a_cancelled_block(empty_conninfo):
    async def work() -> None:
        async with open_database(
            empty_conninfo, DatabaseSettings(), PoolSettings(), application_name="cut"
        ) as database:
            async with database.session() as session:
                await session.execute(text("SELECT pg_sleep(30)"))

    task = asyncio.create_task(work())
    await asyncio.sleep(0.3)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    async with (
        open_database(empty_conninfo, DatabaseSettings(), PoolSettings()) as database,
        database.session() as session,
    ):
        query = text(
            "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'cut' AND state = 'active'"
        )
        for _ in range(50):
            if (await session.execute(query)).scalar() == 0:
                return
            await session.rollback()
            await asyncio.sleep(0.1)
    pytest.fail("a cancelled session still works on the server")


async def test_the_applications_own_errors_pass_as_they_are(empty_conninfo):
    async with open_database(empty_conninfo, DatabaseSettings(), PoolSettings()) as database:
        for error in (
            FileNotFoundError("its own file"),
            TimeoutError("its own service"),
            ConnectionResetError(),
        ):
            with pytest.raises(type(error)):
                async with database.session() as session:
                    await session.execute(text("SELECT 1"))
                    raise error


async def test_a_bug_while_a_database_error_is_handled_is_still_a_bug(empty_conninfo):
    async with open_database(empty_conninfo, DatabaseSettings(), PoolSettings()) as database:
        with pytest.raises(KeyError):
            async with database.session() as session:
                try:
                    await session.execute(text("SELECT nonsense"))
                except DBAPIError:
                    raise KeyError("missing") from None


async def test_an_answer_that_never_comes_is_a_time_limit_not_a_dead_server(empty_conninfo):
    settings = DatabaseSettings(command_timeout=0.2, statement_timeout=0)
    async with open_database(empty_conninfo, settings, PoolSettings()) as database:
        with pytest.raises(errors.TimedOut, match="command_timeout"):
            async with database.session() as session:
                await session.execute(text("SELECT pg_sleep(5)"))


async def test_the_limits_of_a_command_win_over_pgoptions(empty_conninfo):
    options = "-c statement_timeout=5000 -c work_mem=7MB"
    conninfo = replace(empty_conninfo, keywords={**empty_conninfo.keywords, "options": options})
    async with (
        open_database(conninfo, DatabaseSettings(statement_timeout=0), PoolSettings()) as database,
        database.session() as session,
    ):
        query = text("SELECT current_setting('statement_timeout'), current_setting('work_mem')")
        assert tuple((await session.execute(query)).one()) == ("0", "7MB")


async def test_no_error_text_holds_a_statements_values(empty_conninfo):
    async with open_database(empty_conninfo, DatabaseSettings(), PoolSettings()) as database:
        with pytest.raises(errors.Failed) as caught:
            async with database.session() as session:
                await session.execute(
                    text("SELECT 1 / (:secret = 's3cret')::int - 1, 1 / 0"), {"secret": "s3cret"}
                )
    chain = f"{caught.value} {caught.value.__cause__}"
    assert "s3cret" not in chain.replace("= 's3cret'", "")


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ('FATAL:  role "bob" does not exist', errors.WrongPassword),
        ('FATAL:  database "sslapp" does not exist', errors.NoSuchDatabase),
        ('FATAL:  no pg_hba.conf entry for host "127.0.0.1", user "bob", SSL off', errors.WrongPassword),
        ("server does not support SSL, but SSL was required", errors.TlsFailed),
        ("timeout expired", errors.ConnectTimeout),
        ('could not translate host name "db.gone" to address: Name or service not known', errors.Unreachable),
        ("could not connect to server: Connection refused", errors.Unreachable),
    ],
)
def test_psycopg2s_words_on_connecting_become_our_errors(message, expected):
    found = translate(psycopg2.OperationalError(message))
    assert type(found) is expected


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"dbname": "nowhere"}, errors.NoSuchDatabase),
        ({"host": "/nowhere"}, errors.Unreachable),
        ({"host": "127.0.0.1", "port": "1"}, errors.Unreachable),
        ({"host": "no.such.host.invalid"}, errors.Unreachable),
        ({"user": "nobody-known"}, errors.WrongPassword),
    ],
)
async def test_a_failed_connection_says_why_and_what_next(empty_conninfo, changes, expected):
    conninfo = replace(empty_conninfo, keywords={**empty_conninfo.keywords, **changes})
    with pytest.raises(expected) as caught:
        await open_once(conninfo, connect_timeout=5)
    assert caught.value.hint
    assert caught.value.exit_code == 4


async def test_a_role_that_may_not_connect_is_told_who_may_let_it_in(empty_conninfo):
    name = f"outsider_{uuid4().hex[:12]}"
    database = quote_identifier(empty_conninfo.keywords["dbname"])
    execute(empty_conninfo, f"CREATE ROLE {name} LOGIN", f"REVOKE CONNECT ON DATABASE {database} FROM PUBLIC")
    outsider = replace(empty_conninfo, keywords={**empty_conninfo.keywords, "user": name})
    try:
        with pytest.raises(errors.WrongPassword, match="not let in") as caught:
            await open_once(outsider)
        with pytest.raises(psycopg2.OperationalError) as refused:
            psycopg2.connect(**psycopg2_arguments(outsider))
    finally:
        execute(empty_conninfo, f"GRANT CONNECT ON DATABASE {database} TO PUBLIC", f"DROP ROLE {name}")
    for found in (caught.value, translate(refused.value)):
        assert found is not None
        assert found.exit_code == 4
        assert "GRANT CONNECT" in found.hint


async def test_a_checkout_asks_whether_its_connection_is_alive_in_one_message(empty_conninfo):
    async with open_database(empty_conninfo, DatabaseSettings(), PoolSettings()) as database:
        sent = []
        async with database.engine.connect() as connection:
            driver: Any = (await connection.get_raw_connection()).driver_connection
            driver.add_query_logger(lambda query: sent.append(query.query))
        async with database.engine.connect() as connection:
            assert await connection.scalar(text("SELECT 2")) == 2
        assert sent[:2] == ["SELECT 1", "BEGIN;"]
