"""Search: literal, the best first, from the index, equal to a naive scan."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dbctl.errors import Invalid
from dbctl.users.model import NewUser, User
from dbctl.users.queries import search
from dbctl.users.repository import UserRepository
from dbctl.users.seed import seed
from tests.users.conftest import new


async def test_a_text_is_found_in_each_column_whatever_its_case(users):
    by_name = await users.create(new("lovelace", email="a@example.com"))
    by_email = await users.create(new("b", email="LOVELACE@example.com"))
    by_full_name = await users.create(new("c", full_name="Ada Lovelace"))
    await users.create(new("d"))
    assert {user.id for user in await users.search("loveLACE")} == {by_name.id, by_email.id, by_full_name.id}


async def test_equal_comes_first_then_the_beginning_then_the_rest(users):
    names = ["nevada", "adamant", "ada", "canada", "adage"]
    for name in names:
        await users.create(new(name, email=f"x{names.index(name)}@example.com"))
    assert [user.username for user in await users.search("ADA")] == [
        "ada",
        "adamant",
        "adage",
        "nevada",
        "canada",
    ]
    assert [user.username for user in await users.search("ADA", limit=2)] == ["ada", "adamant"]


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        ("%", ["percent"]),
        ("_", ["under"]),
        ("\\", ["slash"]),
        ("100%", ["percent"]),
        ("'; drop", ["bobby"]),
        ("%%", []),
    ],
)
async def test_special_characters_mean_themselves(users, wanted, found):
    for name, full_name in [
        ("percent", "100% Ada"),
        ("under", "a_b"),
        ("slash", "a\\b"),
        ("bobby", "Robert'; DROP TABLE users; --"),
    ]:
        await users.create(new(name, full_name=full_name))
    assert [user.username for user in await users.search(wanted)] == found
    assert await users.count(text=wanted) == len(found)
    assert await users.count() == 4


@pytest.mark.parametrize("wanted", ["", "  ", "a\x00b", "\udcff"])
async def test_a_text_that_can_match_nothing_is_refused(users, wanted):
    with pytest.raises(Invalid, match="search text"):
        await users.search(wanted)


@pytest.mark.parametrize("limit", [0, -1, 10_001])
async def test_a_limit_that_makes_no_sense_is_refused(users, limit):
    with pytest.raises(Invalid, match="limit"):
        await users.search("ada", limit=limit)


async def test_a_long_text_finds_nobody(users, ada):
    assert await users.search("a" * 10_000) == ()


def naive(users: list[User], wanted: str, limit: int) -> list[int]:
    def tier(user: User) -> int:
        values = [value.lower() for value in (user.username, user.email, user.full_name) if value]
        key = wanted.lower()
        if key in values:
            return 0
        if any(value.startswith(key) for value in values):
            return 1
        return 2 if any(key in value for value in values) else 3

    ranked = sorted((tier(user), user.id) for user in users)
    return [user_id for rank, user_id in ranked if rank < 3][:limit]


@pytest.fixture
async def some_users(users: UserRepository, session, monkeypatch) -> list[User]:
    # A window smaller than the table: both scans have their turn.
    monkeypatch.setattr("dbctl.users.queries._WINDOW_ROWS", 30)
    await seed(session, 150)
    for name in ("ab", "abab", "a_b", "bab", "b.a"):
        await users.create(NewUser(name, f"{name}@a.example", full_name=f"{name} %_b\\ a"))
    return list((await users.list(limit=1000)).items)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    wanted=st.text("ab%_\\. @'mn", min_size=1, max_size=4).filter(str.strip),
    limit=st.sampled_from([1, 3, 20, 500]),
)
async def test_search_agrees_with_a_naive_scan(users, some_users, wanted, limit):
    found = [user.id for user in await users.search(wanted, limit=limit)]
    assert found == naive(some_users, wanted, limit)
    assert await users.count(text=wanted) == len(naive(some_users, wanted, 1000))


async def test_a_rare_text_is_found_through_the_trigram_index_of_a_large_table(database):
    async with database.session() as session:
        await seed(session, 20_000)
        await UserRepository(session).create(new("zq.needle", full_name="Zqneedle"))
    async with database.session() as session:
        assert [user.username for user in await UserRepository(session).search("needle")] == ["zq.needle"]
        plan = await explain(session, search("needle", 20))
    assert "Bitmap Index Scan on ix_users_search" in plan
    assert "Seq Scan on users" not in plan


async def explain(session, statement) -> str:
    sql = statement.compile(dialect=session.bind.dialect, compile_kwargs={"literal_binds": True})
    connection = await session.connection()
    return "\n".join((await connection.exec_driver_sql(f"EXPLAIN {sql}")).scalars())
