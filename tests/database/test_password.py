"""Passwords come from where they should, and go nowhere else."""

from __future__ import annotations

import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dbctl.database import ConnInfo
from dbctl.database.passfile import find_password
from dbctl.database.password import password_source, run_password_command
from dbctl.errors import SettingsError
from dbctl.settings import DatabaseSettings

CONNINFO = ConnInfo({"host": "db", "port": "5432", "user": "ada", "dbname": "app"})


async def test_a_commands_output_is_the_password_and_is_fetched_once_for_a_burst(tmp_path):
    count = tmp_path / "count"
    settings = DatabaseSettings(password_command=("sh", "-c", f"echo x >> {count}; printf 'top secret\\n'"))
    source = password_source(CONNINFO, settings)
    assert [await source(), await source()] == ["top secret", "top secret"]
    assert count.read_text() == "x\n"


async def test_a_password_of_the_settings_wins_over_the_address():
    source = password_source(CONNINFO.with_password("old"), DatabaseSettings(password="new"))
    assert await source() == "new"


def with_passfile(tmp_path, text, mode=0o600):
    file = tmp_path / "passfile"
    file.write_text(text)
    file.chmod(mode)
    return ConnInfo({**CONNINFO.keywords, "passfile": str(file)})


async def test_without_any_the_passfile_is_read_first_fit_first(tmp_path):
    lines = "# ours\nother:*:*:*:no\nbroken\ndb:5432:app:ada:first\n*:*:*:*:second\n"
    conninfo = with_passfile(tmp_path, lines)
    assert await password_source(conninfo, DatabaseSettings())() == "first"
    assert find_password(conninfo.with_database("other")) == "second"


def test_a_passfile_that_others_may_read_is_not_used(tmp_path, monkeypatch):
    conninfo = with_passfile(tmp_path, "*:*:*:*:secret", mode=0o640)
    with pytest.raises(SettingsError, match="others may read it"):
        find_password(conninfo)
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "passfile").rename(tmp_path / ".pgpass")
    assert find_password(CONNINFO) is None


@given(password=st.text(st.characters(exclude_categories=["Cs", "Cc", "Zl", "Zp"]), min_size=1))
def test_a_passfile_carries_any_password_as_libpq_does(tmp_path_factory, password):
    escaped = password.replace("\\", "\\\\").replace(":", "\\:")
    conninfo = with_passfile(tmp_path_factory.mktemp("pass"), f"*:*:*:*:{escaped}\n")
    assert find_password(conninfo) == password


@pytest.mark.parametrize(
    "command", [("/no/such/program",), ("true",), ("sh", "-c", "echo s3cret; echo why >&2; exit 3")]
)
async def test_a_command_that_fails_is_said_without_its_output(command):
    with pytest.raises(SettingsError) as caught:
        await run_password_command(command)
    assert "s3cret" not in str(caught.value)
    assert command[0] in caught.value.message


async def test_a_commands_complaint_is_shown_and_masked():
    script = "import sys; print('s3cret'); sys.exit('token=abc s3cret expired')"
    with pytest.raises(SettingsError) as caught:
        await run_password_command((sys.executable, "-c", script))
    assert "expired" in caught.value.why
    assert "s3cret" not in caught.value.why
    assert "abc" not in caught.value.why
