"""The repository beside a model of it in memory: whatever is done, in whatever order, both say the same."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field, replace

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dbctl.errors import AlreadyExists, Conflict, DbctlError, NotFound
from dbctl.users.model import UNSET, NewUser, User, UserChanges
from dbctl.users.repository import UserRepository

NAMES = st.sampled_from(["ada", "ADA", "Bob", "carol", "dave"])
WHO = st.integers(0, 6)
CHANGES = st.builds(
    UserChanges,
    username=st.one_of(st.just(UNSET), NAMES),
    email=st.one_of(st.just(UNSET), NAMES.map("{}@example.com".format)),
    full_name=st.one_of(st.just(UNSET), st.none(), st.sampled_from(["Ada Lovelace", "José"])),
).filter(UserChanges.given)
STEPS = st.one_of(
    st.tuples(
        st.just("create"), st.builds(NewUser, username=NAMES, email=NAMES.map("{}@example.com".format))
    ),
    st.tuples(st.just("update"), WHO, CHANGES, st.booleans()),
    st.tuples(st.just("activate"), WHO),
    st.tuples(st.just("deactivate"), WHO),
    st.tuples(st.just("delete"), WHO),
)


@dataclass
class Model:
    """What should be there: users by id, and of each who is gone the id too."""

    users: dict[int, User] = field(default_factory=dict)
    made: list[int] = field(default_factory=list)

    def id_of(self, number: int) -> int:
        return self.made[number] if number < len(self.made) else 2**40 + number

    def refusal(self, user_id: int | None, values: dict[str, object]) -> type[DbctlError] | None:
        """What a change of these values must raise."""
        others = [user for user in self.users.values() if user.id != user_id]
        for name in ("username", "email"):
            if name in values and str(values[name]).lower() in {
                getattr(user, name).lower() for user in others
            }:
                return AlreadyExists
        return None


async def _tried(step):
    try:
        return await step
    except DbctlError as error:
        return type(error)


async def _take(users, model, step):
    """Do the step on both, and compare what they say."""
    if step[0] == "create":
        values = {"username": step[1].username, "email": step[1].email}
        made = await _tried(users.create(step[1]))
        expected = model.refusal(None, values)
        if expected:
            assert made is expected
            return
        assert (made.username, made.email) == (step[1].username, step[1].email)
        model.users[made.id] = made
        model.made.append(made.id)
        return
    user_id = model.id_of(step[1])
    known = model.users.get(user_id)
    if step[0] == "delete":
        assert await _tried(users.delete(user_id)) == (known or NotFound)
        model.users.pop(user_id, None)
        return
    if step[0] == "update":
        changes, stale = step[2].given(), step[3]
        since = known.created_at.replace(year=2000) if known and stale else known and known.updated_at
        changed = await _tried(users.update(user_id, step[2], unchanged_since=since))
        refused = NotFound if known is None else Conflict if stale else model.refusal(user_id, changes)
    else:
        changes = {"is_active": step[0] == "activate"}
        changed = await _tried(getattr(users, step[0])(user_id))
        refused = NotFound if known is None else None
    if refused:
        assert changed is refused
        return
    assert changed.updated_at >= known.updated_at
    assert replace(changed, updated_at=known.updated_at) == replace(known, **changes)
    model.users[user_id] = changed


async def _agree(users: UserRepository, model: Model) -> None:
    assert list((await users.list()).items) == [model.users[user_id] for user_id in sorted(model.users)]
    assert await users.count() == len(model.users)
    for user in model.users.values():
        assert await users.get_by_username(user.username.swapcase()) == user
        assert await users.get_by_email(user.email.upper()) == user


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=st.lists(STEPS, max_size=12))
async def test_whatever_is_done_the_repository_and_the_model_say_the_same(users, session, steps):
    model = Model()
    savepoint = await session.begin_nested()
    for step in steps:
        await _take(users, model, step)
    await _agree(users, model)
    await savepoint.rollback()


async def _change(users, step):
    """Do the step with one of the users that are there."""
    if step[0] == "create":
        return await users.create(step[1])
    ids = [user.id for user in (await users.list()).items] or [2**40]
    return await getattr(users, step[0])(ids[step[1] % len(ids)], *step[2:3])


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(writers=st.lists(st.lists(STEPS, min_size=1, max_size=5), min_size=2, max_size=4))
async def test_writers_at_once_break_no_rule_and_lose_no_change(database, writers):
    """Each commits step by step; afterwards every change that was not refused is there, the last one of a user at the end."""
    done: list[tuple[str, User]] = []

    async def write(steps) -> None:
        for step in steps:
            async with database.session() as session:
                outcome = await _tried(_change(UserRepository(session), step))
            if isinstance(outcome, User):
                done.append((step[0], outcome))
            else:
                assert outcome in {AlreadyExists, NotFound}

    await asyncio.gather(*(write(steps) for steps in writers))
    deleted = {user.id for kind, user in done if kind == "delete"}
    last: dict[int, User] = {}
    for _, user in done:
        if user.id not in last or user.updated_at >= last[user.id].updated_at:
            last[user.id] = user
    async with database.session() as session:
        users = UserRepository(session)
        there = (await users.list()).items
        assert {user.id for user in there} == set(last) - deleted
        assert len({user.username.lower() for user in there}) == len(there)
        assert all(user == last[user.id] for user in there)
        for user in there:
            await users.delete(user.id)
