"""Health against what it replaces, and what can't be beaten: check_postgres, and a bare script that says SELECT 1."""

from __future__ import annotations

import os
import shutil
import statistics
import subprocess
import sys
import time
from pathlib import Path

import pytest

from dbctl.database import ConnInfo
from tests.benchmarks.measure import Command, Conditions, ratio
from tests.fixtures.cli import url_of

pytestmark = pytest.mark.benchmark
DBCTL = Path(sys.executable).parent / "dbctl"
BARE = """
import asyncio, sys
from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine

async def main():
    engine = create_async_engine(sys.argv[1])
    async with engine.connect() as connection:
        await connection.execute(text("SELECT 1"))
    await engine.dispose()

asyncio.run(main())
"""
# What check_postgres answers of the same: an action a process, as Nagios runs it.
ACTIONS = (
    ("connection",),
    ("backends",),
    ("txn_idle", "--warning=300"),
    ("txn_time", "--warning=3600"),
    ("query_time", "--warning=3600"),
    ("locks",),
    ("lockwait", "--warning=1min", "--critical=2min"),
    ("archive_ready", "--warning=10", "--critical=20"),
    ("version", "--warning=1.0"),
    ("txn_wraparound",),
    ("autovac_freeze",),
    ("sequence",),
    ("bloat",),
    ("last_vacuum", "--warning=365d", "--critical=730d"),
    ("last_analyze", "--warning=365d", "--critical=730d"),
    ("prepared_txns",),
    ("replication_slots", "--warning=1GB", "--critical=2GB"),
    ("disabled_triggers",),
    ("hitratio", "--warning=1%"),
    ("commitratio", "--warning=1%"),
    ("timesync", "--warning=60"),
    ("wal_files", "--warning=1000", "--critical=2000"),
    ("settings_checksum", "--warning=0"),
)
RUNS = 5


def test_a_probe_costs_at_most_a_fifth_more_than_a_bare_select(project, conninfo):
    url = url_of(conninfo)
    env = {"DATABASE_URL": url, "PYTHONPATH": os.pathsep.join(sys.path)}
    bare: Command = [sys.executable, "-c", BARE, url.replace("postgresql", "postgresql+asyncpg", 1)]
    probe: Command = [DBCTL, "health", "--profile", "probe"]
    assert ratio("dbctl health --profile probe / SELECT 1", probe, bare, Conditions(project, env)) <= 1.2


def test_all_checks_take_at_most_a_quarter_of_check_postgres(project, conninfo):
    program = shutil.which("check_postgres")
    if program is None:
        pytest.skip("no check_postgres here")
    url = url_of(conninfo)
    env = {"DATABASE_URL": url, "PYTHONPATH": os.pathsep.join(sys.path)}
    bare: Command = [sys.executable, "-c", BARE, url.replace("postgresql", "postgresql+asyncpg", 1)]
    rounds = [
        (_ours([DBCTL, "health"], project, env), _ours(bare, project, env), _theirs(program, conninfo))
        for _ in range(RUNS)
    ]
    found, floor = (statistics.median(each[of] / each[2] for each in rounds) for of in (0, 1))
    ours, least, theirs = (statistics.median(times) for times in zip(*rounds, strict=True))
    print(f"\ndbctl health / {len(ACTIONS)} of check_postgres: {found:.3f} ({ours:.2f} / {theirs:.2f} s)")
    print(f"a bare SELECT 1 through SQLAlchemy, below which nothing gets: {floor:.3f} ({least:.2f} s)")
    assert found <= 0.25


def _ours(command: Command, project: Path, env: dict[str, str]) -> float:
    started = time.perf_counter()
    done = subprocess.run(command, cwd=project, env={**os.environ, **env}, capture_output=True, check=False)
    assert done.returncode in (0, 1), done.stderr
    return time.perf_counter() - started


def _theirs(program: str, conninfo: ConnInfo) -> float:
    place = [f"--host={conninfo.host}", f"--port={conninfo.port}"]
    who = [f"--dbname={conninfo.database}", f"--dbuser={conninfo.role}"]
    started = time.perf_counter()
    for action in ACTIONS:
        subprocess.run(
            [program, f"--action={action[0]}", *action[1:], *place, *who], capture_output=True, check=False
        )
    return time.perf_counter() - started
