"""The repository's promises, on a real server."""

from __future__ import annotations

import asyncio
from dataclasses import fields
from typing import Any

import pytest
from sqlalchemy import text

from dbctl.errors import AlreadyExists, Conflict, Invalid, NotFound
from dbctl.users.model import Filters, NewUser, User, UserChanges
from dbctl.users.queries import COLUMNS
from dbctl.users.repository import UserRepository
from tests.users.conftest import new


async def test_a_created_user_has_the_defaults_of_the_table(users):
    user = await users.create(new())
    assert (user.username, user.email, user.full_name) == ("ada", "ada@example.com", None)
    assert (user.is_active, user.is_superuser, user.has_password) == (True, False, False)
    assert user.created_at == user.updated_at
    assert user.created_at.tzinfo is not None


def test_columns_stand_in_the_order_of_the_model():
    assert [column.key for column in COLUMNS] == [field.name for field in fields(User)]


@pytest.mark.parametrize("who", ["ada", "ADA", "ada@example.com", "Ada@Example.COM"])
async def test_a_user_is_found_by_each_name_whatever_its_case(users, ada, who):
    assert await users.find(who) == ada
    assert await users.exists(who)


async def test_a_user_is_found_by_id(users, ada):
    assert await users.find(str(ada.id)) == ada
    assert await users.get_by_id(ada.id) == ada
    assert await users.get_by_username("Ada") == ada
    assert await users.get_by_email("ADA@example.com") == ada


@pytest.mark.parametrize(
    "who",
    ["", "bob", "b@example.com", "0", "99999999999999999999999", "²", "%", "ad_", "'; drop table users; --"],
)
async def test_nobody_is_not_found(users, ada, who):
    assert not await users.exists(who)
    with pytest.raises(NotFound):
        await users.find(who)


@pytest.mark.parametrize("user_id", [0, -1, 2**63 - 1, 2**63, 10**30])
async def test_an_id_beyond_bigint_is_nobody(users, user_id):
    for method in (users.get_by_id, users.delete, users.activate, users.deactivate):
        with pytest.raises(NotFound):
            await method(user_id)


@pytest.mark.parametrize(
    ("field", "other"),
    [("username", new("ADA", email="b@example.com")), ("email", new("bob", email="ADA@example.com"))],
)
async def test_a_duplicate_says_its_field_and_the_transaction_goes_on(users, ada, field, other):
    with pytest.raises(AlreadyExists) as caught:
        await users.create(other)
    assert caught.value.field == field
    assert caught.value.__cause__ is None
    assert (await users.create(new("carol"))).username == "carol"
    assert await users.count() == 2


async def test_one_of_ten_creators_of_a_name_wins(database):
    async def create(number: int) -> User:
        async with database.session() as session:
            return await UserRepository(session).create(new("ada", email=f"ada{number}@example.com"))

    outcomes = await asyncio.gather(*(create(number) for number in range(10)), return_exceptions=True)
    losers = [outcome for outcome in outcomes if isinstance(outcome, AlreadyExists)]
    assert len(losers) == 9
    assert {error.field for error in losers} == {"username"}
    async with database.session() as session:
        assert await UserRepository(session).count() == 1


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("username", ""),
        ("username", " ada"),
        ("username", "ada "),
        ("username", "12345"),
        ("username", "a@b"),
        ("username", "a" * 51),
        ("username", "a" * 256),
        ("username", "ada\x00"),
        ("username", "adá"),
        ("username", "ada\n"),
        ("email", "ada"),
        ("email", "ada@"),
        ("email", "@example.com"),
        ("email", "a@b@c"),
        ("email", "ada lovelace@example.com"),
        ("email", "ada@example.com\n"),
        ("email", "a\x00@example.com"),
        ("email", "a" * 244 + "@example.com"),
        ("full_name", ""),
        ("full_name", " "),
        ("full_name", "Ada\u00a0"),
        ("full_name", "Ada\x1b[31m"),
        ("full_name", "Ada\x00"),
        ("full_name", "Ada\ud800"),
        ("full_name", "é" * 256),
        ("username", None),
        ("email", 5),
    ],
)
async def test_a_value_that_breaks_a_rule_is_refused_with_its_field(users, ada, field, value):
    for attempt in (
        users.create(new(**{"username": "bob", field: value})),
        _update(users, ada, {field: value}),
    ):
        with pytest.raises(Invalid) as caught:
            await attempt
        assert caught.value.field == field
        assert caught.value.why
    assert await users.count() == 1


async def _update(users: UserRepository, user: User, changes: dict[str, Any]) -> User:
    return await users.update(user.id, UserChanges(**changes))


@pytest.mark.parametrize(
    "name", ["[/red]", "😀👩‍🚀", "\u202eada", "O'Brien; drop table users", "%_\\", "é" * 255]
)
async def test_a_full_name_may_hold_what_people_write(users, name):
    user = await users.create(new(full_name=name))
    assert (await users.get_by_id(user.id)).full_name == name


async def test_what_the_database_refuses_says_its_field_too(users, session, monkeypatch):
    monkeypatch.setattr("dbctl.users.repository.check", lambda _field, value: value)
    with pytest.raises(Invalid) as caught:
        await users.create(new("not a name", email="ada@example.com"))
    assert caught.value.field == "username"
    assert await users.count() == 0


async def test_an_update_changes_the_given_fields_only(users, ada):
    changed = await users.update(ada.id, UserChanges(email="countess@example.com", full_name=None))
    assert changed == await users.get_by_id(ada.id)
    assert (changed.email, changed.full_name, changed.username) == ("countess@example.com", None, "ada")
    assert changed.updated_at > ada.updated_at
    assert changed.created_at == ada.created_at


async def test_an_update_of_nothing_is_refused(users, ada):
    with pytest.raises(Invalid, match="changes"):
        await users.update(ada.id, UserChanges())


async def test_an_update_may_change_the_case_of_its_own_name(users, ada):
    assert (await users.update(ada.id, UserChanges(username="Ada"))).username == "Ada"


async def test_an_update_to_a_taken_name_says_its_field(users, ada):
    bob = await users.create(new("bob"))
    with pytest.raises(AlreadyExists) as caught:
        await users.update(bob.id, UserChanges(email="ADA@EXAMPLE.COM"))
    assert caught.value.field == "email"
    assert await users.get_by_id(bob.id) == bob


async def test_an_update_of_what_somebody_else_changed_is_a_conflict(users, ada):
    seen = ada.updated_at
    changed = await users.update(ada.id, UserChanges(full_name="Ada King"), unchanged_since=seen)
    with pytest.raises(Conflict, match="changed meanwhile"):
        await users.update(ada.id, UserChanges(full_name="Ada Byron"), unchanged_since=seen)
    assert await users.get_by_id(ada.id) == changed
    with pytest.raises(NotFound):
        await users.update(2**40, UserChanges(full_name="Ada"), unchanged_since=seen)


async def test_one_of_ten_who_saw_the_same_user_changes_it(database):
    async with database.session() as session:
        seen = await UserRepository(session).create(new())

    async def change(number: int) -> User:
        async with database.session() as session:
            return await UserRepository(session).update(
                seen.id, UserChanges(full_name=f"Ada {number}"), unchanged_since=seen.updated_at
            )

    outcomes = await asyncio.gather(*(change(number) for number in range(10)), return_exceptions=True)
    assert sum(isinstance(outcome, Conflict) for outcome in outcomes) == 9
    [winner] = [outcome for outcome in outcomes if isinstance(outcome, User)]
    async with database.session() as session:
        assert await UserRepository(session).get_by_id(seen.id) == winner


async def test_many_users_are_created_in_their_order_by_one_statement(database, statements):
    async with database.session() as session:
        statements.clear()
        wanted = [new(f"u{number}", is_superuser=number == 7) for number in range(500)]
        made = await UserRepository(session).create_many(wanted)
        assert [statement.split()[0] for statement in statements] == ["SAVEPOINT", "INSERT", "RELEASE"]
        assert [user.username for user in made] == [one.username for one in wanted]
        assert [user.id for user in made if user.is_superuser] == [made[7].id]
        assert await UserRepository(session).create_many([]) == ()


@pytest.mark.parametrize(
    ("bad", "error", "field"),
    [
        (new("ADA", email="b@example.com"), AlreadyExists, "username"),
        (new("bob", email="Ada@Example.com"), AlreadyExists, "email"),
        (new("U1", email="b@example.com"), AlreadyExists, "username"),
        (new("no name"), Invalid, "username"),
        (new("bob", password="short"), Invalid, "password"),
    ],
)
async def test_of_many_users_one_bad_one_lets_none_in_and_is_named(users, ada, bad, error, field):
    with pytest.raises(error) as caught:
        await users.create_many([new("u0"), new("u1"), bad])
    assert caught.value.field == field
    assert error is Invalid or getattr(bad, field).lower() in caught.value.message
    assert await users.count() == 1


async def test_an_estimate_is_what_the_server_counted_last(database):
    async with database.session() as session:
        await UserRepository(session).create_many([new(f"u{number}") for number in range(50)])
        assert await UserRepository(session).estimate() in {0, 50}
    async with database.session() as session:
        await session.execute(text("ANALYZE users"))
        assert await UserRepository(session).estimate() == 50


async def test_activation_goes_both_ways(users, ada):
    assert not (await users.deactivate(ada.id)).is_active
    assert (await users.activate(ada.id)).is_active


async def test_a_deleted_user_is_given_back_and_gone(users, ada):
    assert await users.delete(ada.id) == ada
    assert not await users.exists("ada")
    with pytest.raises(NotFound):
        await users.delete(ada.id)


async def test_counts_are_exact_with_every_filter(users):
    for number in range(5):
        await users.create(new(f"u{number}", is_active=number < 3, is_superuser=number == 0))
    assert await users.count() == 5
    assert await users.count(Filters(is_active=False)) == 2
    assert await users.count(Filters(is_active=True, is_superuser=True)) == 1
    assert await users.count(text="U4@e") == 1


async def test_recently_active_are_the_changed_and_active_ones(users, session):
    for name in ("old", "older", "fresh", "gone"):
        await users.create(new(name, is_active=name != "gone"))
    await session.execute(text("ALTER TABLE users DISABLE TRIGGER USER"))
    ages = {"old": 6, "older": 8}
    for name, days in ages.items():
        await session.execute(
            text(
                "UPDATE users SET created_at = now() - :d * interval '1 day', updated_at = now() - :d * interval '1 day' WHERE username = :n"
            ),
            {"d": days, "n": name},
        )
    assert [user.username for user in await users.recently_active(7)] == ["fresh", "old"]
    assert [user.username for user in await users.recently_active(9)] == ["fresh", "old", "older"]
    assert len(await users.recently_active(9, limit=1)) == 1


@pytest.mark.parametrize("days", [0, -1, 10**9])
async def test_days_that_make_no_sense_are_refused(users, days):
    with pytest.raises(Invalid, match="days"):
        await users.recently_active(days)


async def test_an_error_rolls_back_everything_the_session_did(database):
    with pytest.raises(RuntimeError):
        async with database.session() as session:
            await UserRepository(session).create(new())
            raise RuntimeError
    async with database.session() as session:
        assert not await UserRepository(session).exists("ada")


async def test_nothing_is_committed_but_by_the_caller(database):
    async with database.sessions() as session:
        await UserRepository(session).create(new())
    async with database.session() as session:
        assert await UserRepository(session).count() == 0


async def test_no_statement_selects_the_hash_and_each_call_sends_one(database, statements):
    async with database.session() as session:
        users = UserRepository(session)
        ada = await users.create(new())
        statements.clear()
        await users.find("ada")
        await users.list(limit=1_000)
        await users.recently_active(7)
        await users.count()
        await users.estimate()
        assert len(statements) == 5
        await users.search("ada")
        await users.update(ada.id, UserChanges(full_name="Ada"))
        await users.delete(ada.id)
    read = [statement.replace("users.hashed_password != ", "") for statement in statements]
    assert not [statement for statement in read if "hashed_password" in statement]


def test_a_password_never_shows_in_a_repr():
    assert "secret" not in repr(NewUser("ada", "ada@example.com", password="a secret of ours"))
