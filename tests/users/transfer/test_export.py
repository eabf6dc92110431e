"""An export: streamed, harmless, and the same users again when it is imported."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import insert, text

from dbctl.errors import Invalid
from dbctl.users.orm import UserRow
from dbctl.users.rules import check
from dbctl.users.transfer.export import Export, checked_fields
from tests.users.conftest import statements  # noqa: F401 - a fixture

ALL = (
    "username",
    "email",
    "full_name",
    "is_active",
    "is_superuser",
    "created_at",
    "updated_at",
    "hashed_password",
)


def keeps_its_rule(name: str) -> bool:
    try:
        check("full_name", name)
    except Invalid:
        return False
    return True


times = st.datetimes(datetime(1900, 1, 1), datetime(2200, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001
people = st.lists(
    st.fixed_dictionaries(
        {
            "username": st.from_regex(r"[A-Za-z][A-Za-z0-9._-]{0,20}[a-z0-9]", fullmatch=True),
            "full_name": st.none() | st.text(min_size=1, max_size=60).filter(keeps_its_rule),
            "is_active": st.booleans(),
            "is_superuser": st.booleans(),
            "hashed_password": st.sampled_from(["!", "$argon2id$v=19$m=65536,t=3,p=4$c2FsdA$aGFzaA"]),
            "times": st.tuples(times, times).map(sorted),
        }
    ),
    max_size=6,
    unique_by=lambda one: str(one["username"]).lower(),
)


@pytest.mark.parametrize("format_", ["csv", "ndjson"])
@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(made=people)
async def test_export_and_import_give_the_same_users(transfer, format_, made):
    async with transfer.database.session() as session:
        await session.execute(text("TRUNCATE users"))
        for one in made:
            created, updated = one["times"]
            values = {name: value for name, value in one.items() if name != "times"}
            values |= {
                "email": f"{one['username']}@example.com",
                "created_at": created,
                "updated_at": updated,
            }
            await session.execute(insert(UserRow).values(values))
    before = await transfer.give(*ALL, format_=format_)
    async with transfer.database.session() as session:
        await session.execute(text("TRUNCATE users"))
    if made:
        await transfer.take(before, format_=format_)
        assert transfer.rejected == []
    assert await transfer.give(*ALL, format_=format_) == before


async def test_the_hash_is_not_in_it_unless_it_is_asked_for(transfer):
    with pytest.raises(Invalid, match="secret"):
        checked_fields(["hashed_password"], with_hashes=False)
    assert "hashed_password" not in checked_fields([], with_hashes=False)
    assert "hashed_password" in checked_fields([], with_hashes=True)


def test_a_field_that_there_is_not_is_invalid():
    with pytest.raises(Invalid, match="shoe"):
        checked_fields(["shoe"], with_hashes=False)


async def test_it_is_one_statement_whatever_the_number_of_rows(transfer, statements):  # noqa: F811
    rows = "".join(f"user{i},user{i}@example.com\n" for i in range(5_000))
    await transfer.take("username,email\n" + rows)
    statements.clear()
    written = await transfer.give("id", format_="ndjson")
    assert len([one for one in statements if "FROM users" in one]) == 1
    assert [json.loads(line)["id"] for line in written.splitlines()] == sorted(
        json.loads(line)["id"] for line in written.splitlines()
    )
    assert written.count("\n") == 5_000


async def test_it_goes_on_in_another_session_behind_the_last_row(transfer):
    import io

    await transfer.take("username,email\n" + "".join(f"user{i},user{i}@example.com\n" for i in range(10)))
    whole = await transfer.give("username")
    stream = io.StringIO()
    async with transfer.database.session() as session:
        middle = (
            await session.execute(text("SELECT id FROM users ORDER BY id OFFSET 4 LIMIT 1"))
        ).scalar_one()
        export = Export(("username",), last_id=middle)
        await export.write(session, stream, "csv")
    assert whole.endswith(stream.getvalue())
    assert stream.getvalue().count("\n") == 5
