"""Connections and tokens that age, errors that keep their secrets, attempts that are worth it."""

from __future__ import annotations

import asyncio
import traceback
from contextlib import suppress
from secrets import token_hex

import pytest
from sqlalchemy import text

from dbctl.database import ConnInfo, open_database
from dbctl.database.engine import _with_retries
from dbctl.database.password import password_source
from dbctl.errors import DbctlError
from dbctl.settings import DatabaseSettings, PoolSettings


async def test_an_error_shows_no_values_of_a_statement(database):
    secret = token_hex()  # no literal: a traceback shows source lines
    with pytest.raises(DbctlError) as caught:
        async with database.session() as session:
            await session.execute(text("SELECT CAST(:hash AS text), 1 / 0"), {"hash": secret})
    assert secret not in "".join(traceback.format_exception(caught.value))


async def test_an_old_connection_is_replaced_at_its_next_checkout(conninfo):
    async with open_database(conninfo, DatabaseSettings(), PoolSettings(recycle=1)) as database:
        pids = set()
        for _ in range(2):
            async with database.session() as session:
                pids.add(await session.scalar(text("SELECT pg_backend_pid()")))
            await asyncio.sleep(1.1)
    assert len(pids) == 2


async def test_a_token_is_fetched_anew_when_it_is_old(tmp_path, monkeypatch):
    counter = tmp_path / "counter"
    command = ("sh", "-c", f"echo x >> {counter}; wc -l < {counter}")
    source = password_source(
        ConnInfo({"host": "h", "port": "1", "dbname": "d", "user": "u"}),
        DatabaseSettings(password_command=command),
    )
    assert await source() == await source()
    monkeypatch.setattr("dbctl.database.password._LIFE_SECONDS", -1)
    assert await source() != await source()


@pytest.mark.parametrize(("error", "attempts"), [(ConnectionRefusedError(), 3), (ValueError(), 1)])
async def test_only_what_may_pass_is_tried_again(error, attempts):
    tried: list[int] = []

    async def connect():
        tried.append(1)
        if len(tried) < 3:
            raise error
        return "connected"

    with suppress(ValueError):
        assert await _with_retries(connect, 10) == "connected"
    assert len(tried) == attempts
