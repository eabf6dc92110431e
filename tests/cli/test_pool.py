"""``dbctl pool``: one verdict, one exit code; and every command works behind a pooler."""

from __future__ import annotations

import asyncio

import pytest

from dbctl.database import ConnInfo, resolve_target
from dbctl.health.look import Outside
from dbctl.health.model import Status
from dbctl.health.run import Request, check_health
from dbctl.settings import load_settings
from dbctl.users.model import NewUser
from dbctl.users.repository import UserRepository
from tests.fixtures.cli import url_of
from tests.fixtures.pooler import pgbouncer
from tests.pool.conftest import running

QUICK = ("--sample", "0.3")


@pytest.fixture
def pooled(conninfo: ConnInfo):
    """A PgBouncer with two connections to the server, which knows none of the engine's settings."""
    with pgbouncer(conninfo, ignored="", default_pool_size=2) as made:
        yield made


def test_a_quiet_pool_is_exit_0_and_a_table_or_json(dbctl):
    result = dbctl("pool", *QUICK, "--format", "json")
    assert result.code == 0
    report = result.json()
    assert report["verdict"] == "fine"
    assert {"settings", "process", "sessions", "slots", "fleet", "load", "ping", "evidence", "fix"} <= set(
        report
    )
    assert report["settings"]["size"] == 5
    shown = dbctl("pool", "status", *QUICK)
    assert (shown.code, shown.stderr) == (0, "")
    assert "fine, no application runs short of connections" in shown.stdout


def test_a_leak_is_exit_1_with_what_to_do(dbctl, conninfo):
    with running(conninfo, "leak", 8):
        result = dbctl("pool", *QUICK, env={"DBCTL_POOL__LEAK_AFTER": "0.2"})
    assert result.code == 1
    assert "local: leak, web holds 8 of 10 connections" in result.stdout
    assert "next: give each back" in result.stdout


def test_pools_that_would_not_fit_are_exit_1(dbctl):
    result = dbctl("pool", *QUICK, env={"DBCTL_POOL__PROCESSES": "400"})
    assert result.code == 1
    assert "do not fit" in result.stdout


def test_a_dead_server_is_exit_4(dbctl):
    assert dbctl("pool", env={"DATABASE_URL": "postgresql://127.0.0.1:1/app"}).code == 4


def test_a_benchmark_says_what_it_takes_and_shows_each_level(dbctl):
    env = {"DBCTL_POOL__SIZE": "2", "DBCTL_POOL__MAX_OVERFLOW": "0"}
    result = dbctl("pool", "bench", "--seconds", "0.1", "--tasks", "6", "--format", "json", env=env)
    assert result.code == 0
    assert "at most 2 connections, up to 6 tasks at a time, for about 0.4 s" in result.stderr
    report = result.json()
    assert [one["tasks"] for one in report["levels"]] == [1, 2, 4, 6]
    for level in report["levels"]:
        assert level["checkouts"] > 0
        assert level["wait_p50_seconds"] <= level["wait_p95_seconds"] <= level["wait_p99_seconds"]
        assert level["errors"] == {}
    assert report["enough_tasks"] in (1, 2, 4, 6)


def test_a_checkout_that_gets_nothing_is_counted_as_an_error(dbctl):
    env = {"DBCTL_POOL__SIZE": "1", "DBCTL_POOL__MAX_OVERFLOW": "0", "DBCTL_POOL__TIMEOUT": "1ms"}
    result = dbctl("pool", "bench", "--seconds", "0.1", "--tasks", "8", "--format", "json", env=env)
    assert result.code == 0
    assert result.json()["levels"][-1]["errors"]["busy"] > 0


def test_a_benchmark_is_refused_where_it_could_harm(dbctl):
    protected = dbctl("pool", "bench", env={"DBCTL_PROTECTED": "true"})
    assert protected.code == 3
    assert "protected" in protected.stderr
    greedy = dbctl("pool", "bench", env={"DBCTL_POOL__SIZE": "900"})
    assert greedy.code == 3
    assert "the server has" in greedy.stderr


def test_the_poolers_own_report(dbctl, conninfo, pooled):
    env = {"DATABASE_URL": url_of(pooled), "DBCTL_DATABASE__DIRECT_URL": url_of(conninfo)}
    wrong = dbctl("pool", "pgbouncer", env=env)
    assert wrong.code == 1
    assert 'set pool.pooler = "pgbouncer"' in wrong.stdout
    env["DBCTL_POOL__POOLER"] = "pgbouncer"
    assert dbctl("users", "count", env=env).code == 0
    right = dbctl("pool", "pgbouncer", "--admin-url", url_of(pooled), "--format", "json", env=env)
    assert right.code == 0
    assert right.json()["prepared"] == {
        "mode": "transaction", "tracked": None, "engine_caches": [0, 0], "safe": True,
    }  # fmt: skip


def test_every_command_on_users_and_health_works_behind_it(dbctl, pooled):
    # A server of tests keeps nothing: two checks would say so.
    quiet = {"DBCTL_HEALTH__SKIP": "durability autovacuum"}
    env = {"DATABASE_URL": url_of(pooled), "DBCTL_POOL__POOLER": "pgbouncer", **quiet}
    for command in (
        "users seed 50",
        "users create ada ada@example.com --generate",
        "users get ada",
        "users update ada --full-name Ada --yes",
        "users deactivate ada --yes",
        "users list --order created_at --desc",
        "users search an",
        "users count",
        "users delete ada --confirm ada",
        "health",
        "pool --sample 0.1",
    ):
        result = dbctl(*command.split(), env=env)
        assert result.code == 0, (command, result.stderr)


async def test_many_tasks_behind_it_disturb_nobody(pooled):
    tree = {"database": {"url": url_of(pooled)}, "pool": {"pooler": "pgbouncer", "size": 20, "timeout": 60}}
    target = await resolve_target(load_settings(overrides=tree, environ={}, needs_database=False), {})
    async with target.open() as database:

        async def work(number: int) -> None:
            async with database.session() as session:
                users = UserRepository(session)
                await users.create(NewUser(f"user{number}", f"user{number}@example.com"))
            async with database.session() as session:
                users = UserRepository(session)
                found = await users.search(f"user{number}@")
                assert [one.username for one in found.items] == [f"user{number}"]
                assert (await users.list(limit=5)).items

        async def look() -> None:
            report = await check_health(
                target, Outside(), Request(("connections", "role", "sequences", "indexes"))
            )
            assert report.status in {Status.OK, Status.SKIPPED}, report

        await asyncio.gather(*(work(number) for number in range(40)), *(look() for _ in range(4)))
