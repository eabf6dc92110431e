"""Runs go to their target, leave nothing half done, and say what they leave."""

from __future__ import annotations

import asyncio
import shutil
from dataclasses import replace

import pytest

from dbctl.errors import Busy, ConnectionLost, Failed, MigrationFailed, Refused, SettingsError, UsageError
from dbctl.migrate.model import Direction, Step
from dbctl.migrate.project import read_project
from dbctl.migrate.runner import LOCK, down, stamp, up
from dbctl.migrate.status import read_status
from dbctl.postgres.locks import advisory_lock
from tests.fixtures.database import ROOT, execute
from tests.migrate.conftest import PROJECTS, quiet, tables


@pytest.mark.parametrize("name", ["sync_template", "async_template", "concurrently"])
async def test_up_and_down_work_with_either_template_and_concurrently_under_our_lock(site, name):
    here = site(name)
    ran = await up(here, progress=quiet)
    assert [step.revision for step in ran.applied] == ["a1", "b2", "c3"][: len(ran.applied)]
    assert ran.before == ()
    assert ran.after == (ran.applied[-1].revision,)
    assert all(step.duration_seconds > 0 for step in ran.applied)
    assert (await up(here, progress=quiet)).applied == ()
    back = await down(here, "base", progress=quiet)
    assert {step.direction for step in back.applied} == {Direction.DOWN}
    assert back.after == ()
    assert tables(here.address) == set()


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        ("heads", {"left2"}),
        ("right@head", {"right1"}),
        ("left@head", {"left2"}),
        ("right1", {"right1"}),
        ("lef", None),
    ],
)
async def test_branches_are_reached_by_label(site, target, expected):
    here = site("branches")
    if expected is None:
        with pytest.raises(UsageError, match="lef"):
            await up(here, target, progress=quiet)
        return
    assert set((await up(here, target, progress=quiet)).after) == expected


async def test_relative_and_partial_targets(site):
    here = site("concurrently")
    assert (await up(here, "+1", progress=quiet)).after == ("a1",)
    assert (await up(here, "+1", progress=quiet)).after == ("b2",)
    assert (await down(here, "-1", progress=quiet)).after == ("a1",)


async def test_several_heads_need_a_choice(site, tmp_path):
    versions = tmp_path / "versions"
    versions.mkdir()
    (tmp_path / "env.py").write_text((PROJECTS / "sync_template/migrations/env.py").read_text())
    (tmp_path / "alembic.ini").write_text("[alembic]\nscript_location = %(here)s\n")
    for name in ("a", "b"):
        (versions / f"{name}.py").write_text(
            f"revision = {name!r}\ndown_revision = None\ndef upgrade(): pass\n"
        )
    here = site("", config=tmp_path / "alembic.ini")
    with pytest.raises(UsageError, match="heads"):
        await up(here, "head", progress=quiet)
    assert set((await up(here, progress=quiet)).after) == {"a", "b"}


async def test_progress_hears_of_each_revision_before_it_runs(site):
    heard: list[Step] = []
    await up(site("sync_template"), progress=heard.append)
    assert [(step.number, step.total, step.revision, step.message) for step in heard] == [
        (1, 2, "a1", "Table a."),
        (2, 2, "b2", "Table b."),
    ]


async def test_a_revision_that_raises_is_rolled_back_and_named(site):
    here = site("raises_midway")
    with pytest.raises(MigrationFailed) as caught:
        await up(here, progress=quiet)
    error = caught.value
    assert error.message == "revision b2 failed: division by zero"
    assert "SQLSTATE 22012" in error.why
    assert "b2.py, line" in error.why
    assert "rolled back; the database is at a1" in error.why
    assert tables(here.address) == {"a"}


async def test_a_revision_that_committed_in_between_may_be_half_applied(site):
    here = site("half_applied")
    with pytest.raises(MigrationFailed) as caught:
        await up(here, progress=quiet)
    assert caught.value.message == "revision b2 failed: RuntimeError: after the commit"
    assert "half applied: statement 1 is done and noted" in caught.value.why
    assert "the database is at a1" in caught.value.why
    assert tables(here.address) == {"a", "b", "dbctl_steps"}


async def test_each_revision_is_one_transaction_even_where_env_py_opens_one_around_all(site):
    here = site("one_transaction")
    with pytest.raises(MigrationFailed, match="rolled back; the database is at a1"):
        await up(here, progress=quiet)
    assert tables(here.address) == {"a"}
    assert (await read_status(here)).current == ("a1",)


async def test_a_table_that_somebody_made_is_named(site):
    here = site("sync_template")
    execute(here.address, "CREATE TABLE b (mine text)")
    with pytest.raises(MigrationFailed, match=r'relation "b" already exists.*the database is at a1'):
        await up(here, progress=quiet)


async def test_env_py_that_sets_the_version_locations_is_followed(site):
    here = site("moved_versions")
    assert (await read_status(here)).pending[0].id == "a1"
    assert (await up(here, progress=quiet)).after == ("a1",)


async def test_no_revision_at_all_is_an_error(site):
    here = site("moved_versions")
    empty = replace(here, project=replace(here.project, script_location=ROOT / "migrations"))
    empty = replace(empty, project=replace(empty.project, version_locations=(ROOT / "configs",)))
    with pytest.raises(SettingsError, match="no revision found"):
        await up(empty, progress=quiet)


async def test_a_custom_version_table_is_used(site):
    here = site("version_schema")
    execute(here.address, "CREATE SCHEMA admin")
    before = await read_status(here)
    assert (before.version_table, before.current) == ("admin.revisions", ())
    assert tables(here.address, "admin") == set()
    assert (await up(here, progress=quiet)).after == ("a1",)
    assert (await read_status(here)).at_head


async def test_env_py_that_leads_elsewhere_is_refused_before_it_writes(site, other_conninfo):
    url = other_conninfo.psycopg2_url().render_as_string(hide_password=False)
    here = site("elsewhere", f"url={url}")
    with pytest.raises(Refused, match=r"env\.py leads to another database"):
        await up(here, progress=quiet)
    with pytest.raises(Refused, match=r"env\.py leads to another database"):
        await read_status(here)
    assert execute(other_conninfo, "SELECT count(*) FROM pg_class WHERE relname = 'alembic_version'") == [
        (0,)
    ]


async def test_a_database_ahead_of_the_code_is_refused(site):
    here = site("sync_template")
    await up(here, progress=quiet)
    execute(here.address, "UPDATE alembic_version SET version_num = 'future'")
    with pytest.raises(Refused, match="future, which this project does not have"):
        await up(here, progress=quiet)
    found = await read_status(here)
    assert (found.unknown, found.at_head) == (("future",), False)
    assert (await stamp(here, "heads", purge=True)).after == ("b2",)


async def test_stamp_records_and_runs_nothing(site):
    here = site("sync_template")
    assert (await stamp(here, "head")).after == ("b2",)
    assert tables(here.address) == set()
    assert (await stamp(here, "base")).after == ()


async def test_a_revision_without_downgrade_is_refused(site):
    here = site("no_downgrade")
    await up(here, progress=quiet)
    with pytest.raises(Refused, match="can't be undone"):
        await down(here, "base", progress=quiet)


async def test_env_py_that_fails_is_named(site):
    with pytest.raises(Failed, match=r"KeyError: 'SECRET_KEY_OF_THE_APPLICATION'.*env\.py, line 3"):
        await up(site("needs_secret"), progress=quiet)


async def test_a_second_runner_is_kept_out_and_may_wait(site):
    here = site("sync_template")
    async with here.database.connect() as holder:
        async with advisory_lock(holder, LOCK):
            with pytest.raises(Busy, match="locked by another run"):
                await up(here, progress=quiet)
            waiting = asyncio.create_task(up(here, progress=quiet, wait_seconds=30))
            await asyncio.sleep(0.3)
            assert not waiting.done()
        assert (await waiting).after == ("b2",)


async def test_a_blocked_revision_gives_up_in_time_and_says_busy(site):
    here = replace(site("concurrently"), lock_timeout_seconds=0.2)
    await up(here, "b2", progress=quiet)
    async with here.database.session() as blocker:
        from sqlalchemy import text

        await blocker.execute(text("LOCK TABLE b IN ACCESS SHARE MODE"))
        with pytest.raises(Busy, match=r"revision b2 failed: canceling statement due to lock timeout"):
            await down(here, "a1", progress=quiet)
    assert (await read_status(here)).current == ("b2",)


async def test_the_lock_timeout_is_kept_whatever_a_revision_sets(site):
    here = site("limits")
    await up(here, progress=quiet)
    rows = execute(here.address, "SELECT lock_timeout FROM seen ORDER BY n")
    assert [limit for (limit,) in rows] == ["2s", "2s", "2s", "2s", "2s"]


async def test_a_lost_connection_names_the_revision_in_flight(site):
    here = site("sleeps")
    running = asyncio.create_task(up(here, progress=quiet))
    await _asleep(here.address)
    execute(
        here.address,
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE '%pg_sleep(60)'"
        " AND pid <> pg_backend_pid()",
    )
    with pytest.raises(ConnectionLost, match="revision b2 was in flight"):
        await running
    assert tables(here.address) == {"a"}


@pytest.mark.parametrize("async_driver", [False, True])
async def test_cancelling_ends_the_statement_and_rolls_back(site, async_driver):
    here = site("sleeps")
    if async_driver:
        project = read_project(PROJECTS / "async_template" / "alembic.ini")
        here = replace(here, project=replace(project, version_locations=here.project.version_locations))
    running = asyncio.create_task(up(here, progress=quiet))
    await _asleep(here.address)
    running.cancel()
    with pytest.raises(MigrationFailed, match=r"1 revisions applied, then stopped: rolled back; .*is at a1"):
        await asyncio.wait_for(running, 60)
    assert tables(here.address) == {"a"}
    assert execute(here.address, "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'") == [(0,)]
    assert (await read_status(here)).current == ("a1",)


async def test_cancelling_what_committed_already_says_so(site):
    here = site("sleeps_in_autocommit")
    running = asyncio.create_task(up(here, progress=quiet))
    await _asleep(here.address)
    running.cancel()
    with pytest.raises(MigrationFailed, match=r"half applied: statement 1 is done and noted, .* is at a1"):
        await asyncio.wait_for(running, 60)
    assert tables(here.address) == {"a", "b", "dbctl_steps"}


async def test_an_error_that_env_py_keeps_is_not_lost(site):
    with pytest.raises(MigrationFailed, match=r"b2 failed.*env\.py kept its error.*the database is at a1"):
        await up(site("keeps_errors"), progress=quiet)


async def test_env_py_that_runs_nothing_is_an_error(site):
    for attempt in (up(site("runs_nothing"), progress=quiet), read_status(site("runs_nothing"))):
        with pytest.raises(Failed, match="ran no migrations"):
            await attempt


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('revision = "a1"\ndown_revision = None\n', "a1 is there twice"),
        ('revision = "c"\ndown_revision = "gone"\n', "builds on gone, which is not there"),
        ("def broken(:\n", "does not parse, line 1"),
    ],
)
async def test_a_broken_graph_is_named_before_anything_runs(site, tmp_path, text, words):
    copied = shutil.copytree(PROJECTS / "sync_template", tmp_path / "copied")
    (copied / "migrations" / "versions" / "c.py").write_text(text)
    here = site("", config=copied / "alembic.ini")
    with pytest.raises(SettingsError, match=words):
        await up(here, progress=quiet)
    assert tables(here.address) == set()


async def _asleep(conninfo):
    sleeping = (
        "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep' AND datname = current_database()"
    )
    for _ in range(200):
        if await asyncio.to_thread(execute, conninfo, sleeping) == [(1,)]:
            return
        await asyncio.sleep(0.05)
    raise AssertionError("nothing sleeps")
