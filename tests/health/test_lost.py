"""A run that can't look: each check says why and how it could, and no run hangs, whatever the server does."""

from __future__ import annotations

import os
import signal
import time
from contextlib import closing

import psycopg2
import pytest

from dbctl.database import ConnInfo
from dbctl.health import registry
from dbctl.health.look import Look, Outside
from dbctl.health.model import CheckResult, Status
from dbctl.health.results import ok
from dbctl.health.run import Request, check_health
from dbctl.postgres.scratch import scratch_server
from tests.fixtures.database import execute
from tests.fixtures.health import target

# What a run may take that is cut off: its deadlines are of seconds, a loaded machine is slow, a hang has no end.
PATIENCE_SECONDS = 60


@pytest.fixture
def asked(monkeypatch):
    """Register a check that asks the server ``question`` (or does what a function does), for one test."""

    def add(name, question, **about):
        async def look_at(look: Look) -> CheckResult:
            await (question(look) if callable(question) else look.rows(question))
            return ok("it was looked at")

        look_at.__name__ = name
        registry.all_checks()
        with monkeypatch.context() as patch:
            patch.setattr(registry, "_CHECKS", {})
            registry.check(**about)(look_at)
            made = registry._CHECKS[name]
        monkeypatch.setitem(registry._CHECKS, name, made)

    return add


async def answers(conninfo, *names, **settings):
    report = await check_health(target(conninfo, **settings), Outside(), Request(names))
    return report, {one.check: one for one in report.checks}


def _bug(_look):
    raise KeyError("nothing")


async def test_one_checks_failure_is_its_own_and_says_what_would_help(conninfo, asked):
    role = f"plain_{os.getpid()}"
    execute(conninfo, f"CREATE ROLE {role} LOGIN PASSWORD 'letters'", 'CREATE TABLE "Odd one" (id int)')
    asked("a_denied", 'SELECT * FROM public."Odd one"')
    asked("b_slow", "SELECT pg_sleep(30)")
    asked("c_absent", "SELECT no_such_column FROM pg_class")
    asked("d_fine", "SELECT 1 AS one")
    asked("e_bug", _bug)
    reader = ConnInfo({**conninfo.keywords, "user": role}, "letters")
    names = ("a_denied", "b_slow", "c_absent", "d_fine", "e_bug")
    try:
        _, found = await answers(reader, *names, health={"check_timeout": 2, "budget": 60})
    finally:
        execute(conninfo, f"DROP ROLE {role}")
    assert found["a_denied"].fix == f'GRANT SELECT ON "Odd one" TO "{role}"'
    assert "2 s" in found["b_slow"].message
    assert "no_such_column" in found["c_absent"].message
    assert "KeyError" in found["e_bug"].message
    unknown = {name for name, one in found.items() if one.status is Status.UNKNOWN}
    assert unknown == set(names) - {"d_fine"}
    assert found["d_fine"].status is Status.OK


async def test_a_check_that_asks_too_many_questions_ends_for_itself_and_loses_no_connection(conninfo, asked):
    async def many(look: Look) -> None:
        for number in range(1000):
            await look.rows(f"SELECT pg_sleep(0.1), {number} AS number")

    asked("a_many", many)
    asked("b_after", "SELECT 1 AS one")
    report, found = await answers(conninfo, "a_many", "b_after", health={"check_timeout": 1, "budget": 60})
    assert (found["a_many"].status, "not done in 1 s" in found["a_many"].message) == (Status.UNKNOWN, True)
    assert found["b_after"].status is Status.OK
    assert report.reached


async def test_a_lock_in_the_way_is_not_waited_for(conninfo, asked):
    asked("locked", "SELECT * FROM public.users")
    with closing(psycopg2.connect(**conninfo.keywords, password=conninfo.password)) as other:
        other.cursor().execute("LOCK TABLE users")
        _, found = await answers(conninfo, "locked", health={"check_timeout": 30, "budget": 60})
    assert found["locked"].status is Status.UNKNOWN
    assert "dbctl locks" in found["locked"].fix


async def test_no_check_can_write(conninfo, asked):
    asked("writes", "CREATE TABLE public.oops (id int)")
    _, found = await answers(conninfo, "writes")
    assert "read-only" in found["writes"].message


async def test_a_connection_lost_midway_gives_a_partial_report(conninfo, asked):
    asked("a_before", "SELECT 1 AS one")
    asked("b_ended", "SELECT pg_terminate_backend(pg_backend_pid())")
    asked("c_after", "SELECT 2 AS two")
    report, found = await answers(conninfo, "a_before", "b_ended", "c_after")
    assert report.status is Status.CRITICAL
    assert found["a_before"].status is Status.OK
    assert found["reachable"].status is Status.CRITICAL
    assert found["c_after"].status is Status.UNKNOWN
    assert "not run" in found["c_after"].message


async def test_a_server_that_hangs_ends_the_run_and_not_the_other_way_round(conninfo, asked):
    stopped = []

    async def stop(look: Look) -> None:
        stopped.append(look.server.pid)
        os.kill(look.server.pid, signal.SIGSTOP)
        await look.rows("SELECT 3 AS three")

    asked("a_hangs", stop)
    asked("b_after", "SELECT 2 AS two")
    if not conninfo.is_socket:
        pytest.skip("its processes are not of this machine")
    started = time.monotonic()
    try:
        report, found = await answers(
            conninfo, "a_hangs", "b_after", health={"check_timeout": 2, "budget": 60}
        )
    finally:
        for pid in stopped:
            os.kill(pid, signal.SIGCONT)
    assert time.monotonic() - started < PATIENCE_SECONDS
    assert report.checks[0].check == "reachable"
    assert found["b_after"].status is Status.UNKNOWN


async def test_who_holds_all_connections_is_said_where_another_role_still_gets_in():
    with scratch_server(options={"max_connections": "5", "superuser_reserved_connections": "2"}) as server:
        root = ConnInfo(server.params)
        execute(root, "CREATE ROLE app LOGIN")
        app = ConnInfo({**server.params, "user": "app"})
        held = [psycopg2.connect(**app.keywords, application_name=name) for name in ("shop", "shop", "mail")]
        try:
            alone = await check_health(target(app), Outside())
            helped = await check_health(target(app), Outside(), reserve=target(root))
        finally:
            for connection in held:
                connection.close()
    assert not alone.reached
    assert alone.checks[0].value == "too_many_connections"
    assert not helped.reached
    assert "held by app as shop (2), app as mail (1)" in helped.checks[0].message
