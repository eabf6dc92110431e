"""Search: literal, the best first, from the index, equal to a naive scan."""

from __future__ import annotations

import re
import unicodedata

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dbctl.errors import Invalid
from dbctl.users.matching import read_wanted
from dbctl.users.model import Filters, NewUser, User
from dbctl.users.repository import UserRepository
from dbctl.users.search import far_hits, similar, some_hits
from dbctl.users.seed import seed
from tests.users.conftest import new


async def test_a_text_is_found_in_each_column_whatever_its_case(users):
    by_name = await users.create(new("lovelace", email="a@example.com"))
    by_email = await users.create(new("b", email="LOVELACE@example.com"))
    by_full_name = await users.create(new("c", full_name="Ada Lovelace"))
    await users.create(new("d"))
    assert {user.id for user in await found(users, "loveLACE")} == {by_name.id, by_email.id, by_full_name.id}


async def test_equal_comes_first_then_the_beginning_then_a_word_then_the_rest(users):
    names = ["nevada", "adamant", "grace.ada", "ada", "canada", "adage"]
    for name in names:
        await users.create(new(name, email=f"x{names.index(name)}@example.com"))
    best_first = ["ada", "adamant", "adage", "grace.ada", "nevada", "canada"]
    assert [user.username for user in await found(users, "ADA")] == best_first
    for limit in range(1, 7):
        assert [user.username for user in await walk(users, "ADA", limit)] == best_first


@pytest.mark.parametrize("wanted", ["jose nunez", "José", "NÚÑEZ", "strasse", "Straße", "lodz", "Ｊｏｓé"])
async def test_accents_are_not_asked_for(users, wanted):
    await users.create(new("jose", full_name="José Núñez"))
    await users.create(new("other", full_name="Straße von Łódź"))
    assert len(await found(users, wanted)) == 1


async def test_one_or_two_characters_are_found_at_the_beginning(users):
    for name in ("ada", "nada", "ad", "bad"):
        await users.create(new(name, email=f"x-{name}@example.com"))
    assert [user.username for user in await found(users, "a")] == ["ada", "ad"]
    assert [user.username for user in await found(users, "AD")] == ["ad", "ada"]


async def test_a_name_that_is_spelled_wrong_finds_those_like_it(users):
    for name, full_name in [("ada", "Ada Lovelace"), ("grace", "Grace Hopper"), ("alan", "Alan Turing")]:
        await users.create(new(name, full_name=full_name))
    assert [user.username for user in await found(users, "lovelase")] == ["ada"]
    assert [user.username for user in await found(users, "grase hoper")] == ["grace"]
    assert await found(users, "zzzzzz") == ()
    assert await found(users, "lovelase", Filters(is_superuser=True)) == ()


async def test_filters_hold_in_a_search_and_on_each_of_its_pages(users):
    for number in range(12):
        await users.create(new(f"ada{number}", is_active=number % 3 == 0))
    assert len(await found(users, "ada", Filters(is_active=True))) == 4
    walked = await walk(users, "ada", 1, Filters(is_active=True))
    assert [user.username for user in walked] == ["ada0", "ada3", "ada6", "ada9"]
    assert await users.count(Filters(is_active=False), text="ada") == 8


@pytest.mark.parametrize(
    ("wanted", "names"),
    [
        ("100% a", ["percent"]),
        ("a_b", ["under"]),
        ("a\\b", ["slash"]),
        ("a_", ["under"]),
        ("'; drop", ["bobby"]),
        ("%", []),
        ("_", []),
        ("%%%", []),
        ("100%%", []),
        ("rob%", []),
        ("\uff08\uff08\uff08", []),
    ],
)
async def test_special_characters_mean_themselves(users, wanted, names, monkeypatch):
    # Those that are merely alike are another promise.
    monkeypatch.setattr("dbctl.users.search._SHORTEST_SIMILAR", 1000)
    for name, full_name in [
        ("percent", "100% Ada"),
        ("under", "a_b"),
        ("slash", "a\\b"),
        ("bobby", "Robert'; DROP TABLE users; --"),
    ]:
        await users.create(new(name, full_name=full_name))
    assert [user.username for user in await found(users, wanted)] == names
    assert await users.count(text=wanted) == len(names)
    assert await users.count() == 4


@pytest.mark.parametrize("wanted", ["", "  ", "a\x00b", "\udcff", "\u0301"])
async def test_a_text_that_can_match_nothing_is_refused(users, wanted):
    with pytest.raises(Invalid, match="search text"):
        await users.search(wanted)


@pytest.mark.parametrize("limit", [0, -1, 10_001])
async def test_a_limit_that_makes_no_sense_is_refused(users, limit):
    with pytest.raises(Invalid, match="limit"):
        await users.search("ada", limit=limit)


async def test_a_long_text_finds_nobody(users, ada):
    assert await found(users, "a" * 10_000) == ()


def plain(text: str) -> str:
    """As the database makes a full name plain, for the letters that the property below draws."""
    return "".join(
        one for one in unicodedata.normalize("NFKD", text) if not unicodedata.combining(one)
    ).lower()


FEW = 5


def naive(users: list[User], wanted: str) -> list[int]:
    """The ids of all hits; of more than a few, a word counts as little as any part of a name."""
    key = plain(wanted)
    word = re.compile(rf"(^|[ .,@_'+/()-]){re.escape(key)}")

    def tier(user: User) -> int:
        values = [user.username.lower(), user.email.lower(), plain(user.full_name or "")]
        if key in values:
            return 0
        if any(value.startswith(key) for value in values):
            return 1
        if not re.search("[a-zé0-9]{3}", wanted):
            return 4
        if wanted[0].isalnum() and any(word.search(value) for value in values):
            return 2
        return 3 if any(key in value for value in values) else 4

    hits = [(tier(user), user.id) for user in users if tier(user) < 4]
    words = 2 if len(hits) <= FEW else 3
    return [
        user_id for _, user_id in sorted((words if rank == 2 else rank, user_id) for rank, user_id in hits)
    ]


async def found(users: UserRepository, text: str, only: Filters | None = None) -> tuple[User, ...]:
    return (await users.search(text, only)).items


async def walk(users: UserRepository, text: str, limit: int, only: Filters | None = None) -> list[User]:
    """All pages of a search."""
    walked: list[User] = []
    after = None
    while True:
        page = await users.search(text, only, limit=limit, after=after)
        walked += page.items
        after = page.next_cursor
        if after is None:
            return walked


@pytest.fixture
async def some_users(users: UserRepository, session, monkeypatch) -> list[User]:
    # A window smaller than the table: both scans have their turn.
    monkeypatch.setattr("dbctl.users.search._WINDOWS", (10, 30))
    monkeypatch.setattr("dbctl.users.search._FEW_HITS", FEW)
    # Those that are merely alike are another promise.
    monkeypatch.setattr("dbctl.users.search._SHORTEST_SIMILAR", 1000)
    await seed(session, 150)
    for name in ("ab", "abab", "a_b", "bab", "b.a"):
        await users.create(NewUser(name, f"{name}@a.example", full_name=f"{name} %_b\\ a"))
    return list((await users.list(limit=1000)).items)


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    wanted=st.text("ab%_\\. @'mné", min_size=1, max_size=5).filter(str.strip),
    limit=st.sampled_from([1, 3, 20, 500]),
)
async def test_search_agrees_with_a_naive_scan(users, some_users, wanted, limit):
    expected = naive(some_users, wanted)
    assert [user.id for user in (await users.search(wanted, limit=limit)).items] == expected[:limit]
    assert await users.count(text=wanted) == len(expected)
    if len(expected) <= 10 * limit:
        assert [user.id for user in await walk(users, wanted, limit)] == expected


SHAPES = {
    "a rare word": ("needle", Filters(), "Bitmap Index Scan on ix_users_search"),
    "three letters": ("zqn", Filters(), "Bitmap Index Scan on ix_users_search"),
    "an email": ("zq.needle@example.com", Filters(), "Bitmap Index Scan on ix_users_search"),
    "a word with signs": ("q.nee", Filters(), "Bitmap Index Scan on ix_users_search"),
    "with an accent": ("nééd", Filters(), "Bitmap Index Scan on ix_users_search"),
    "with a filter": ("needle", Filters(is_active=True), "Bitmap Index Scan on ix_users_search"),
    "at a host": ("needle", Filters(email_domain="example.com"), "Bitmap Index Scan on ix_users_search"),
    "two letters": ("zq", Filters(), "Index Scan on uq_users_username"),
    "one letter": ("z", Filters(), "Index Scan on ix_users_plain_name"),
}


async def test_every_shape_of_search_is_answered_from_an_index_of_a_large_table(database):
    async with database.session() as session:
        await seed(session, 20_000)
        await UserRepository(session).create(new("zq.needle", full_name="Zqneedle"))
    async with database.engine.connect() as connection:
        await connection.execution_options(isolation_level="AUTOCOMMIT")
        await connection.exec_driver_sql("VACUUM ANALYZE users")
    async with database.session() as session:
        for text, only, _ in SHAPES.values():
            page = await UserRepository(session).search(text, only, limit=1_000)
            assert "zq.needle" in {user.username for user in page.items}
        for shape, (text, only, index) in SHAPES.items():
            wanted = await read_wanted(session, text)
            ways = [some_hits(wanted, only)] if wanted.is_within else []
            ways += [far_hits(tier, wanted, only, 0, limit=20) for tier in range(wanted.tiers)]
            plans = [await explain(session, way) for way in ways]
            assert index in "\n".join(plans), (shape, plans)
            assert "Seq Scan on users" not in "\n".join(plans), (shape, plans)
        alike = similar(await read_wanted(session, "lovelasse"), Filters(), limit=20)
        assert "Bitmap Index Scan on ix_users_search" in await explain(session, alike)


async def explain(session, statement) -> str:
    sql = statement.compile(dialect=session.bind.dialect, compile_kwargs={"literal_binds": True})
    connection = await session.connection()
    return "\n".join((await connection.exec_driver_sql(f"EXPLAIN {sql}")).scalars())
