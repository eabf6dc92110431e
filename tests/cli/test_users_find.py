"""`dbctl users list`, `search`, `count`, `deactivate`: filters, fields, pages, and many at once."""

from __future__ import annotations

import csv
import io
import time

import pytest

from tests.fixtures.database import execute


@pytest.fixture
def people(dbctl, conninfo):
    """Five users: a superuser, an inactive one, one at another host, one of long ago, one with an accent."""
    execute(
        conninfo,
        "ALTER TABLE users DISABLE TRIGGER USER",
        "INSERT INTO users (username, email, full_name, is_active, is_superuser, created_at, updated_at) VALUES"
        " ('root', 'root@example.com', NULL, true, true, '2020-01-01Z', '2020-01-01Z'),"
        " ('ada', 'ada@example.com', 'Ada Lovelace', false, false, '2021-01-01Z', '2021-01-01Z'),"
        " ('jose', 'jose@other.example', 'José Núñez', true, false, '2022-01-01Z', '2022-01-01Z'),"
        " ('adam', 'adam@example.com', 'Adam', true, false, '2023-01-01Z', '2023-01-01Z'),"
        " ('canada', 'canada@example.com', NULL, true, false, now(), now())",
        "ALTER TABLE users ENABLE TRIGGER USER",
    )
    return dbctl


def names(result) -> list[str]:
    assert result.code == 0, result.stderr
    return [user["username"] for user in result.json()]


@pytest.mark.parametrize(
    ("options", "found"),
    [
        ("--superuser", ["root"]),
        ("--inactive", ["ada"]),
        ("--email-domain other.example", ["jose"]),
        ("--created-since 2022-06-01", ["adam", "canada"]),
        ("--created-since 2022-06-01T00:00Z --no-superuser", ["adam", "canada"]),
        ("--created-since 7d", ["canada"]),
        ("--order username", ["ada", "adam", "canada", "jose", "root"]),
        ("--order created_at --desc --limit 2", ["canada", "adam"]),
        ("--skip 3", ["adam", "canada"]),
    ],
)
def test_a_list_is_filtered_sorted_and_skipped_as_asked(people, options, found):
    assert names(people("users", "list", *options.split(), "--format", "json")) == found


def test_a_search_goes_on_behind_its_cursor_with_its_filters(people):
    assert names(people("users", "search", "ada", "--format", "json")) == ["ada", "adam", "canada"]
    first = people("users", "search", "ada", "--active", "--limit", "1", "--format", "json")
    assert names(first) == ["adam"]
    cursor = first.stderr.rpartition(" ")[2].strip()
    second = people("users", "search", "ada", "--active", "--after", cursor, "--format", "json")
    assert (names(second), second.stderr) == (["canada"], "")
    of_another = people("users", "search", "adam", "--after", cursor)
    assert (of_another.code, "cursor is not valid" in of_another.stderr) == (2, True)


def test_a_search_asks_for_no_accents_and_forgives_a_mistake(people):
    for text in ("nunez", "NÚÑEZ", "jose n", "nunes jose"):
        assert names(people("users", "search", text, "--format", "json")) == ["jose"]


def test_the_fields_asked_for_are_shown_alone_and_in_their_order(people):
    listed = people("users", "list", "--fields", "email,id", "--limit", "1", "--format", "json")
    assert [list(user) for user in listed.json()] == [["email", "id"]]
    rows = list(
        csv.reader(
            io.StringIO(
                people("users", "search", "ada", "--fields", "username,full_name", "--format", "csv").stdout
            )
        )
    )
    assert rows == [["username", "full_name"], ["ada", "Ada Lovelace"], ["adam", "Adam"], ["canada", ""]]
    assert people("users", "get", "ada", "--fields", "is_active,username").stdout.split() == [
        "is_active", "username", "no", "ada",
    ]  # fmt: skip
    assert people("users", "get", "ada", "--fields", "email", "--format", "json").json() == {
        "email": "ada@example.com"
    }
    wrong = people("users", "list", "--fields", "email,hashed_password")
    assert (wrong.code, "there is no 'hashed_password'" in wrong.stderr) == (2, True)


def test_times_are_local_for_people_and_utc_for_programs(people, monkeypatch):
    monkeypatch.setenv("TZ", "Asia/Kolkata")
    time.tzset()
    try:
        assert "2021-01-01 05:30 IST" in people("users", "get", "ada").stdout
        assert (
            people("users", "get", "ada", "--format", "json").json()["created_at"] == "2021-01-01T00:00:00Z"
        )
        assert names(people("users", "list", "--created-since", "2023-01-01T05:31", "--format", "json")) == [
            "canada"
        ]
    finally:
        monkeypatch.undo()
        time.tzset()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ("list --created-since yesterday", "'yesterday' is no date"),
        ("list --after nonsense", "cursor is not valid"),
        ("list --fields id,email,id", "one is given twice"),
        ("export --fields id,email,id", "one is given twice"),
        ("count --estimate --active", "--estimate knows of all users only"),
        ("deactivate", "give either a user, or --inactive-for"),
        ("deactivate ada --inactive-for 365d", "give either a user, or --inactive-for"),
        ("deactivate ada --dry-run", "give either a user, or --inactive-for"),
        ("deactivate --inactive-for often", "inactive-for is not valid"),
    ],
)
def test_what_makes_no_sense_is_said(people, arguments, said):
    result = people("users", *arguments.split())
    assert (result.code, said in result.stderr) == (2, True), result.stderr


def test_counts_are_exact_or_what_the_server_knows(people, conninfo):
    assert people("users", "count", "--text", "ada", "--active").stdout == "2\n"
    assert people("users", "count", "--email-domain", "example.com").stdout == "4\n"
    execute(conninfo, "ANALYZE users")
    assert people("users", "count", "--estimate").stdout == "5\n"


def test_all_that_have_not_changed_for_long_are_deactivated_once_confirmed(people):
    arguments = ("users", "deactivate", "--inactive-for", "365d")
    tried = people(*arguments, "--dry-run", "--format", "json")
    assert (tried.json()["users"], tried.json()["dry_run"]) == (2, True)
    unasked = people(*arguments)
    assert (unasked.code, "--yes" in unasked.stderr) == (3, True)
    assert people("users", "count", "--active").stdout == "4\n"
    assert people(*arguments, "--yes", "--format", "json").json()["users"] == 2
    assert names(people("users", "list", "--active", "--format", "json")) == ["root", "canada"]
    assert people(*arguments, "--yes", "--format", "json").json()["users"] == 0
