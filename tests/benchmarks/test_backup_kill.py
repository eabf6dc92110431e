"""kill -9 at random moments of a backup, and the whole circle on a database of some size."""

from __future__ import annotations

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
from dbctl.backup.model import Request, Status
from dbctl.backup.verify import verify_bytes
from dbctl.database import ConnInfo
from tests.backup.conftest import VARIETY, room_on
from tests.backup.test_proof import RICH, prove
from tests.backup.test_restore import dump_text
from tests.fixtures.cli import url_of
from tests.fixtures.database import ROOT, execute, made_database

KILLS = int(os.environ.get("DBCTL_KILLS", "50"))
MEGABYTES = int(os.environ.get("DBCTL_TEST_CIRCLE_MB", "2048"))
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
    killed = 0
    for number in range(KILLS):
        work = WORKS[number % len(WORKS)]
        process = subprocess.Popen([*run, *work, "-q"], env=environ, cwd=ROOT, stderr=subprocess.DEVNULL)
        time.sleep(random.uniform(0.2, 2.5))
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
    print(f"\nkilled {killed} of {KILLS} runs: {len(folder.backups())} backups, every byte as it was")
    assert killed


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
async def test_the_whole_circle(rich: ConnInfo, tmp_path: Path) -> None:
    """Dump, prove, restore; then pg_dump of both, compared as text, table by table in their own order."""
    rows = MEGABYTES * 2200
    execute(
        rich,
        f"""CREATE TABLE bulk AS SELECT n, now() - n * interval '1 s' AS at, repeat(md5(n::text), 13) AS text
              FROM generate_series(1, {rows}) AS n""",
        "ALTER TABLE bulk ADD PRIMARY KEY (n)",
        "SELECT lo_from_bytea(0, decode(repeat(md5(n::text), 2000), 'hex')) FROM generate_series(1, 500) AS n",
    )
    room = room_on(rich, tmp_path)
    before = plain(dump_text(rich, "--schema-only"))
    started = time.monotonic()
    made = await room.backup(request=Request(digests=True))
    dumped = time.monotonic()
    assert (await prove(room, made)).problem == ""
    proven = time.monotonic()
    done = await room.restore(made)
    restored = time.monotonic()
    try:
        assert plain(dump_text(rich, "--schema-only")) == before
        old = rich.with_database(done.kept or "")
        for table in ("bulk", "odd", "plain", "measured_2025"):
            hashed = f"SELECT count(*), sum(hashtextextended(format('%L', t.*), 0)) FROM {table} AS t"
            assert execute(rich, hashed) == execute(old, hashed), table
        objects = "SELECT oid, md5(lo_get(oid)) FROM pg_largeobject_metadata ORDER BY 1"
        assert execute(rich, objects) == execute(old, objects)
    finally:
        room.drop()
    size = made.manifest.facts.size_bytes / 2**20 if made.manifest else 0
    print(
        f"\n{size:.0f} MB: dumped with digests in {dumped - started:.1f} s, proven in {proven - dumped:.1f} s,"
        f" restored and swapped in {restored - proven:.1f} s"
    )
