"""kill -9 at random moments of a run: the next `up` ends where an undisturbed one does."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import statistics
import time
from pathlib import Path

import pytest

from dbctl.database import ConnInfo, open_database
from dbctl.migrate.patience import Patience
from dbctl.migrate.project import read_project
from dbctl.migrate.runner import RunOptions, up
from dbctl.migrate.site import Site
from dbctl.settings import DatabaseSettings, PoolSettings
from tests.fixtures.database import execute, made_database
from tests.migrate.conftest import quiet
from tests.migrate.runner.conftest import write_revisions

KILLS = int(os.environ.get("DBCTL_KILLS", "50"))
REVISIONS = 20
PLAIN = """
op.create_table("t{n}", sa.Column("id", sa.Integer, primary_key=True), sa.Column("n", sa.Integer))
op.execute("INSERT INTO t{n} SELECT i, i FROM generate_series(1, 300) i")
op.execute("INSERT INTO log VALUES ('{n} plain')")
"""
# Nothing in it is idempotent: what runs twice, or not at all, shows in the log, in n, or as an error.
COMMITTING = """
op.create_table("t{n}", sa.Column("id", sa.Integer), sa.Column("n", sa.Integer))
op.execute("INSERT INTO t{n} SELECT i, i FROM generate_series(1, 3000) i")
with op.get_context().autocommit_block():
    op.execute("INSERT INTO log VALUES ('{n} one')")
    op.create_index("ix_t{n}", "t{n}", ["n"], postgresql_concurrently=True)
    op.execute("UPDATE t{n} SET n = n + 1")
    op.drop_index("ix_t{n}", "t{n}", postgresql_concurrently=True)
    op.create_index("ux_t{n}", "t{n}", ["id"], unique=True, postgresql_concurrently=True)
op.execute("INSERT INTO log VALUES ('{n} two')")
op.execute("ALTER TABLE t{n} ADD CONSTRAINT t{n}_pkey PRIMARY KEY USING INDEX ux_t{n}")
op.get_bind().execute(sa.text("UPDATE log SET what = what || :mark WHERE what LIKE :who"), {{"mark": "!", "who": "{n} %"}})
"""
STATE = (
    (
        "SELECT table_name, column_name, data_type, is_nullable FROM information_schema.columns"
        " WHERE table_schema = 'public' AND table_name <> 'dbctl_history' ORDER BY 1, 2"
    ),
    (
        "SELECT pg_get_indexdef(indexrelid), indisvalid FROM pg_index i JOIN pg_class c ON c.oid = indrelid"
        " WHERE relnamespace = 'public'::regnamespace AND relname <> 'dbctl_history' ORDER BY 1"
    ),
    "SELECT what FROM log ORDER BY 1",
    "SELECT version_num FROM alembic_version",
    (
        "SELECT sum((xpath('/row/s/text()', query_to_xml('SELECT coalesce(sum(n), 0) AS s FROM ' || oid::regclass, true, true, '')))[1]::text::int8)"
        " FROM pg_class WHERE relname ~ '^t[0-9]+$' AND relkind = 'r'"
    ),
)


def run(conninfo: ConnInfo, ini: Path) -> None:
    """One `up`, in a process that may be killed."""

    async def work() -> None:
        async with open_database(conninfo, DatabaseSettings(), PoolSettings()) as database:
            site = Site(read_project(ini), database, conninfo)
            patience = Patience(retry_budget_seconds=60)
            options = RunOptions(patience=patience, history=True)
            await up(site, progress=quiet, wait_seconds=30, options=options)

    asyncio.run(work())


def fork(conninfo: ConnInfo, ini: Path, folder: Path) -> int:
    """A child that runs; its pid."""
    child = os.fork()
    if not child:
        os.dup2(os.open(folder / "said", os.O_CREAT | os.O_WRONLY | os.O_TRUNC), 2)
        code = 1
        try:
            run(conninfo, ini)
            code = 0
        except BaseException as error:  # noqa: BLE001 - the parent shows it
            os.write(2, repr(error).encode())
        os._exit(code)
    return child


def state(conninfo: ConnInfo) -> list[object]:
    return [execute(conninfo, query) for query in STATE]


@pytest.mark.benchmark
def test_the_next_up_ends_where_an_undisturbed_one_does(server: ConnInfo, tmp_path: Path) -> None:
    bodies = {f"r{n:02}": (COMMITTING if n % 2 else PLAIN).format(n=n) for n in range(1, REVISIONS)}
    ini = write_revisions(tmp_path / "p", r00="op.execute('CREATE TABLE log (what text)')", **bodies)
    with made_database(server) as conninfo:
        times = []
        for again in range(2):
            if again:
                execute(conninfo, "DROP SCHEMA public CASCADE", "CREATE SCHEMA public")
            started = time.monotonic()
            assert os.waitstatus_to_exitcode(os.waitpid(fork(conninfo, ini, tmp_path), 0)[1]) == 0, (
                tmp_path / "said"
            ).read_text()
            times.append(time.monotonic() - started)
        expected = state(conninfo)
    seconds, resumed = min(times), 0
    dice = random.Random(20261123)
    waits = []
    for number in range(KILLS):
        with made_database(server) as conninfo:
            child = fork(conninfo, ini, tmp_path)
            time.sleep(dice.uniform(0.02, seconds))
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            half = execute(conninfo, "SELECT to_regclass('dbctl_steps') IS NOT NULL")[0][0]
            started = time.monotonic()
            code = os.waitstatus_to_exitcode(os.waitpid(fork(conninfo, ini, tmp_path), 0)[1])
            waits.append(time.monotonic() - started)
            assert code == 0, (number, (tmp_path / "said").read_text())
            assert state(conninfo) == expected, number
            resumed += half
    print(
        f"\n{KILLS} kills of a run of {seconds:.1f} s: {KILLS} times at head with the same catalog and rows;"
        f" {resumed} times within a revision that had committed; the next up took {statistics.median(waits):.1f} s"
    )
