"""What `health --watch` takes from a database at work: pgbench's transactions per second with and without it."""

from __future__ import annotations

import os
import re
import statistics
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from dbctl.database import ConnInfo
from tests.benchmarks.test_plan_load import NICENESS, ahead, database, with_pgbench
from tests.fixtures.cli import url_of
from tests.fixtures.database import ROOT

pytestmark = pytest.mark.benchmark

SCALE, CLIENTS, SECONDS, PAIRS, LIMIT = 10, 20, 10, 7, 0.99


@contextmanager
def watching(conninfo: ConnInfo) -> Iterator[None]:
    """The watch looks every second; its own work, which is done elsewhere than the database's, waits for the latter."""
    command = [
        "nice",
        "-n",
        str(NICENESS),
        sys.executable,
        "-m",
        "dbctl",
        "health",
        "--watch",
        "--interval",
        "1s",
    ]
    environ = {**os.environ, "DATABASE_URL": url_of(conninfo)}
    with subprocess.Popen(command, cwd=ROOT, env=environ, stdout=subprocess.DEVNULL) as process:
        try:
            yield
        finally:
            process.terminate()


def throughput(conninfo: ConnInfo, pgbench: Path) -> float:
    """Transactions per second."""
    environ = {**os.environ, **conninfo.libpq_environment()}
    command = [str(pgbench), "-n", "-c", str(CLIENTS), "-j", "2", "-T", str(SECONDS)]
    ran = subprocess.run(command, check=True, capture_output=True, text=True, env=environ)
    found = re.search(r"tps = ([\d.]+)", ran.stdout)
    assert found, ran.stdout
    return float(found[1])


def test_a_watch_every_second_slows_the_database_by_less_than_a_hundredth():
    binaries, pgbench = with_pgbench()
    ratios = []
    with database(binaries, pgbench, SCALE) as conninfo, ahead():
        throughput(conninfo, pgbench)
        for _ in range(PAIRS):
            without = throughput(conninfo, pgbench)
            with watching(conninfo):
                ratios.append(throughput(conninfo, pgbench) / without)
    ratio = statistics.median(ratios)
    print(
        f"\ntransactions with / without a watch: {ratio:.3f} ({[f'{one:.2f}' for one in ratios]}), limit {LIMIT}"
    )
    assert ratio >= LIMIT
