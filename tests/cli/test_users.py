"""`dbctl users` as a person and as a program run it."""

from __future__ import annotations

import csv
import fcntl
import io
import os
import pty
import termios

import pytest

PASSWORD = "correct horse battery"


@pytest.fixture
def made(dbctl):
    """A user ada, made through the command line."""
    result = dbctl(
        "users",
        "create",
        "ada",
        "ada@example.com",
        "--full-name",
        "Ada Lovelace",
        "--no-password",
        "--format",
        "json",
    )
    assert result.code == 0, result.stderr
    return result.json()


def test_a_user_is_created_shown_changed_and_deleted(dbctl, made):
    assert made["username"] == "ada"
    assert made["has_password"] is False
    assert made["generated_password"] is None
    assert made["created_at"].endswith("Z")

    shown = dbctl("users", "get", "ADA", "--format", "json").json()
    assert shown == {name: value for name, value in made.items() if name != "generated_password"}

    changed = dbctl(
        "users",
        "update",
        "ada",
        "--email",
        "countess@example.com",
        "--full-name",
        "",
        "--yes",
        "--format",
        "json",
    )
    assert (changed.json()["email"], changed.json()["full_name"]) == ("countess@example.com", None)
    assert dbctl("users", "deactivate", "ada", "--yes", "--format", "json").json()["is_active"] is False
    assert dbctl("users", "activate", "ada", "--yes", "--format", "json").json()["is_active"] is True

    assert dbctl("users", "delete", str(made["id"]), "--confirm", "ada").code == 0
    assert dbctl("users", "get", "ada").code == 6


def test_results_go_to_stdout_and_what_is_changed_where_to_stderr(dbctl, made):
    result = dbctl("users", "activate", "ada", "--yes")
    assert "activates user ada" in result.stderr
    assert "activates" not in result.stdout
    read = dbctl("users", "list")
    assert read.stderr == ""
    assert read.stdout.splitlines()[1].split("\t")[1:4] == ["ada", "ada@example.com", "Ada Lovelace"]


@pytest.mark.parametrize("command", ["list", "search", "active"])
def test_a_list_command_gives_an_array_even_for_one_or_none(dbctl, made, command):
    arguments = ["users", command, *(["lovelace"] if command == "search" else []), "--format", "json"]
    assert [user["username"] for user in dbctl(*arguments).json()] == ["ada"]
    dbctl("users", "delete", "ada", "--confirm", "ada")
    assert dbctl(*arguments).json() == []


def test_lists_come_as_csv_and_ndjson_too(dbctl, made):
    rows = list(csv.DictReader(io.StringIO(dbctl("users", "list", "--format", "csv").stdout)))
    assert rows[0]["email"] == "ada@example.com"
    assert dbctl("users", "list", "--format", "ndjson").stdout.count("\n") == 1


def test_the_hash_is_in_no_output(dbctl):
    made = dbctl(
        "users",
        "create",
        "ada",
        "ada@example.com",
        "--password-stdin",
        "--format",
        "json",
        stdin=f"{PASSWORD}\n",
    )
    assert made.json()["has_password"] is True
    outputs = [
        made,
        dbctl("users", "get", "ada", "--format", "json"),
        dbctl("users", "list", "--format", "csv"),
    ]
    for result in outputs:
        assert "argon2" not in result.stdout + result.stderr
        assert PASSWORD not in result.stdout + result.stderr


def test_a_generated_password_is_shown_once_on_stdout(dbctl, made):
    result = dbctl("users", "password", "ada", "--generate", "--yes", "--format", "json")
    generated = result.json()["generated_password"]
    assert len(generated) == 20
    assert generated not in result.stderr
    assert "generated_password" not in dbctl("users", "get", "ada", "--format", "json").json()
    assert (
        dbctl("users", "password", "ada", "--no-password", "--yes", "--format", "json").json()["has_password"]
        is False
    )


@pytest.mark.parametrize(
    ("arguments", "stdin", "code", "said"),
    [
        (["--password-stdin"], "short\n", 2, "12"),
        (["--password-stdin"], "", 2, "no password was given"),
        ([], "", 2, "--password-stdin"),
        (["--password-stdin"], "bob@example.com\n", 2, "must not be the username or the email"),
        (["--generate", "--no-password"], "", 2, "one of"),
    ],
)
def test_a_password_that_will_not_do_creates_nobody(dbctl, arguments, stdin, code, said):
    result = dbctl("users", "create", "bob", "bob@example.com", *arguments, stdin=stdin)
    assert result.code == code
    assert said in result.stderr
    assert dbctl("users", "count").stdout == "0\n"


@pytest.fixture
def terminal():
    """A terminal: the end that a program has, and a function that answers its prompts."""
    keyboard, screen = pty.openpty()

    def answer(prompt: str, text: str) -> str:
        seen = ""
        while prompt not in seen:
            seen += os.read(keyboard, 1000).decode()
        os.write(keyboard, f"{text}\n".encode())
        return seen

    yield screen, answer
    os.close(keyboard)
    os.close(screen)


@pytest.mark.parametrize(("again", "code"), [(PASSWORD, 0), ("another one of mine", 2)])
def test_a_password_is_typed_twice_and_never_seen(dbctl, dbctl_process, terminal, again, code):
    screen, answer = terminal

    def own_it() -> None:
        os.setsid()
        fcntl.ioctl(screen, termios.TIOCSCTTY, 0)

    with dbctl_process.start(
        *("users", "create", "bob", "bob@example.com"), stdin=screen, stderr=screen, preexec_fn=own_it
    ) as process:
        seen = answer("Password: ", PASSWORD) + answer("The same again: ", again)
        output, _ = process.communicate(timeout=60)
    assert process.returncode == code
    assert PASSWORD not in seen + output
    assert dbctl("users", "count").stdout == f"{int(code == 0)}\n"


def test_no_option_takes_a_password_as_an_argument(dbctl):
    assert dbctl("users", "create", "bob", "bob@example.com", "--password", PASSWORD).code == 2


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["create", "ADA", "b@example.com", "--no-password"], 6, "username"),
        (["create", "bob", "ADA@example.com", "--no-password"], 6, "email"),
        (["create", "not a name", "b@example.com", "--no-password"], 2, "username"),
        (["create", "a" * 256, "b@example.com", "--no-password"], 2, "256 characters"),
        (["create", "bob", "nowhere", "--no-password"], 2, "email"),
        (["create", "bob", "b@example.com", "--no-password", "--full-name", "a\x1b[31m"], 2, "full_name"),
        (["get", "nobody"], 6, "nobody"),
        (["get", "'; drop table users; --"], 6, "no user"),
        (["update", "ada", "--yes"], 2, "changes"),
        (["search", ""], 2, "search text"),
        (["list", "--after", "x"], 2, "cursor"),
        (["list", "--limit", "0"], 2, "--limit"),
        (["active", "--days", "0"], 2, "--days"),
        (["seed", "0"], 2, "count"),
        (["seed", "many"], 2, "count"),
    ],
)
def test_a_bad_request_says_what_is_wrong(dbctl, made, arguments, code, said):
    result = dbctl("users", *arguments)
    assert result.code == code
    assert said in result.stderr
    assert result.stdout == ""
    assert "\x1b" not in result.stderr


@pytest.mark.parametrize(
    ("arguments", "flag"),
    [
        (["update", "ada", "--superuser"], "--yes"),
        (["deactivate", "ada"], "--yes"),
        (["delete", "ada"], "--confirm ada"),
        (["delete", "ada", "--yes"], "--confirm ada"),
        (["delete", "ada", "--confirm", "bob"], "ada"),
    ],
)
def test_without_a_terminal_a_change_is_refused_and_the_flag_named(dbctl, made, arguments, flag):
    result = dbctl("users", *arguments)
    assert result.code == 3
    assert flag in result.stderr
    after = dbctl("users", "get", "ada", "--format", "json").json()
    assert after["updated_at"] == made["updated_at"]


@pytest.mark.parametrize(
    "command", [["create", "bob", "b@example.com", "--no-password"], ["seed", "5"], ["activate", "ada"]]
)
def test_a_protected_environment_wants_its_name(dbctl, made, command):
    protected = {"DBCTL_PROTECTED": "true"}
    assert dbctl("users", *command, env=protected).code == 3
    assert dbctl("users", "count", env=protected).stdout == "1\n"
    assert dbctl("users", *command, "--confirm", "local", env=protected).code == 0


NASTY = ["[/red]", "[bold]Ada", "\u202eevil", "😀👩‍🚀", "<script>", "=1+1", "a\u200fb", ":smile:"]


@pytest.mark.parametrize("name", NASTY)
def test_no_name_is_read_as_markup_or_turns_the_text_around(dbctl, name):
    made = dbctl(
        "users", "create", "ada", "ada@example.com", "--full-name", name, "--no-password", "--format", "json"
    )
    assert made.json()["full_name"] == name
    table = dbctl("users", "search", "ada").stdout
    assert "\u202e" not in table
    assert "\u200f" not in table
    assert name.replace("\u202e", "\\u202e").replace("\u200f", "\\u200f") in table


def test_a_search_is_literal_and_its_count_agrees(dbctl):
    dbctl("users", "seed", "200")
    dbctl("users", "create", "bobby", "bobby@example.com", "--full-name", "100% '; drop", "--no-password")
    for text in ("100%", "'; drop"):
        assert [user["username"] for user in dbctl("users", "search", text, "--format", "json").json()] == [
            "bobby"
        ]
    found = dbctl("users", "search", "son", "--format", "json", "--limit", "1000").json()
    assert len(found) > 5
    assert dbctl("users", "count", "--text", "son", "--format", "json").json() == {"users": len(found)}


def test_a_generated_password_is_shown_under_quiet_too(dbctl):
    made = dbctl("users", "create", "ada", "ada@example.com", "--generate", "-q")
    assert made.code == 0
    assert "password" in made.stdout


def test_seeding_twice_adds_others_and_says_which(dbctl):
    first = dbctl("users", "seed", "30", "--format", "json").json()
    second = dbctl("users", "seed", "30", "--seed", "7", "--format", "json").json()
    assert (first["rows"], first["seed"], second["seed"]) == (30, 42, 7)
    assert second["first"] >= first["first"] + 30
    assert dbctl("users", "count").stdout == "60\n"


def test_pages_lead_on_to_the_next(dbctl):
    dbctl("users", "seed", "5")
    seen: list[int] = []
    after: list[str] = []
    for expected in (2, 2, 1):
        page = dbctl(
            "users", "list", "--order", "created_at", "--desc", "--limit", "2", *after, "--format", "json"
        )
        assert len(page.json()) == expected
        seen += [user["id"] for user in page.json()]
        after = ["--after", page.stderr.rpartition(" ")[2].strip()]
    assert page.stderr == ""
    assert sorted(seen) == [1, 2, 3, 4, 5]


def test_without_the_table_the_next_step_is_the_migrations(dbctl, empty_conninfo):
    from tests.fixtures.cli import url_of

    result = dbctl("users", "list", env={"DATABASE_URL": url_of(empty_conninfo)})
    assert result.code == 6
    assert "dbctl migrate" in result.stderr
