"""What the application feels: a column is added while a report holds its table, by plain Alembic and by us."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from dbctl.database import ConnInfo
from tests.benchmarks.test_migrate_speed import ENV_PY
from tests.fixtures.cli import url_of
from tests.fixtures.database import ROOT, execute, made_database
from tests.migrate.runner.conftest import write_revisions

CLIENTS = 20
HELD_SECONDS = float(os.environ.get("DBCTL_HELD", "30"))
PAUSE_SECONDS = 0.05
# What an application waits for an answer before it shows its user an error.
PATIENCE_SECONDS = 10.0
LOCK_TIMEOUT_SECONDS = 2.0
BAR = 60


@dataclass
class Felt:
    """What the clients felt: when each query began, how long it took; how many failed."""

    taken: list[tuple[float, float]] = field(default_factory=list)
    failed: int = 0

    @property
    def longest(self) -> float:
        return max(seconds for _, seconds in self.taken)

    def plot(self, name: str, seconds: float) -> str:
        """The longest stall of each moment, as a line of blocks over the time."""
        worst = [0.0] * BAR
        for at, took in self.taken:
            first, last = (min(int(moment / seconds * BAR), BAR - 1) for moment in (at, at + took))
            for place in range(first, last + 1):
                worst[place] = max(worst[place], took)
        steps = (0.1, 0.5, 1, 2.5, 5, 10)
        return f"{name:>8} |{''.join(' ▁▂▄▆▇█'[sum(one > step for step in steps)] for one in worst)}|"


async def _client(conninfo: ConnInfo, number: int, felt: Felt, began: float, over: asyncio.Event) -> None:
    connection = await asyncpg.connect(**conninfo.asyncpg_arguments(), password="")
    try:
        while not over.is_set():
            started = time.monotonic()
            try:
                if number % 2:
                    await connection.fetch("SELECT * FROM t WHERE id = $1", number, timeout=PATIENCE_SECONDS)
                else:
                    update = "UPDATE t SET n = n + 1 WHERE id = $1"
                    await connection.execute(update, number, timeout=PATIENCE_SECONDS)
            except (TimeoutError, asyncpg.PostgresError):
                felt.failed += 1
            felt.taken.append((started - began, time.monotonic() - started))
            await asyncio.sleep(PAUSE_SECONDS)
    finally:
        await connection.close()


@asynccontextmanager
async def _load(conninfo: ConnInfo, felt: Felt) -> AsyncIterator[None]:
    over, began = asyncio.Event(), time.monotonic()
    clients = [asyncio.create_task(_client(conninfo, n, felt, began, over)) for n in range(CLIENTS)]
    try:
        yield
    finally:
        over.set()
        await asyncio.gather(*clients)


async def _measured(conninfo: ConnInfo, command: list[str]) -> tuple[Felt, float, int]:
    """Twenty clients at work, a report in its transaction, and then the command."""
    felt = Felt()
    environ = {**os.environ, "DATABASE_URL": url_of(conninfo), "PYTHONPATH": str(ROOT)}
    report: Any = await asyncpg.connect(**conninfo.asyncpg_arguments(), password="")
    async with _load(conninfo, felt):
        started = time.monotonic()
        await report.execute("BEGIN")
        await report.fetch("SELECT count(*) FROM t")
        running = await asyncio.create_subprocess_exec(
            *command, env=environ, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        await asyncio.sleep(HELD_SECONDS)
        await report.execute("COMMIT")
        code = await running.wait()
        total = time.monotonic() - started
        await asyncio.sleep(0.5)
    await report.close()
    return felt, total, code


@pytest.mark.benchmark
def test_a_column_is_added_while_somebody_holds_the_table(server: ConnInfo, tmp_path: Path) -> None:
    ini = write_revisions(tmp_path / "p", a="op.execute('ALTER TABLE t ADD COLUMN m int')")
    (tmp_path / "p" / "migrations" / "env.py").write_text(ENV_PY)
    tools = {
        "alembic": [sys.executable, "-m", "alembic", "-c", str(ini), "upgrade", "head"],
        "dbctl": [sys.executable, "-m", "dbctl", "migrate", "up", "--no-plan", "--config", str(ini)],
    }
    found = {}
    for name, command in tools.items():
        with made_database(server) as conninfo:
            execute(
                conninfo,
                "CREATE TABLE t (id int PRIMARY KEY, n int)",
                "INSERT INTO t SELECT i, 0 FROM generate_series(0, 999) i",
            )
            felt, total, code = asyncio.run(_measured(conninfo, command))
            assert code == 0
            assert execute(conninfo, "SELECT count(m) FROM t") == [(0,)]
            found[name] = felt, total
    longest = max(total for _, total in found.values())
    print(f"\nlongest stall of {CLIENTS} clients over {longest:.0f} s, a lock held for {HELD_SECONDS:.0f} s:")
    for name, (felt, _) in found.items():
        print(felt.plot(name, longest))
    for name, (felt, total) in found.items():
        print(
            f"{name:>8}: longest stall {felt.longest:.2f} s, {felt.failed} failed queries, done after {total:.1f} s"
        )
    ours, theirs = found["dbctl"][0], found["alembic"][0]
    print(f"stall: {ours.longest / theirs.longest:.2f} of plain alembic's")
    assert ours.longest <= LOCK_TIMEOUT_SECONDS + 0.5
    assert ours.failed == 0
