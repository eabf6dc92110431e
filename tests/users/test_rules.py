"""The rules in Python and the table's CHECKs say the same of every text."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from typing import Any

import psycopg2
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from dbctl.errors import Invalid
from dbctl.users.rules import RULES, check
from tests.fixtures.database import psycopg2_arguments

BLANKS = " \t\n\r\x0b\x0c\x1c\x1f\x85\xa0\u1680\u2000\u200a\u200b\u2028\u2029\u202f\u205f\u3000\ufeff"
POSSIBLE = st.characters(exclude_characters="\x00", exclude_categories=["Cs"])
TEXTS = {
    "username": st.text("aZ09._-@ \u212aé\u0131\n", max_size=6) | st.text(POSSIBLE, max_size=52),
    "email": st.text("aZ9.@-+'%{ é\n", max_size=9) | st.emails() | st.text(POSSIBLE, max_size=12),
    "full_name": st.text(POSSIBLE | st.sampled_from(BLANKS), max_size=5)
    | st.text("aé" + BLANKS, max_size=257),
    "hashed_password": st.text("!$a2-Z é", max_size=8) | st.from_regex(r"\A\$[a-z0-9-]+\$[!-~]+\Z"),
}
OTHERS = {"username": "ada", "email": "ada@example.com", "full_name": None, "hashed_password": "!"}


@pytest.fixture
def cursor(conninfo) -> Iterator[Any]:
    with (
        closing(psycopg2.connect(**psycopg2_arguments(conninfo))) as connection,
        connection.cursor() as opened,
    ):
        yield opened


def database_accepts(cursor: Any, field: str, value: str) -> bool:
    row = {**OTHERS, field: value}
    cursor.execute("SAVEPOINT before")
    try:
        cursor.execute(
            "INSERT INTO users (username, email, full_name, hashed_password)"
            " VALUES (%(username)s, %(email)s, %(full_name)s, %(hashed_password)s)",
            row,
        )
    except (psycopg2.errors.CheckViolation, psycopg2.errors.StringDataRightTruncation):
        return False
    finally:
        cursor.execute("ROLLBACK TO SAVEPOINT before")
    return True


def python_accepts(field: str, value: str) -> bool:
    try:
        check(field, value)
    except Invalid as error:
        return error.field != field
    return True


@pytest.mark.parametrize("field", RULES)
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_python_accepts_exactly_what_the_database_accepts(cursor, field, data):
    value = data.draw(TEXTS[field])
    # varchar(n) cuts blanks beyond n by itself, as the SQL standard wants.
    if len(value.rstrip(" ")) <= RULES[field].max_length < len(value):
        return
    assert python_accepts(field, value) == database_accepts(cursor, field, value)


@pytest.mark.parametrize(
    ("field", "value", "fits"),
    [
        ("username", "a" * 50, True),
        ("username", "a" * 51, False),
        ("username", "4chan", True),
        ("username", "_service", True),
        ("username", "1234", False),
        ("username", "a.", False),
        ("username", "-a", False),
        ("email", "a@localhost", True),
        ("email", "o'neil+tag@xn--bcher-kva.example", True),
        ("email", "a@b..c", False),
        ("email", "a@-b", False),
        ("email", "é@example.com", False),
        ("full_name", "é" * 255, True),
        ("full_name", "\u3000", False),
        ("full_name", "\u200f", True),
        ("full_name", "a\u2028b", True),
        ("hashed_password", "!", True),
        ("hashed_password", "!x", False),
        ("hashed_password", "secret", False),
        ("hashed_password", "$", False),
        ("hashed_password", "$2b$12$abc", True),
    ],
)
def test_the_edges_of_the_rules(cursor, field, value, fits):
    assert python_accepts(field, value) is fits
    assert database_accepts(cursor, field, value) is fits


@example("\ud800")
@example("a\x00")
@given(st.text(st.characters(categories=["Cs"]), min_size=1, max_size=3))
def test_no_text_that_the_driver_chokes_on_gets_through(value):
    for field in RULES:
        assert not python_accepts(field, value)
