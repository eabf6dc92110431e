"""What a backup costs over pg_dump alone: processor time of dbctl, pg_dump and the server together."""

from __future__ import annotations

import os
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pyrage
import pytest

from dbctl.database import ConnInfo
from dbctl.postgres.binaries import find_client
from dbctl.postgres.scratch import scratch_server
from tests.fixtures.cli import url_of
from tests.fixtures.database import ROOT, execute

ROUNDS = 3
MEGABYTES = int(os.environ.get("DBCTL_TEST_BACKUP_MB", "1100"))


class Ground:
    """A server of its own with a database of numbers, texts and documents, and whose processor time is known."""

    def __init__(self, conninfo: ConnInfo, postmaster: int, folder: Path) -> None:
        self.conninfo = conninfo
        self.postmaster = postmaster
        self.folder = folder
        self.usual = self._children()

    def cpu(self, work: Callable[[], object]) -> float:
        """Seconds of the server, its ended sessions included, and of the programs that ``work`` runs."""
        server, ours = self._server(), resource.getrusage(resource.RUSAGE_CHILDREN)
        work()
        self._settle()
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return self._server() - server + after.ru_utime - ours.ru_utime + after.ru_stime - ours.ru_stime

    def pg_dump(self, *options: str) -> None:
        argv = [str(find_client("pg_dump", 17)), *options, f"--file={self.folder / 'plain.dump'}"]
        subprocess.run(argv, env={**os.environ, **self.conninfo.libpq_environment()}, check=True)

    def backup(self, *options: str, **settings: str) -> None:
        environ = {
            "DATABASE_URL": url_of(self.conninfo),
            "DBCTL_BACKUP__TARGET": str(self.folder / "backups"),
        }
        argv = [sys.executable, "-m", "dbctl", "backup", "create", "-q", *options]
        subprocess.run(argv, env={**os.environ, **environ, **settings}, check=True, cwd=ROOT)

    def _server(self) -> float:
        fields = Path(f"/proc/{self.postmaster}/stat").read_text().rpartition(")")[2].split()
        return sum(int(fields[number]) for number in range(11, 15)) / os.sysconf("SC_CLK_TCK")

    def _settle(self) -> None:
        """Wait until the sessions are gone, and counted with their parent: leaving a large memory takes a while."""
        while self._children() - self.usual:
            time.sleep(0.05)

    def _children(self) -> set[str]:
        return set(Path(f"/proc/{self.postmaster}/task/{self.postmaster}/children").read_text().split())


@pytest.fixture(scope="module")
def ground(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ground]:
    folder = tmp_path_factory.mktemp("backup")
    with scratch_server(17, options={"shared_buffers": "1GB"}) as server:
        conninfo = ConnInfo(server.params)
        execute(
            conninfo,
            "CREATE TABLE accounts (id int PRIMARY KEY, branch int, balance int, filler char(84))",
            f"INSERT INTO accounts SELECT i, i % 60, 0, '' FROM generate_series(1, {MEGABYTES * 4300}) AS i",
            "CREATE TABLE events (id int PRIMARY KEY, at timestamptz, what text, data jsonb)",
            f"""INSERT INTO events
                SELECT i, now() - i * interval '1 s', repeat(md5(i::text), 8), jsonb_build_object('a', i, 'b', md5(i::text))
                  FROM generate_series(1, {MEGABYTES * 700}) AS i""",
            "VACUUM ANALYZE",
            "CHECKPOINT",
        )
        postmaster = int((server.folder / "data" / "postmaster.pid").read_text().split()[0])
        yield Ground(conninfo, postmaster, folder)


def ratio(
    ground: Ground, ours: Callable[[], object], peer: Callable[[], object]
) -> tuple[float, float, float]:
    """The median over pairs of neighbours, after a warm-up, and both medians in seconds."""
    pairs = [(ground.cpu(ours), ground.cpu(peer)) for _ in range(ROUNDS + 1)][1:]
    one, other = (statistics.median(times) for times in zip(*pairs, strict=True))
    return statistics.median(mine / theirs for mine, theirs in pairs), one, other


@pytest.mark.benchmark
def test_a_backup_beside_pg_dump(ground: Ground) -> None:
    """Hash, manifest, catalog and row counts; then with encryption; then with digests of all rows."""
    size = execute(ground.conninfo, "SELECT pg_size_pretty(pg_database_size(current_database()))")[0][0]

    def quick() -> None:
        ground.pg_dump("-Fc", "-Zzstd:1")

    recipient = str(pyrage.x25519.Identity.generate().to_public())
    found = {
        "a backup": ratio(ground, ground.backup, quick),
        "encrypted": ratio(ground, lambda: ground.backup(DBCTL_BACKUP__ENCRYPT_TO=recipient), quick),
        "with digests": ratio(ground, lambda: ground.backup("--digests"), quick),
        "proven": ratio(ground, lambda: ground.backup("--prove"), quick),
        "a backup beside default pg_dump -Fc": ratio(ground, ground.backup, lambda: ground.pg_dump("-Fc")),
    }
    for name, (share, ours, theirs) in found.items():
        print(f"\n{name}, {size}: {share:.2f} ({ours:.2f} / {theirs:.2f} s CPU, {ROUNDS} pairs)")
    assert found["a backup beside default pg_dump -Fc"][0] <= 0.9


@pytest.mark.benchmark
def test_the_backup_of_an_empty_database(ground: Ground) -> None:
    """What a run costs that has nothing to dump."""
    execute(ground.conninfo, "CREATE DATABASE empty")
    empty = Ground(ground.conninfo.with_database("empty"), ground.postmaster, ground.folder)
    seconds = statistics.median([empty.cpu(empty.backup) for _ in range(ROUNDS + 1)][1:])
    print(f"\nan empty database: {seconds:.2f} s CPU")
    assert seconds <= 1.2
