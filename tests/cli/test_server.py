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


def test_a_start_that_was_killed_before_its_database_was_made_is_made_good(local):
    from dbctl.postgres.embedded import EmbeddedServer

    EmbeddedServer(local.project / ".dbctl" / "local").start()
    assert local("health").code == 0


def test_psql_on_a_protected_environment_wants_its_name(local):
    env = {"DBCTL_PROTECTED": "true"}
    refused = local("server", "psql", "-c", "SELECT 1", env=env)
    assert refused.code == 3
    assert "--confirm local" in refused.stderr


def test_a_tour_of_a_protected_environment_is_refused(local):
    result = local("quickstart", env={"DBCTL_PROTECTED": "true"})
    assert result.code == 3


def test_a_pipe_is_not_kept_open_by_the_server(local):
    with local.start("server", "start", stderr=subprocess.STDOUT) as process:
        process.communicate(timeout=60)
    assert process.returncode == 0


def test_an_environment_with_an_address_has_none(local):
    result = local("server", "start", env={"DATABASE_URL": "postgresql://db/app"})
    assert result.code == 2
    assert "DATABASE_URL" in result.stderr
