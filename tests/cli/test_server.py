"""``dbctl server``: the embedded PostgreSQL under a person's hands."""

from __future__ import annotations

import subprocess

import pytest

from tests.fixtures.cli import AsProcess


@pytest.fixture
def local(project):
    """dbctl in a project whose embedded server is stopped at the end."""
    run = AsProcess(project, {})
    yield run
    run("server", "stop")


def test_any_command_starts_it_and_it_goes_on_running(local):
    assert local("server", "status").code == 1
    assert local("health").code == 0
    status = local("server", "status", "--format", "json")
    assert status.code == 0
    assert status.json()["running"] is True


def test_psql_opens_the_database_of_the_environment(local):
    result = local("server", "psql", "-Atc", "SELECT current_database()")
    assert result.stdout == "app\n"


def test_stop_keeps_the_data(local):
    assert local("server", "psql", "-c", "CREATE TABLE kept (id int)").code == 0
    assert local("server", "stop").code == 0
    assert local("server", "psql", "-Atc", "SELECT count(*) FROM kept").stdout == "0\n"


def test_a_pipe_is_not_kept_open_by_the_server(local):
    with local.start("server", "start", stderr=subprocess.STDOUT) as process:
        process.communicate(timeout=30)
    assert process.returncode == 0


def test_an_environment_with_an_address_has_none(local):
    result = local("server", "start", env={"DATABASE_URL": "postgresql://db/app"})
    assert result.code == 2
    assert "DATABASE_URL" in result.stderr
