"""A million rows filled while clients write to them: the longest write any client saw, against one UPDATE for all."""

from __future__ import annotations

import random
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import psycopg2
import pytest

from dbctl.database import ConnInfo
from tests.fixtures.cli import AsProcess, url_of
from tests.fixtures.database import execute, psycopg2_arguments
from tests.migrate.plan.conftest import stamp, write_project

ROWS = 1_000_000
CLIENTS = 4
WRITES_PER_SECOND = 25
BODY = """
from dbctl.migrate import backfill
backfill(op, "t", set={"n": sa.column("n") + 1}, batch_seconds=0.2)
"""


class Clients:
    """Sessions that write to random rows at a steady rate, and how long each write took."""

    def __init__(self, conninfo: ConnInfo) -> None:
        self.seconds: list[float] = []
        self.failed = 0
        self._conninfo = conninfo
        self._stop = threading.Event()

    @contextmanager
    def at_work(self) -> Iterator[None]:
        threads = [threading.Thread(target=self._write, args=(number,)) for number in range(CLIENTS)]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            self._stop.set()
            for thread in threads:
                thread.join()

    def _write(self, number: int) -> None:
        chance = random.Random(number)
        with closing(psycopg2.connect(**psycopg2_arguments(self._conninfo))) as connection:
            connection.autocommit = True
            with connection.cursor() as cursor:
                while not self._stop.wait(1 / WRITES_PER_SECOND):
                    started = time.monotonic()
                    try:
                        cursor.execute(
                            "UPDATE t SET writes = writes + 1 WHERE id = %s", (chance.randint(1, ROWS),)
                        )
                    except psycopg2.Error:
                        self.failed += 1
                    self.seconds.append(time.monotonic() - started)


def fresh(conninfo: ConnInfo) -> None:
    """The table as it is before either way."""
    execute(
        conninfo,
        "DROP TABLE IF EXISTS t",
        f"CREATE TABLE t AS SELECT g AS id, 0 AS n, 0 AS writes, repeat('x', 40) AS filler "
        f"FROM generate_series(1, {ROWS}) g",
        "ALTER TABLE t ADD PRIMARY KEY (id)",
        "VACUUM ANALYZE t",
        "CHECKPOINT",
    )


def measured(name: str, conninfo: ConnInfo, work: Callable[[], object]) -> float:
    """The longest write while ``work`` went on."""
    fresh(conninfo)
    clients = Clients(conninfo)
    started = time.monotonic()
    with clients.at_work():
        work()
        took = time.monotonic() - started
    assert clients.failed == 0
    assert execute(conninfo, "SELECT n, count(*) FROM t GROUP BY n") == [(1, ROWS)]
    longest = max(clients.seconds)
    print(f"\n{name}: {took:.1f} s, {len(clients.seconds)} writes, longest {longest * 1000:.0f} ms")
    return longest


@pytest.mark.benchmark
def test_clients_hardly_notice_a_backfill(empty_conninfo: ConnInfo, tmp_path: Path) -> None:
    """By `migrate up`, killed twice on the way with SIGKILL: every row is changed once, and no write waits long."""
    stamp(empty_conninfo)
    ini = write_project(tmp_path / "project", BODY)
    dbctl = AsProcess(tmp_path, {"DATABASE_URL": url_of(empty_conninfo)})
    arguments = ("migrate", "up", "--config", str(ini), "--wait", "30")

    def walked() -> int:
        if not execute(empty_conninfo, "SELECT to_regclass('dbctl_backfills')")[0][0]:
            return 0
        return next(iter(execute(empty_conninfo, "SELECT walked_rows FROM dbctl_backfills")), (0,))[0]

    def backfilled() -> None:
        for goal in (ROWS // 4, ROWS // 2):
            with dbctl.start(*arguments) as running:
                while walked() < goal and running.poll() is None:
                    time.sleep(0.02)
                running.send_signal(signal.SIGKILL)
                running.communicate(timeout=30)
            assert goal <= walked() < ROWS
        done = dbctl(*arguments)
        assert done.code == 0, done.stderr

    ours = measured("backfill, killed twice", empty_conninfo, backfilled)
    plain = measured("one UPDATE", empty_conninfo, lambda: execute(empty_conninfo, "UPDATE t SET n = n + 1"))
    print(f"longest write, backfill / one UPDATE: {ours / plain:.3f}")
    assert ours < plain / 2
