"""Passwords: hashed with argon2id, verified, renewed, and refused where they are weak."""

from __future__ import annotations

import asyncio

import pytest
from sqlalchemy import text

from dbctl.errors import Invalid, NotFound
from dbctl.settings import PasswordSettings
from dbctl.users.passwords import Passwords, decoy, generate_password
from dbctl.users.repository import UserRepository
from tests.users.conftest import new

GOOD = "correct horse battery"


# The same hash with little work: what is tested is not argon2.
CHEAP = Passwords(time_cost=1, memory_cost=8, parallelism=1)


@pytest.fixture
def users(session) -> UserRepository:
    decoy.cache_clear()
    return UserRepository(session, CHEAP)


async def test_the_default_is_argon2id_at_full_strength():
    hashed = await Passwords().hash(GOOD)
    assert hashed.startswith("$argon2id$v=19$m=65536,t=3,p=4$")
    assert len(hashed) < 255


async def test_settings_say_what_a_hash_costs_and_how_long_a_password_is():
    strict = Passwords.of(PasswordSettings(min_length=16, time_cost=1, memory_cost=8192, parallelism=2))
    assert (await strict.hash(GOOD)).startswith("$argon2id$v=19$m=8192,t=1,p=2$")
    with pytest.raises(Invalid, match="16 to 1024"):
        strict.check("seven wet owls", username="ada", email="ada@example.com")


async def test_hashing_leaves_the_event_loop_free():
    turns = 0

    async def tick():
        nonlocal turns
        while True:
            await asyncio.sleep(0.001)
            turns += 1

    ticker = asyncio.create_task(tick())
    await Passwords().hash(GOOD)
    ticker.cancel()
    assert turns > 2


@pytest.mark.parametrize(
    "password",
    [
        "short",
        "x" * 11,
        "x" * 1025,
        "ada.lovelace.ada",
        "ADA.Lovelace.ada",
        "with\x00zero byte",
        "\udcff" * 12,
        "password1234",
        "qwertyuiop123",
        "123456789012",
        "aaaaaaaaaaaaaaaa",
    ],
)
def test_a_weak_or_impossible_password_is_refused_and_not_repeated(password):
    with pytest.raises(Invalid) as caught:
        CHEAP.check(password, username="ada.lovelace.ada", email="ada.lovelace@example.com")
    assert caught.value.field == "password"
    assert password not in str(caught.value)


def test_generated_passwords_are_long_plain_and_never_the_same():
    made = {generate_password() for _ in range(200)}
    assert len(made) == 200
    assert all(
        len(one) == 20 and one.isascii() and one.isalnum() and not set(one) & set("0O1lI") for one in made
    )


@pytest.mark.parametrize(
    "hashed", ["!", "", "$2b$12$abcdefghijklmnopqrstuv", "$argon2id$broken", "plain text"]
)
async def test_what_is_no_argon2_hash_verifies_nobody(hashed):
    assert not await CHEAP.verify(hashed, GOOD)


async def test_a_password_signs_in_by_each_name(users):
    user = await users.create(new(password=GOOD))
    assert user.has_password
    for who in ("ada", "ADA", "ada@example.com", str(user.id)):
        assert await users.verify_password(who, GOOD) == user
    assert await users.verify_password("ada", GOOD + " ") is None
    assert await users.verify_password("bob", GOOD) is None


async def test_nobody_signs_in_without_a_password_or_when_inactive(users):
    ada = await users.create(new())
    assert await users.verify_password("ada", "!") is None
    await users.set_password(ada.id, GOOD)
    assert await users.verify_password("ada", GOOD)
    await users.deactivate(ada.id)
    assert await users.verify_password("ada", GOOD) is None


async def test_a_password_can_be_replaced_and_taken_away(users, ada):
    await users.set_password(ada.id, GOOD)
    await users.set_password(ada.id, "another fine password")
    assert await users.verify_password("ada", GOOD) is None
    assert await users.verify_password("ada", "another fine password")
    assert not (await users.set_password(ada.id, None)).has_password
    with pytest.raises(NotFound):
        await users.set_password(2**40, GOOD)


@pytest.mark.parametrize("password", ["short", "", "ada@example.com"])
async def test_a_refused_password_creates_nobody(users, password):
    with pytest.raises(Invalid, match="password"):
        await users.create(new(password=password))
    assert await users.count() == 0


async def test_a_hash_of_weaker_parameters_is_renewed_on_signing_in(users, session):
    await users.create(new(password=GOOD))
    before = await session.scalar(text("SELECT hashed_password FROM users"))
    stronger = UserRepository(session, Passwords(time_cost=2, memory_cost=16, parallelism=1))
    assert await stronger.verify_password("ada", GOOD)
    after = await session.scalar(text("SELECT hashed_password FROM users"))
    assert after != before
    assert ",t=2," in after
    assert await stronger.verify_password("ada", GOOD)


async def test_a_hash_of_stronger_parameters_stays(users):
    strong = Passwords(time_cost=2, memory_cost=16, parallelism=1)
    hashed = await strong.hash(GOOD)
    assert not CHEAP.needs_rehash(hashed)
    assert strong.needs_rehash(await CHEAP.hash(GOOD))
    assert not strong.needs_rehash(hashed)
    assert CHEAP.needs_rehash(hashed.replace("argon2id", "argon2i"))


async def test_a_password_that_is_changed_while_its_hash_is_renewed_is_not_brought_back(
    database, monkeypatch
):
    async with database.session() as session:
        ada = await UserRepository(session, CHEAP).create(new(password=GOOD))
    hashing = Passwords.hash

    async def change_first(self: Passwords, password: str) -> str:
        monkeypatch.setattr(Passwords, "hash", hashing)
        async with database.session() as other:
            await UserRepository(other, CHEAP).set_password(ada.id, "another long password, new")
        return await hashing(self, password)

    monkeypatch.setattr(Passwords, "hash", change_first)
    async with database.session() as session:
        stronger = UserRepository(session, Passwords(time_cost=2, memory_cost=16, parallelism=1))
        assert await stronger.verify_password("ada", GOOD)
    async with database.session() as session:
        users = UserRepository(session, CHEAP)
        assert await users.verify_password("ada", GOOD) is None
        assert await users.verify_password("ada", "another long password, new")


async def test_generated_passwords_pass_the_check():
    CHEAP.check(generate_password(), username="ada", email="ada@example.com")


async def test_where_there_is_no_hash_one_is_checked_all_the_same():
    decoy.cache_clear()
    assert not await CHEAP.verify("!", "correct horse battery")
    assert decoy.cache_info().misses == 1
