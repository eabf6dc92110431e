"""``dbctl env``: what is set, where it comes from, and whether it works."""

from __future__ import annotations

import json

import pytest

from tests.fixtures.cli import url_of


def test_show_gives_each_value_with_its_source_and_no_password(dbctl_alone):
    url = "postgresql://ada:s3cret@db.example/app"
    result = dbctl_alone("env", "show", "-e", "production", "--format", "json", env={"DATABASE_URL": url})
    shown = {one["key"]: one for one in result.json()}
    assert shown["database.url"] == {
        "key": "database.url",
        "value": "postgresql://ada:****@db.example/app",
        "source": "DATABASE_URL",
    }
    assert shown["protected"]["source"] == "configs/production.toml"
    assert shown["pool.timeout"]["source"] == "default"
    assert "s3cret" not in result.stdout + result.stderr


@pytest.mark.parametrize("name", ["local", "test", "staging", "production"])
def test_every_shipped_environment_passes_where_its_variables_are_set(dbctl_alone, name, conninfo):
    result = dbctl_alone("env", "check", "-e", name, env={"DATABASE_URL": url_of(conninfo)})
    assert result.code == 0, result.stdout


def test_check_finds_a_missing_address_and_says_what_to_set(dbctl_alone):
    result = dbctl_alone("env", "check", "-e", "staging", "--format", "json")
    failed = [one for one in result.json() if not one["ok"]]
    assert result.code == 1
    assert [one["check"] for one in failed] == ["address"]
    assert "DATABASE_URL" in failed[0]["fix"]


def test_check_of_a_dead_database_is_an_answer_not_a_crash(dbctl_alone):
    result = dbctl_alone(
        "env", "check", "-e", "test", "--format", "json", env={"DATABASE_URL": "postgresql://127.0.0.1:1/x"}
    )
    assert result.code == 1
    assert [one["check"] for one in result.json() if not one["ok"]] == ["login"]


def test_offline_check_connects_nowhere(dbctl_alone):
    result = dbctl_alone(
        "env", "check", "-e", "test", "--offline", env={"DATABASE_URL": "postgresql://127.0.0.1:1/x"}
    )
    assert result.code == 0


def test_a_mistake_in_the_settings_is_exit_2(dbctl_alone):
    (dbctl_alone.project / "configs" / "test.toml").write_text("protected = [")
    result = dbctl_alone("env", "check", "-e", "test", "--format", "json")
    assert result.code == 2
    assert "test.toml" in json.loads(result.stderr)["error"]["message"]


def test_an_unknown_variable_is_a_warning(dbctl_alone):
    result = dbctl_alone("env", "show", env={"DBCTL_POOLS__SIZE": "3"})
    assert result.code == 0
    assert "DBCTL_POOLS__SIZE" in result.stderr
