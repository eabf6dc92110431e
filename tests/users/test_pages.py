"""Keyset pages: every user once, whatever happens between two pages."""

from __future__ import annotations

import base64
from datetime import UTC, datetime

import pytest

from dbctl.errors import Invalid
from dbctl.users.cursors import write_cursor
from dbctl.users.model import Filters
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


KEYS = {
    "id": lambda user: user.id,
    "username": lambda user: user.username.lower(),
    "created_at": lambda user: (user.created_at, user.id),
}


@pytest.mark.parametrize("limit", [1, 7, 100, 101])
@pytest.mark.parametrize("order", KEYS)
@pytest.mark.parametrize("descending", [False, True])
async def test_pages_cover_every_user_once_in_order(users, session, limit, order, descending):
    # One transaction, so many share a created_at: the id decides.
    for number in range(20):
        await users.create(new(f"U{number}" if number % 2 else f"u{number}"))
    await seed(session, 80)
    everyone = list((await users.list(limit=1000)).items)
    expected = [user.id for user in sorted(everyone, key=KEYS[order], reverse=descending)]
    assert len(expected) == 100
    assert await walk(users, limit=limit, order=order, descending=descending) == expected
    skipped = await users.list(limit=10, order=order, descending=descending, skip=90)
    assert ([user.id for user in skipped.items], skipped.next_cursor) == (expected[90:], None)


async def test_a_page_follows_its_cursor_when_rows_come_and_go(users):
    made = [await users.create(new(f"u{number}")) for number in range(4)]
    first = await users.list(limit=2)
    await users.delete(made[1].id)
    late = await users.create(new("late"))
    second = await users.list(limit=10, after=first.next_cursor)
    assert [user.id for user in second.items] == [made[2].id, made[3].id, late.id]


@pytest.mark.parametrize(
    ("only", "count"),
    [
        (Filters(is_active=True), 3),
        (Filters(is_active=False), 6),
        (Filters(is_active=True, is_superuser=True), 1),
        (Filters(email_domain="EXAMPLE.com"), 8),
        (Filters(email_domain="@example.com"), 8),
        (Filters(email_domain="xample.com"), 0),
        (Filters(email_domain="%"), 0),
        (Filters(created_since=datetime(2000, 1, 1, tzinfo=UTC)), 9),
        (Filters(created_since=datetime(3000, 1, 1, tzinfo=UTC)), 0),
    ],
)
async def test_filters_hold_on_every_page(users, only, count):
    for number in range(9):
        host = "other.example" if number == 5 else "example.com"
        await users.create(
            new(f"u{number}", email=f"u{number}@{host}", is_active=number % 3 == 0, is_superuser=number == 3)
        )
    assert len(await walk(users, only=only, limit=2)) == count
    assert await users.count(only) == count


async def test_an_empty_table_is_one_empty_page(users):
    page = await users.list()
    assert (page.items, page.next_cursor) == ((), None)


@pytest.fixture
async def cursors(users) -> dict[tuple[str, bool], str]:
    """Of each listing, the cursor behind its first user."""
    for number in range(3):
        await users.create(new(f"u{number}"))
    return {
        (order, descending): (await users.list(limit=1, order=order, descending=descending)).next_cursor
        for order in KEYS
        for descending in (False, True)
    }


async def test_a_cursor_of_another_listing_is_refused(users, cursors):
    for order, descending in cursors:
        for other, cursor in cursors.items():
            if other != (order, descending):
                with pytest.raises(Invalid, match="cursor"):
                    await users.list(limit=1, order=order, descending=descending, after=cursor)
    with pytest.raises(Invalid, match="cursor"):
        await users.search("u1", after=cursors["id", False])


async def test_a_cursor_that_was_changed_is_refused(users, cursors):
    cursor = cursors["id", False]
    for place in range(len(cursor)):
        letter = "A" if cursor[place] != "A" else "B"
        changed = cursor[:place] + letter + cursor[place + 1 :]
        # The last letter has bits that say nothing.
        if base64.urlsafe_b64decode(changed + "==") != base64.urlsafe_b64decode(cursor + "=="):
            with pytest.raises(Invalid, match="cursor"):
                await users.list(after=changed)


@pytest.mark.parametrize("cursor", ["", "x", "é", "%%%", "a" * 5000, "\ud800", "MTAw"])
@pytest.mark.parametrize("order", KEYS)
async def test_a_cursor_of_ones_own_making_is_refused(users, cursor, order):
    with pytest.raises(Invalid, match="cursor"):
        await users.list(after=cursor, order=order)


@pytest.mark.parametrize(
    "place",
    [
        [],
        ["x"],
        [2**63],
        [True],
        ["a\x00"],
        ["\udcff"],
        ["x", 1],
        ["2026-01-01", 2**63],
        ["0001-01-01", "x"],
        [1, "x"],
        {"a": 1},
        7,
    ],
)
@pytest.mark.parametrize("order", KEYS)
async def test_a_cursor_that_somebody_made_with_its_mark_is_refused_unless_it_is_a_place(users, place, order):
    if order != "username" or place != ["x"]:
        with pytest.raises(Invalid, match="cursor"):
            await users.list(order=order, after=write_cursor(f"{order} up", place))
    with pytest.raises(Invalid, match="cursor"):
        await users.search("ada", after=write_cursor("search ada", place))


async def test_a_cursor_of_another_long_text_is_refused(users):
    for number in range(3):
        await users.create(new(f"u{number}", full_name="x" * 200))
    page = await users.search("x" * 100, limit=1)
    assert len((await users.search("x" * 100, after=page.next_cursor)).items) == 2
    with pytest.raises(Invalid, match="cursor"):
        await users.search("x" * 99, after=page.next_cursor)


@pytest.mark.parametrize("skip", [-1, 10**9])
async def test_a_skip_that_makes_no_sense_is_refused(users, skip):
    with pytest.raises(Invalid, match="skip"):
        await users.list(skip=skip)
