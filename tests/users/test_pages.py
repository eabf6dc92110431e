"""Keyset pages: every user once, whatever happens between two pages."""

from __future__ import annotations

import base64

import pytest

from dbctl.errors import Invalid
from dbctl.users.repository import UserRepository
from dbctl.users.seed import seed
from tests.users.conftest import new


async def walk(users: UserRepository, **options) -> list[int]:
    found: list[int] = []
    after = None
    while True:
        page = await users.list(after=after, **options)
        found += [user.id for user in page.items]
        after = page.next_cursor
        if after is None:
            return found


@pytest.mark.parametrize("limit", [1, 7, 50, 100, 101, 1000])
@pytest.mark.parametrize("newest", [False, True])
async def test_pages_cover_every_user_once_in_order(users, session, limit, newest):
    # One transaction, so many share a created_at: the id decides.
    for number in range(20):
        await users.create(new(f"u{number}"))
    await seed(session, 80)
    everyone = list((await users.list(limit=1000)).items)
    key = (lambda user: (user.created_at, user.id)) if newest else (lambda user: user.id)
    expected = [user.id for user in sorted(everyone, key=key, reverse=newest)]
    assert len(expected) == 100
    assert await walk(users, limit=limit, newest=newest) == expected


async def test_a_page_follows_its_cursor_when_rows_come_and_go(users):
    made = [await users.create(new(f"u{number}")) for number in range(4)]
    first = await users.list(limit=2)
    await users.delete(made[1].id)
    late = await users.create(new("late"))
    second = await users.list(limit=10, after=first.next_cursor)
    assert [user.id for user in second.items] == [made[2].id, made[3].id, late.id]


async def test_filters_hold_on_every_page(users):
    for number in range(9):
        await users.create(new(f"u{number}", is_active=number % 3 == 0, is_superuser=number == 3))
    assert len(await walk(users, limit=2, is_active=True)) == 3
    assert len(await walk(users, limit=2, is_active=False)) == 6
    assert len(await walk(users, limit=2, is_active=True, is_superuser=True)) == 1


async def test_an_empty_table_is_one_empty_page(users):
    page = await users.list()
    assert (page.items, page.next_cursor) == ((), None)


def encoded(text: str) -> str:
    return base64.urlsafe_b64encode(text.encode()).decode()


@pytest.mark.parametrize(
    "cursor",
    [
        "",
        "x",
        "é",
        "%%%",
        "a" * 5000,
        encoded("-1"),
        encoded("9" * 30),
        encoded("ada"),
        encoded("1|2"),
        encoded("1|2|3"),
    ],
)
@pytest.mark.parametrize("newest", [False, True])
async def test_a_cursor_of_ones_own_making_is_refused(users, cursor, newest):
    with pytest.raises(Invalid, match="cursor"):
        await users.list(after=cursor, newest=newest)


async def test_a_cursor_of_the_other_order_is_refused(users):
    for number in range(3):
        await users.create(new(f"u{number}"))
    for newest in (False, True):
        cursor = (await users.list(limit=1, newest=newest)).next_cursor
        with pytest.raises(Invalid, match="cursor"):
            await users.list(limit=1, newest=not newest, after=cursor)
