"""A revision that does not get its locks lets the application through, and comes back."""

from __future__ import annotations

import asyncio
import time
from contextlib import asynccontextmanager, closing
from dataclasses import replace

import psycopg2
import pytest
from sqlalchemy import text

from dbctl.cli.output.views.migrate_events import line
from dbctl.database import ConnInfo, open_database
from dbctl.errors import Busy, MigrationFailed
from dbctl.migrate.model import Building, Event, Retrying, Step, Stopping, Waiting
from dbctl.migrate.patience import Kind, Patience, kind_of
from dbctl.migrate.project import read_project
from dbctl.migrate.runner import RunOptions, up
from dbctl.migrate.site import Site
from dbctl.migrate.status import read_status
from dbctl.postgres.scratch import scratch_server
from dbctl.settings import DatabaseSettings, PoolSettings
from tests.fixtures.database import execute, psycopg2_arguments
from tests.migrate.conftest import quiet, tables
from tests.migrate.runner.conftest import write_revisions

IMPATIENT = Patience(lock_seconds=0.7, retry_budget_seconds=30)


@asynccontextmanager
async def held(here, *statements):
    """A transaction of somebody else that holds what these statements lock."""
    async with here.database.session() as session:
        for statement in statements:
            await session.execute(text(statement))
        yield session


async def until(heard, kind, seconds=20.0):
    deadline = time.monotonic() + seconds
    while not any(isinstance(one, kind) for one in heard):
        assert time.monotonic() < deadline, heard
        await asyncio.sleep(0.05)


@pytest.mark.parametrize("driver", ["sync_template", "async_template"])
async def test_a_revision_is_tried_again_until_the_lock_is_free_and_names_who_has_it(project, driver):
    here = project(
        driver,
        a="op.execute('CREATE TABLE t (n int)'); op.execute('CREATE TABLE u (n int)')",
        b="op.execute('INSERT INTO u VALUES (1)'); op.execute('ALTER TABLE t ADD COLUMN m int')",
        c="op.execute('INSERT INTO u VALUES (2)')",
    )
    await up(here, "a", progress=quiet)
    heard: list[Event] = []
    told: list[Step] = []
    async with held(here, "SELECT 'secret' AS word, count(*) FROM t"):
        options = RunOptions(patience=IMPATIENT, hear=heard.append)
        running = asyncio.create_task(up(here, "+2", progress=told.append, options=options))
        await until(heard, Waiting)
        await until(heard, Retrying)
        assert tables(here.address) == {"t", "u"}
    ran = await running
    assert [one.revision for one in ran.applied] == ["b", "c"]
    assert ran.applied[0].retries >= 1
    assert ran.applied[0].locked_seconds < 1.5
    assert ran.before == ("a",)
    # Rolled back each time, done once; and each revision was announced once.
    assert execute(here.address, "SELECT n FROM u ORDER BY n") == [(1,), (2,)]
    assert [step.revision for step in told] == ["b", "c"]
    waiting = next(one for one in heard if isinstance(one, Waiting))
    (blocker,) = waiting.blockers
    assert (waiting.revision, blocker.state) == ("b", "idle in transaction")
    assert blocker.query == "SELECT ? AS word, count(*) FROM t"
    retrying = next(one for one in heard if isinstance(one, Retrying))
    assert (retrying.revision, retrying.attempt, retrying.reason) == ("b", 1, "lock timeout")


@pytest.mark.parametrize(
    "sql",
    [
        "SET lock_timeout = 0; ALTER TABLE t ADD COLUMN m int; SELECT 1",
        "DO $$ BEGIN SET lock_timeout = 0; ALTER TABLE t ADD COLUMN m int; END $$",
    ],
)
async def test_a_text_that_sets_its_own_lock_timeout_waits_no_longer_than_others(project, sql):
    here = project(a="op.execute('CREATE TABLE t (n int)')", b=f"op.execute('{sql}')")
    await up(here, "a", progress=quiet)
    heard: list[Event] = []
    async with held(here, "SELECT * FROM t"):
        options = RunOptions(patience=IMPATIENT, hear=heard.append)
        running = asyncio.create_task(up(here, progress=quiet, options=options))
        await until(heard, Retrying)
    ran = await running
    assert ran.applied[0].retries >= 1
    retrying = next(one for one in heard if isinstance(one, Retrying))
    assert retrying.reason == "lock timeout"


async def test_when_the_budget_is_spent_it_is_busy_and_says_who_was_in_the_way(project):
    here = project(a="op.execute('CREATE TABLE t (n int)')", b="op.execute('DROP TABLE t')")
    await up(here, "a", progress=quiet)
    async with held(here, "SELECT * FROM t"):
        with pytest.raises(
            Busy, match=r"lock timeout.*the database is at a; blocked by pid \d+ \(.*idle in trans"
        ):
            await up(
                here, progress=quiet, options=RunOptions(patience=replace(IMPATIENT, retry_budget_seconds=2))
            )
    assert (await read_status(here)).current == ("a",)


async def test_a_retry_of_what_committed_in_between_goes_on_and_does_nothing_twice(project):
    here = project(
        a="op.execute('CREATE TABLE t (n int)'); op.execute('CREATE TABLE u (n int)')",
        b="""
        op.execute("INSERT INTO u VALUES (1)")
        with op.get_context().autocommit_block():
            op.execute("INSERT INTO u VALUES (2)")
        op.execute("INSERT INTO u VALUES (3)")
        op.execute("ALTER TABLE t ADD COLUMN m int")
        """,
    )
    await up(here, "a", progress=quiet)
    heard: list[Event] = []
    async with held(here, "SELECT * FROM t"):
        running = asyncio.create_task(
            up(here, progress=quiet, options=RunOptions(patience=IMPATIENT, hear=heard.append))
        )
        await until(heard, Retrying)
    await running
    assert execute(here.address, "SELECT n FROM u ORDER BY n") == [(1,), (2,), (3,)]
    assert tables(here.address) == {"t", "u"}


async def test_an_error_that_is_no_lock_is_not_tried_again(project):
    here = project(a="(HERE / f'{len(list(HERE.iterdir()))}.ran').touch(); op.execute('SELECT 1/0')")
    with pytest.raises(MigrationFailed, match="division by zero"):
        await up(here, progress=quiet, options=RunOptions(patience=IMPATIENT))
    assert len(list(here.project.config.parent.glob("*.ran"))) == 1


async def test_a_concurrent_index_waits_longer_than_ddl_and_shows_how_far_it_is(project):
    here = project(
        a="op.execute('CREATE TABLE t (n int)'); op.execute('INSERT INTO t SELECT generate_series(1, 1000)')",
        b="""
        with op.get_context().autocommit_block():
            op.create_index("ix_t", "t", ["n"], postgresql_concurrently=True)
        """,
    )
    await up(here, "a", progress=quiet)
    heard: list[Event] = []
    async with held(here, "LOCK TABLE t IN ROW EXCLUSIVE MODE"):
        running = asyncio.create_task(
            up(here, progress=quiet, options=RunOptions(patience=IMPATIENT, hear=heard.append))
        )
        await until(heard, Building)
        await asyncio.sleep(1)
        assert not running.done()
    ran = await running
    assert ran.applied[0].retries == 0
    building = next(one for one in heard if isinstance(one, Building))
    assert (building.revision, building.table) == ("b", "t")
    assert building.phase.startswith("waiting for writers")
    assert building.waits_for is not None
    assert building.waits_for.state == "idle in transaction"


async def test_ctrl_c_while_it_backs_off_ends_it_at_once(project):
    here = project(a="op.execute('CREATE TABLE t (n int)')", b="op.execute('DROP TABLE t')")
    await up(here, "a", progress=quiet)
    heard: list[Event] = []
    async with held(here, "SELECT * FROM t"):
        running = asyncio.create_task(
            up(here, progress=quiet, options=RunOptions(patience=IMPATIENT, hear=heard.append))
        )
        await until(heard, Retrying)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asyncio.wait_for(running, 60)
    assert execute(here.address, "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'") == [(0,)]


async def test_each_statement_has_the_limits_of_its_kind(project):
    look = "op.execute(\"INSERT INTO seen VALUES (current_setting('lock_timeout'), current_setting('statement_timeout'))\")"
    here = project(
        a="op.execute('CREATE TABLE seen (l text, s text)'); op.execute('CREATE TABLE t (n int)')",
        b=f"{look}; op.execute('ALTER TABLE t ADD COLUMN m int'); op.execute('SET statement_timeout = 7'); {look}",
        c="with op.get_context().autocommit_block():\n"
        '    op.execute("REINDEX (VERBOSE) TABLE CONCURRENTLY t")\n'
        f"    {look}",
    )
    patience = Patience(
        lock_seconds=1, data_lock_seconds=9, ddl_seconds=60, data_seconds=120, concurrent_seconds=180
    )
    await up(here, progress=quiet, options=RunOptions(patience=patience))
    assert execute(here.address, "SELECT l, s FROM seen") == [("9s", "2min"), ("1s", "2min"), ("9s", "2min")]


@pytest.mark.parametrize(
    ("sql", "kind"),
    [
        ("ALTER TABLE t ADD COLUMN n int", Kind.BLOCKING),
        ("/* select */ CREATE INDEX i ON t (concurrently)", Kind.BLOCKING),
        ("CREATE INDEX CONCURRENTLY i ON t (n)", Kind.CONCURRENT),
        ("ALTER TABLE t VALIDATE CONSTRAINT c", Kind.CONCURRENT),
        ("ALTER TABLE t VALIDATE CONSTRAINT c, ADD COLUMN n int", Kind.BLOCKING),
        ("VACUUM t", Kind.CONCURRENT),
        ("VACUUM FULL t", Kind.BLOCKING),
        ("INSERT INTO t SELECT 'concurrently'", Kind.DATA),
        ("INSERT INTO t VALUES (1); DROP TABLE t", Kind.BLOCKING),
        ("UPDATE t SET n = $1; DELETE FROM t", Kind.DATA),
        ("SET search_path = a", Kind.SESSION),
        ("this is; no SQL", Kind.BLOCKING),
    ],
)
def test_what_a_statement_is_to_others(sql, kind):
    assert kind_of(sql) is kind


async def test_who_stops_a_run_in_its_python_code_is_told_what_it_waits_for(project):
    here = project(
        a="import time\n(HERE / 'here').touch()\nwhile not (HERE / 'go').exists(): time.sleep(0.05)"
    )
    folder = here.project.config.parent
    heard: list[Event] = []
    running = asyncio.create_task(up(here, progress=quiet, options=RunOptions(hear=heard.append)))
    while not (folder / "here").exists():
        await asyncio.sleep(0.05)
    running.cancel()
    await until(heard, Stopping)
    (folder / "go").touch()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert [line(one) for one in heard] == [
        "stopping: waits for the Python code of a to come to its next statement"
    ]


async def test_a_prepared_transaction_that_is_in_the_way_is_told_with_what_ends_it(tmp_path):
    ini = write_revisions(tmp_path / "p", a="op.execute('ALTER TABLE t ADD COLUMN m int')")
    with scratch_server(options={"max_prepared_transactions": "2"}) as server:
        address = ConnInfo(server.params)
        execute(address, "CREATE TABLE t (n int)")
        with closing(psycopg2.connect(**psycopg2_arguments(address))) as other:
            other.cursor().execute("BEGIN; INSERT INTO t VALUES (1); PREPARE TRANSACTION 'x'")
        async with open_database(address, DatabaseSettings(), PoolSettings()) as database:
            here = Site(read_project(ini), database, address)
            with pytest.raises(Busy, match=r"blocked by a prepared transaction, which COMMIT PREPARED or"):
                await up(
                    here,
                    progress=quiet,
                    options=RunOptions(patience=replace(IMPATIENT, retry_budget_seconds=0)),
                )
