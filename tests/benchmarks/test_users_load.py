"""Users by the million: seeded and imported beside psql's own \\copy of the same rows into the same indexed table."""

from __future__ import annotations

import csv
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest

from dbctl.database import ConnInfo
from dbctl.postgres.binaries import find_client
from dbctl.postgres.scratch import scratch_server
from dbctl.users.made_up import row
from dbctl.users.names import names_of
from tests.fixtures.cli import url_of
from tests.fixtures.database import ROOT, execute

pytestmark = pytest.mark.benchmark

ROWS = int(os.environ.get("DBCTL_BENCHMARK_USERS", "1000000"))
COLUMNS = "username,email,full_name,is_active,created_at,updated_at"
SEED_LIMIT, IMPORT_LIMIT, MEMORY_LIMIT_MB = 0.6, 1.3, 150


@dataclass
class Loads:
    """A server with dbctl's schema, and a file of users."""

    address: ConnInfo
    file: Path

    def empty(self) -> None:
        execute(
            self.address,
            "TRUNCATE users, users_imports, users_seedings RESTART IDENTITY CASCADE",
            "CHECKPOINT",
        )

    def copy(self) -> float:
        """Seconds of psql's \\copy."""
        self.empty()
        command = f"\\copy users({COLUMNS}) from '{self.file}' csv header"
        psql = str(find_client("psql", 17))
        started = time.perf_counter()
        subprocess.run([psql, url_of(self.address), "-qXc", command], check=True)
        return time.perf_counter() - started

    def start(self, *arguments: str) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [sys.executable, "-m", "dbctl", "users", *arguments, "-q"],
            cwd=ROOT,
            env={**os.environ, "DATABASE_URL": url_of(self.address)},
        )

    def run(self, *arguments: str) -> tuple[float, float]:
        """Seconds, and the most memory in MB."""
        started = time.perf_counter()
        process = self.start(*arguments)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        assert process.returncode == 0
        return time.perf_counter() - started, usage.ru_maxrss / 1024


@pytest.fixture(scope="module")
def loads(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Loads]:
    file = tmp_path_factory.mktemp("users") / "users.csv"
    now, names = datetime(2026, 1, 1, tzinfo=UTC), names_of("mixed")
    with file.open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(COLUMNS.split(","))
        for number in range(1, ROWS + 1):
            username, email, full_name, _, active, created, updated = row(42, number, now, names)
            writer.writerow((username, email, full_name, active, created.isoformat(), updated.isoformat()))
    with scratch_server(17, options={"shared_buffers": "512MB"}) as server:
        address = ConnInfo(server.params)
        environ = {**os.environ, "DATABASE_URL": url_of(address)}
        up = [sys.executable, "-m", "dbctl", "migrate", "up", "--no-plan", "-q"]
        subprocess.run(up, cwd=ROOT, env=environ, check=True)
        yield Loads(address, file)


def test_a_seeding_takes_less_than_a_copy_of_the_same_rows(loads):
    copy = loads.copy()
    loads.empty()
    seconds, memory = loads.run("seed", str(ROWS))
    print(f"\nseed of {ROWS} users / \\copy: {seconds / copy:.2f}, limit {SEED_LIMIT}; {memory:.0f} MB")
    assert seconds / copy <= SEED_LIMIT
    assert memory < MEMORY_LIMIT_MB


@pytest.mark.parametrize("more", [(), ("--batch", "100000")], ids=["at once", "in batches"])
def test_an_import_takes_little_more_than_a_copy_of_the_same_file(loads, more):
    copy = loads.copy()
    loads.empty()
    seconds, memory = loads.run("import", str(loads.file), *more)
    print(
        f"\nimport of {ROWS} users {more} / \\copy: {seconds / copy:.2f}, limit {IMPORT_LIMIT}; {memory:.0f} MB"
    )
    assert execute(loads.address, "SELECT count(*) FROM users") == [(ROWS,)]
    assert seconds / copy <= IMPORT_LIMIT
    assert memory < MEMORY_LIMIT_MB


def test_an_import_that_is_killed_goes_on_and_adds_each_user_once(loads):
    loads.empty()
    arguments = ("import", str(loads.file), "--batch", "50000")
    kills = 0
    for seconds in (3, 7, 5):
        process = loads.start(*arguments)
        try:
            process.wait(timeout=seconds)
            break
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            process.wait()
            kills += 1
            while execute(loads.address, "SELECT 1 FROM pg_stat_activity WHERE application_name = 'dbctl'"):
                time.sleep(0.05)
    else:
        loads.run(*arguments)
    ((users, lines, added),) = execute(
        loads.address, "SELECT (SELECT count(*) FROM users), lines, added FROM users_imports"
    )
    print(f"\nkilled {kills} times: {users} users")
    assert (users, lines, added) == (ROWS, ROWS + 1, ROWS)
