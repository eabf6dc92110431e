"""How long a restore takes, the swap included, beside ``pg_restore -j2`` with the server's defaults."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from dbctl.database import ConnInfo
from dbctl.postgres.binaries import find_client
from dbctl.postgres.scratch import scratch_server
from tests.fixtures.cli import url_of
from tests.fixtures.database import ROOT, execute

ROUNDS = int(os.environ.get("DBCTL_TEST_RESTORE_ROUNDS", "3"))
MEGABYTES = int(os.environ.get("DBCTL_TEST_RESTORE_MB", "900"))


@dataclass
class Ground:
    """A server that keeps what it commits, as one in use does, and a backup of its database ``shop``."""

    postgres: ConnInfo
    folder: Path

    @property
    def archive(self) -> Path:
        return next(self.folder.glob("*/archive.dump"))

    def dbctl(self, *arguments: str) -> None:
        environ = {
            "DATABASE_URL": url_of(self.postgres.with_database("shop")),
            "DBCTL_BACKUP__TARGET": str(self.folder),
        }
        argv = [sys.executable, "-m", "dbctl", *arguments, "-q"]
        subprocess.run(argv, env={**os.environ, **environ}, check=True, cwd=ROOT, stdout=subprocess.DEVNULL)

    def restore(self) -> None:
        self.dbctl("restore", "latest", "--jobs", "2", "--confirm", "shop")

    def pg_restore(self) -> None:
        execute(self.postgres, "CREATE DATABASE plain TEMPLATE template0")
        environ = {**os.environ, **self.postgres.libpq_environment()}
        argv = [str(find_client("pg_restore", 17)), "-j2", "--dbname=plain", str(self.archive)]
        subprocess.run(argv, env=environ, check=True)

    def tidy(self) -> None:
        for (name,) in execute(
            self.postgres, "SELECT datname FROM pg_database WHERE datname ~ 'plain|shop_'"
        ):
            execute(self.postgres, f'DROP DATABASE "{name}" WITH (FORCE)')
        execute(self.postgres, "CHECKPOINT")


@pytest.fixture(scope="module")
def ground(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ground]:
    options = {"wal_level": "replica", "autovacuum": "on", "max_wal_size": "1GB", "max_connections": "50"}
    with scratch_server(17, options=options) as server:
        postgres = ConnInfo(server.params).with_database("postgres")
        ground = Ground(postgres, tmp_path_factory.mktemp("backups"))
        execute(postgres, "CREATE DATABASE shop")
        execute(
            postgres.with_database("shop"),
            "CREATE TABLE accounts (id int PRIMARY KEY, branch int, balance int, filler char(84))",
            f"INSERT INTO accounts SELECT i, i % 60, 0, '' FROM generate_series(1, {MEGABYTES * 4300}) AS i",
            "CREATE INDEX ON accounts (branch)",
            "CREATE TABLE events (id int PRIMARY KEY, at timestamptz, what text, data jsonb)",
            f"""INSERT INTO events
                SELECT i, now() - i * interval '1 s', repeat(md5(i::text), 8), jsonb_build_object('a', i)
                  FROM generate_series(1, {MEGABYTES * 700}) AS i""",
            "CREATE INDEX ON events (at)",
            "CREATE INDEX ON events (what)",
            "CHECKPOINT",
        )
        ground.dbctl("backup")
        yield ground


@pytest.mark.benchmark
def test_a_restore_takes_no_longer_than_pg_restore_with_two_jobs(ground: Ground):
    ratios = []
    for number in range(ROUNDS):
        runs = [ground.restore, ground.pg_restore]
        took = {run.__name__: seconds(run, ground) for run in (runs if number % 2 else runs[::-1])}
        ratios.append(took["restore"] / took["pg_restore"])
        sys.stderr.write(f"\n{took}, ratio {ratios[-1]:.2f}")
    sys.stderr.write(
        f"\nrestore with check, statistics and swap: {statistics.median(ratios):.2f}x pg_restore -j2\n"
    )
    assert statistics.median(ratios) <= 1.0


def seconds(work: Callable[[], None], ground: Ground) -> float:
    started = time.monotonic()
    work()
    took = time.monotonic() - started
    ground.tidy()
    return took
