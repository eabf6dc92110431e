"""kill -9 at random moments of a backup, and the whole circle on a database of some size."""

from __future__ import annotations

import hashlib
import json
import os
import random
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from dbctl.backup.folder import BackupFolder
from dbctl.backup.model import Status
from dbctl.backup.verify import verify_bytes
from dbctl.database import ConnInfo
from dbctl.postgres.binaries import find_client
from tests.backup.conftest import VARIETY, room_on
from tests.backup.test_proof import RICH
from tests.backup.test_restore import dump_text
from tests.fixtures.cli import url_of
from tests.fixtures.database import ROOT, execute, made_database

KILLS = int(os.environ.get("DBCTL_KILLS", "50"))
MEGABYTES = int(os.environ.get("DBCTL_TEST_CIRCLE_MB", "2048"))
MOST_MB = 200
WORKS = (("create",), ("create", "--jobs", "2"), ("create", "--prove"), ("prune", "--yes"))


@pytest.fixture
def rich(server: ConnInfo) -> Iterator[ConnInfo]:
    with made_database(server) as conninfo:
        execute(conninfo, *VARIETY, *(one.replace("{database}", conninfo.database) for one in RICH))
        yield conninfo


@pytest.mark.benchmark
async def test_killed_at_random_moments_what_is_there_is_whole(rich: ConnInfo, tmp_path: Path) -> None:
    """dbctl or its pg_dump, at any moment: each backup in the folder is good, and the next run tidies up."""
    execute(rich, "CREATE TABLE much AS SELECT n, md5(n::text) FROM generate_series(1, 200000) AS n")
    folder = BackupFolder(tmp_path / "backups")
    keep = {f"DBCTL_BACKUP__KEEP__{name}": "0" for name in ("DAILY", "WEEKLY", "MONTHLY")}
    environ = {**os.environ, **keep, "DBCTL_BACKUP__KEEP__LAST": "2", "DATABASE_URL": url_of(rich)}
    environ["DBCTL_BACKUP__TARGET"] = str(folder.path)
    run = [sys.executable, "-m", "dbctl", "backup"]
    subprocess.run([*run, "-q"], env=environ, cwd=ROOT, check=True)
    killed = runs = 0
    while killed < KILLS:
        # Some end before they are killed.
        number, runs = runs, runs + 1
        work = WORKS[number % len(WORKS)]
        process = subprocess.Popen([*run, *work, "-q"], env=environ, cwd=ROOT, stderr=subprocess.DEVNULL)
        time.sleep(random.uniform(0.1, 1.5))
        victim = _pg_dump_of(process.pid) if number % 3 == 2 else None
        with suppress(ProcessLookupError):
            os.kill(victim or process.pid, signal.SIGKILL)
        killed += process.wait(timeout=120) != 0
        backups = folder.backups()
        assert backups
        assert {one.status for one in backups} == {Status.GOOD}
    for one in folder.backups():
        assert (await verify_bytes(one)).good
    subprocess.run([*run, "-q"], env=environ, cwd=ROOT, check=True)
    assert list((folder.path / ".partial").iterdir()) == []
    print(f"\nkilled {killed} of {runs} runs: {len(folder.backups())} backups, every byte as it was")


def plain(dump: str) -> str:
    """PostgreSQL itself writes casts and parentheses of an IN over varchar elsewhere, after reading its own text."""
    return re.sub(r"::[a-z ]+(\[\])?|[()\s]", "", dump)


def _pg_dump_of(parent: int) -> int | None:
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            mother = int((process / "stat").read_text().rpartition(")")[2].split()[1])
            if mother == parent and b"pg_dump\0" in (process / "cmdline").read_bytes():
                return int(process.name)
    return None


@pytest.mark.benchmark
def test_the_whole_circle(rich: ConnInfo, tmp_path: Path) -> None:
    """Dump, prove, restore, each by a dbctl of its own; then pg_dump of both databases, compared to the last byte."""
    execute(
        rich,
        f"""CREATE TABLE bulk AS SELECT n, now() - n * interval '1 s' AS at, repeat(md5(n::text), 13) AS text
              FROM generate_series(1, {MEGABYTES * 2200}) AS n""",
        "ALTER TABLE bulk ADD PRIMARY KEY (n)",
        "SELECT lo_from_bytea(0, decode(repeat(md5(n::text), 2000), 'hex')) FROM generate_series(1, 500) AS n",
    )
    size = execute(rich, "SELECT pg_database_size(current_database()) / 1048576")[0][0]
    environ = {**os.environ, "DATABASE_URL": url_of(rich), "DBCTL_BACKUP__TARGET": str(tmp_path / "backups")}
    works = (
        ("backup", "create", "--digests", "-q"),
        ("backup", "verify", "latest", "--restore", "-q"),
        ("restore", "latest", "--confirm", rich.database, "--format", "json"),
    )
    room, said = room_on(rich, tmp_path), ""
    try:
        for work in works:
            seconds, peak_mb, said = _watched(work, environ)
            print(
                f"\n{size} MB: dbctl {' '.join(work[:2])} took {seconds:.1f} s and {peak_mb:.0f} MB of memory"
            )
            assert peak_mb < MOST_MB
        old = rich.with_database(json.loads(said)["kept"])
        assert plain(dump_text(rich, "--schema-only")) == plain(dump_text(old, "--schema-only"))
        assert _sum_of_rows(rich) == _sum_of_rows(old)
    finally:
        room.drop()


def _watched(work: tuple[str, ...], environ: dict[str, str]) -> tuple[float, float, str]:
    """Seconds, the most memory that dbctl itself ever had, in MB, and what it said."""
    started, peak = time.monotonic(), 0.0
    with subprocess.Popen(
        [sys.executable, "-m", "dbctl", *work], env=environ, cwd=ROOT, stdout=subprocess.PIPE, text=True
    ) as process:
        status = Path(f"/proc/{process.pid}/status")
        while process.poll() is None:
            with suppress(OSError):
                if found := re.search(r"VmHWM:\s+(\d+) kB", status.read_text()):
                    peak = int(found[1]) / 1024
            time.sleep(0.05)
        said = process.stdout.read() if process.stdout else ""
    assert process.returncode == 0, work
    return time.monotonic() - started, peak, said


def _sum_of_rows(conninfo: ConnInfo) -> str:
    """Of all that pg_dump writes of rows, large objects and sequences, but for its own mark of each run."""
    digest = hashlib.sha256()
    major = int(execute(conninfo, "SHOW server_version_num")[0][0]) // 10000
    with subprocess.Popen(
        [find_client("pg_dump", major), "--data-only"],
        env={**os.environ, **conninfo.libpq_environment()},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    ) as process:
        assert process.stdout
        for line in process.stdout:
            if not line.startswith((b"\\restrict", b"\\unrestrict")):
                digest.update(line)
    assert process.returncode == 0
    return digest.hexdigest()
