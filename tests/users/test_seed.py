"""Seeding: the same seed gives the same users, every call others, all of them valid."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import text

from dbctl.errors import AlreadyExists, Invalid
from dbctl.users.names import FIRST_NAMES, LAST_NAMES
from dbctl.users.repository import UserRepository
from dbctl.users.rules import check
from dbctl.users.seed import row, seed
from tests.users.conftest import new

NOW = datetime(2026, 1, 1, tzinfo=UTC)


@given(st.integers(), st.integers(1, 2**63 - 1))
def test_a_row_is_a_function_of_seed_and_number_and_keeps_every_rule(number_of_seed, number):
    made = row(number_of_seed, number, NOW)
    assert made == row(number_of_seed, number, NOW)
    username, email, full_name, hashed, _active, created, updated = made
    for field, value in (("username", username), ("email", email), ("hashed_password", hashed)):
        check(field, value)
    if full_name is not None:
        check("full_name", full_name)
    assert NOW - timedelta(days=730) <= created <= updated <= NOW


@given(st.integers(), st.integers(), st.sets(st.integers(1, 10**9), min_size=2, max_size=2))
def test_two_numbers_never_share_a_name_whatever_the_seeds(seed_a, seed_b, numbers):
    a, b = numbers
    assert row(seed_a, a, NOW)[0] != row(seed_b, b, NOW)[0]


def test_names_are_plain_ascii_and_listed_once():
    for names in (FIRST_NAMES, LAST_NAMES):
        assert len(set(names)) == len(names) > 150
        assert all(plain.isascii() and plain.isalpha() and plain.islower() for _, plain in names)


async def test_each_seeding_adds_other_users_that_nobody_can_sign_in_as(users, session):
    reported: list[int] = []
    first = await seed(session, 1500, progress=reported.append)
    second = await seed(session, 1500, seed=7)
    assert await users.count() == 3000
    assert second.first >= first.first + first.rows
    assert reported[-1] == 1500
    assert reported == sorted(reported)
    assert (
        await session.scalar(text("SELECT count(*) FROM users WHERE hashed_password <> '!' OR is_superuser"))
        == 0
    )
    assert 0 < await users.count(is_active=False) < 300


async def test_empty_tables_get_the_same_users_from_the_same_seed(database):
    async def names(number: int) -> list[str]:
        async with database.session() as session:
            await session.execute(text("TRUNCATE users RESTART IDENTITY"))
            await seed(session, 100, seed=number)
            return [user.username for user in (await UserRepository(session).list(limit=100)).items]

    assert await names(1) == await names(1)
    assert await names(1) != await names(2)


async def test_two_seedings_at_once_add_both(database):
    async def add() -> None:
        async with database.session() as session:
            await seed(session, 500)

    await asyncio.gather(add(), add(), add())
    async with database.session() as session:
        assert await UserRepository(session).count() == 1500


async def test_a_real_user_in_the_way_leaves_nothing_added_and_a_second_run_succeeds(users, session):
    await users.create(new(row(42, 12, NOW)[0]))
    with pytest.raises(AlreadyExists):
        await seed(session, 50)
    assert await users.count() == 1
    assert (await seed(session, 50)).rows == 50
    assert await users.count() == 51


@pytest.mark.parametrize("count", [0, -1, 10_000_001])
async def test_a_count_that_makes_no_sense_is_refused(session, count):
    with pytest.raises(Invalid, match="count"):
        await seed(session, count)


async def test_an_error_midway_adds_nobody(database):
    def fail(_rows: int) -> None:
        raise RuntimeError

    with pytest.raises(RuntimeError):
        async with database.session() as session:
            await seed(session, 5000, progress=fail)
    async with database.session() as session:
        assert await UserRepository(session).count() == 0
