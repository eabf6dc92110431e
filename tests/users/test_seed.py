"""Seeding: the same seed gives the same users, every call others, all of them valid."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import text

from dbctl.errors import ConnectionLost, Invalid, NotFound, Refused
from dbctl.users.made_up import row
from dbctl.users.model import Filters, UserChanges
from dbctl.users.names import LOCALES, names_of
from dbctl.users.repository import UserRepository
from dbctl.users.rules import check
from dbctl.users.seed import Wish, seed, seed_in_steps, take_back
from tests.fixtures.database import execute
from tests.users.conftest import new

NOW = datetime(2026, 1, 1, tzinfo=UTC)
MIXED = names_of("mixed")


@given(st.integers(), st.integers(1, 2**63 - 1))
def test_a_row_is_a_function_of_seed_and_number_and_keeps_every_rule(number_of_seed, number):
    made = row(number_of_seed, number, NOW, MIXED)
    assert made == row(number_of_seed, number, NOW, MIXED)
    username, email, full_name, hashed, _active, created, updated = made
    for field, value in (("username", username), ("email", email), ("hashed_password", hashed)):
        check(field, value)
    if full_name is not None:
        check("full_name", full_name)
    assert NOW - timedelta(days=730) <= created <= updated <= NOW


@given(st.integers(), st.integers(), st.sets(st.integers(1, 10**9), min_size=2, max_size=2))
def test_two_numbers_never_share_a_name_whatever_the_seeds(seed_a, seed_b, numbers):
    a, b = numbers
    assert row(seed_a, a, NOW, MIXED)[0] != row(seed_b, b, NOW, MIXED)[0]


def test_names_are_plain_ascii_and_listed_once():
    for names in (MIXED.first, MIXED.last):
        assert len(set(names)) == len(names) > 150
        assert all(plain.isascii() and plain.isalpha() and plain.islower() for _, plain in names)


async def test_each_seeding_adds_other_users_that_nobody_can_sign_in_as(users, session):
    reported: list[int] = []
    first = await seed(session, 1500, progress=reported.append)
    second = await seed(session, 1500, Wish(7))
    assert await users.count() == 3000
    assert second.first >= first.first + first.rows
    assert reported[-1] == 1500
    assert reported == sorted(reported)
    assert (
        await session.scalar(text("SELECT count(*) FROM users WHERE hashed_password <> '!' OR is_superuser"))
        == 0
    )
    assert 0 < await users.count(Filters(is_active=False)) < 300


async def test_empty_tables_get_the_same_users_from_the_same_seed(database):
    async def names(number: int) -> list[str]:
        async with database.session() as session:
            await session.execute(text("TRUNCATE users RESTART IDENTITY"))
            await seed(session, 100, Wish(number))
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


async def test_a_real_user_in_the_way_is_passed_over_and_the_number_is_still_right(users, session):
    await users.create(new(row(42, 12, NOW, MIXED)[0]))
    assert (await seed(session, 50)).rows == 50
    assert await users.count() == 51


async def test_a_tag_takes_back_what_it_added_and_nothing_else(users, session):
    await seed(session, 30, Wish(tag="first"))
    mine = await users.create(new())
    await seed(session, 20, Wish(tag="second"))
    await seed(session, 10, Wish(tag="first"))
    assert await take_back(session, "first") == 40
    assert await users.count() == 21
    assert await users.find("ada") == mine
    with pytest.raises(NotFound, match="first") as raised:
        await take_back(session, "first")
    assert "second" in raised.value.hint


async def test_a_tag_stands_for_one_series(session):
    await seed(session, 5, Wish(tag="demo"))
    with pytest.raises(Refused, match="--seed 42"):
        await seed(session, 5, Wish(seed=7, tag="demo"))


async def test_a_seeding_that_was_stopped_goes_on_until_its_users_are_all_there(database, monkeypatch):
    monkeypatch.setattr("dbctl.users.seed._STEP_ROWS", 40)

    def stop(rows: int) -> None:
        if rows > 50:
            raise RuntimeError

    async with database.session() as session:
        await UserRepository(session).create(new())
    wish = Wish(tag="demo")
    with pytest.raises(RuntimeError):
        await seed_in_steps(database, 100, wish, progress=stop)
    assert (await seed_in_steps(database, 100, wish)).rows == 60
    assert (await seed_in_steps(database, 100, wish)).rows == 0
    async with database.session() as session:
        assert await UserRepository(session).count() == 101


async def test_runs_of_one_tag_at_once_add_together_what_it_lacks(database, monkeypatch):
    monkeypatch.setattr("dbctl.users.seed._STEP_ROWS", 20)
    async with database.session() as session:
        await UserRepository(session).create(new())
    done = await asyncio.gather(*(seed_in_steps(database, 100, Wish(tag="demo")) for _ in range(3)))
    assert sum(one.rows for one in done) == 100
    async with database.session() as session:
        assert await UserRepository(session).count() == 101
        assert await take_back(session, "demo") == 100


async def test_a_tag_that_is_taken_back_while_users_are_added_to_it_leaves_none_of_them(database, conninfo):
    async def undo() -> int:
        async with database.session() as session:
            return await take_back(session, "demo")

    async with database.session() as session:
        await seed(session, 10, Wish(tag="demo"))
    async with database.session() as session:
        await seed(session, 10, Wish(tag="demo"))
        undoing = asyncio.create_task(undo())
        await waiting(conninfo)
    assert await undoing == 20
    async with database.session() as session:
        assert await UserRepository(session).count() == 0


async def waiting(conninfo) -> None:
    """Until a session waits for another's lock."""
    query = "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    async with asyncio.timeout(60):
        while not execute(conninfo, query):
            await asyncio.sleep(0.02)


async def test_real_users_that_got_the_ids_of_made_up_ones_are_not_taken_back(users, session, database):
    async with database.session() as other:
        await seed(other, 5, Wish(tag="demo"))
    await session.execute(text("TRUNCATE users RESTART IDENTITY"))
    mine = await users.create(new())
    assert await take_back(session, "demo") == 0
    assert await users.get_by_id(mine.id) == mine


async def test_what_somebody_changed_or_deleted_of_them_meanwhile_does_not_keep_the_rest(users, session):
    first = (await seed(session, 10, Wish(tag="demo"))).first
    everyone = (await users.list()).items
    await users.update(everyone[0].id, UserChanges(username="real", email="real@example.com"))
    await users.delete(everyone[1].id)
    assert await take_back(session, "demo") == 9
    assert (await users.count(), first) == (0, 1)


async def test_a_server_that_goes_away_is_noticed_at_once(database, conninfo):
    rows = 0

    def end_it(done: int) -> None:
        nonlocal rows
        if not rows:
            execute(conninfo, ENDED)
        rows = done

    with pytest.raises(ConnectionLost):
        await seed_in_steps(database, 5_000_000, Wish(), progress=end_it)
    assert rows < 5_000_000
    assert execute(conninfo, "SELECT count(*) FROM users") == [(0,)]


ENDED = (
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
    " WHERE datname = current_database() AND pid <> pg_backend_pid()"
)


async def test_an_empty_table_has_all_its_indexes_again_and_is_searched_by_them(database, statements):
    indexes = text("SELECT indexdef FROM pg_indexes WHERE tablename = 'users' ORDER BY 1")
    async with database.session() as session:
        before = (await session.scalars(indexes)).all()
        await seed(session, 10_000, Wish(tag="many"))
        assert (await session.scalars(indexes)).all() == before
        assert await take_back(session, "many") == 10_000
    assert any(statement.startswith("DROP INDEX") for statement in statements)


async def test_a_table_in_use_is_filled_without_a_lock_on_it(database, statements):
    async with database.session() as other:
        await UserRepository(other).count()
        async with database.session() as session:
            assert (await seed(session, 10_000)).rows == 10_000
    assert not any(statement.startswith("DROP INDEX") for statement in statements)


async def test_a_tag_that_nobody_gave_is_new_even_where_ids_begin_anew(session):
    first = await seed(session, 3)
    await session.execute(text("TRUNCATE users RESTART IDENTITY"))
    again = await seed(session, 3)
    assert (again.first, again.tag) == (first.first, f"{first.tag}-2")


@pytest.mark.parametrize("locale", LOCALES)
def test_the_names_of_every_locale_keep_the_rules(locale):
    for number in range(300):
        username, email, full_name, *_ = row(1, number, NOW, names_of(locale))
        for field, value in (("username", username), ("email", email), ("full_name", full_name or "x")):
            check(field, value)


async def test_a_locale_that_there_is_not_is_invalid(session):
    with pytest.raises(Invalid, match="klingon"):
        await seed(session, 1, Wish(locale="klingon"))


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
