"""No secret in plain text anywhere: every command's output, its report files, `ps` while it runs, its backups."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import psycopg2
import pytest

from dbctl.postgres.scratch import scratch_server
from tests.fixtures.cli import AsProcess

PASSWORD = "Sentinel%40p:a/s-7391"
ESCAPED = "Sentinel%2540p%3Aa%2Fs-7391"


@pytest.fixture(scope="module")
def locked_server():
    """A server that wants a password on TCP."""
    with scratch_server(options={"listen_addresses": "127.0.0.1"}) as server:
        with closing(psycopg2.connect(**server.params)) as connection:
            connection.autocommit = True
            with connection.cursor() as cursor:
                cursor.execute("CREATE ROLE ada SUPERUSER LOGIN PASSWORD %s", (PASSWORD,))
                cursor.execute("CREATE DATABASE app OWNER ada")
                cursor.execute("SELECT current_setting('hba_file')")
                hba = Path(cursor.fetchone()[0])
                hba.write_text("local all all trust\nhost all all 127.0.0.1/32 scram-sha-256\n")
                cursor.execute("SELECT pg_reload_conf()")
        yield server


@pytest.fixture
def environ(locked_server, tmp_path):
    """The ways to give a password, each complete."""
    port = locked_server.params["port"]
    passfile = tmp_path / "passfile"
    passfile.write_text(f"127.0.0.1:{port}:*:ada:{PASSWORD.replace(':', chr(92) + ':')}\n")
    passfile.chmod(0o600)
    secret = tmp_path / "secret"
    secret.write_text(PASSWORD)
    bare = f"postgresql://ada@127.0.0.1:{port}/app"
    return {
        "url": {"DATABASE_URL": f"postgresql://ada:{ESCAPED}@127.0.0.1:{port}/app"},
        "setting": {"DATABASE_URL": bare, "DBCTL_DATABASE__PASSWORD": PASSWORD},
        "passfile": {"DATABASE_URL": bare, "PGPASSFILE": str(passfile)},
        "command": {"DATABASE_URL": bare, "DBCTL_DATABASE__PASSWORD_COMMAND": f"cat {secret}"},
        "libpq": {
            "PGHOST": "127.0.0.1",
            "PGPORT": port,
            "PGUSER": "ada",
            "PGDATABASE": "app",
            "PGPASSWORD": PASSWORD,
        },
    }


COMMANDS = (
    ("env", "show"),
    ("env", "check"),
    ("health", "-v", "--skip", "durability", "--skip", "autovacuum"),
    ("migrate", "up"),
    ("migrate", "status", "--format", "json"),
    ("users", "seed", "5", "-v"),
    ("users", "list"),
    ("backup",),
    ("backup", "verify", "latest"),
    ("restore", "latest", "--as", "copy"),
    ("health", "--debug", "-e", "nowhere"),
    ("migrate", "up", "nowhere", "--debug"),
)
# Each driver once: asyncpg, psycopg2, pg_dump.
LOGINS = (("health", "reachable", "role"), ("migrate", "up"), ("backup",))


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize(
    ("way", "commands"),
    [("url", COMMANDS), ("setting", LOGINS), ("passfile", LOGINS), ("command", LOGINS), ("libpq", LOGINS)],
)
def test_commands_work_with_every_way_to_give_a_password_and_show_it_nowhere(
    locked_server, environ, project, way, commands
):
    run = AsProcess(project, {**environ[way], "DBCTL_ENV": "test"})
    watcher = Watcher()
    with watcher:
        results = [run(*command) for command in commands]
    with closing(psycopg2.connect(**{**locked_server.params, "dbname": "postgres"})) as connection:
        connection.autocommit = True
        connection.cursor().execute("DROP DATABASE IF EXISTS copy")
    worked = [
        result.code for result, command in zip(results, commands, strict=True) if "--debug" not in command
    ]
    assert set(worked) == {0}, [result.stderr for result in results]
    written = [path.read_bytes() for path in project.rglob("*") if path.is_file()]
    seen = "".join(result.stdout + result.stderr for result in results) + watcher.seen
    for secret in (PASSWORD, ESCAPED):
        assert secret not in seen
        assert not any(secret.encode() in content for content in written)


def test_a_wrong_password_is_exit_4_with_a_next_step(environ, project):
    run = AsProcess(
        project, {**environ["setting"], "DBCTL_DATABASE__PASSWORD": "Wrong-4711", "DBCTL_ENV": "test"}
    )
    for command in (("users", "list"), ("migrate", "status"), ("backup",)):
        result = run(*command)
        assert result.code == 4, result.stderr
        assert "next:" in result.stderr
        assert "Wrong-4711" not in result.stdout + result.stderr


class Watcher:
    """Reads the arguments of every new process, and the environment of dbctl's children, again and again (/proc)."""

    def __init__(self) -> None:
        self.seen = ""
        self._before = set(_processes())
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._stop.wait(0.02):
            for process in set(_processes()) - self._before:
                arguments = _read(process / "cmdline")
                self.seen += arguments
                # dbctl itself has the variables that its caller gave it; what it starts must not.
                if "dbctl\0" not in arguments and _grandparent(process) == os.getpid():
                    self.seen += _read(process / "environ")


def _processes() -> Iterator[Path]:
    return Path("/proc").glob("[0-9]*")


def _grandparent(process: Path) -> int:
    parent = _parent(process)
    return _parent(Path(f"/proc/{parent}")) if parent else 0


def _parent(process: Path) -> int:
    # pid (name) state parent …; the name may hold blanks and brackets.
    fields = _read(process / "stat").rpartition(")")[2].split()
    return int(fields[1]) if fields else 0


def _read(file: Path) -> str:
    try:
        return file.read_text(errors="replace")
    except OSError:
        return ""
