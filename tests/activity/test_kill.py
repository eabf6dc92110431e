"""``locks kill``: the one that was meant, the gentle way first, and nobody else."""

from __future__ import annotations

import os
from dataclasses import replace
from datetime import timedelta

import pytest

from dbctl.activity.locks.kill import end_session, find_victim
from dbctl.database import ConnInfo
from dbctl.errors import DbctlError, NotFound, Refused, UsageError
from tests.activity.conftest import pid_of, reading, sessions, until
from tests.fixtures.database import execute

TABLE = "CREATE TABLE orders (id int)"
SLOW = "SELECT pg_sleep(600) FROM (SELECT count(*) FROM orders) AS one"


def running(made, application="report"):
    """A session whose one statement holds a lock on orders."""
    held = made.holds("SELECT 1", application=application)
    made.runs(held, SLOW)
    until(lambda: made.ask(f"SELECT wait_event = 'PgSleep' FROM pg_stat_activity WHERE pid = {pid_of(held)}"))
    return held


async def test_a_running_statement_is_cancelled_and_its_session_lives_on(busy):
    execute(busy, TABLE)
    with sessions(busy) as made:
        root = running(made)
        waiter = made.waits("LOCK TABLE orders")
        async with reading(busy) as connection:
            victim = await find_victim(connection, pid_of(root))
            done = await end_session(connection, victim, grace_seconds=60)
        alive = made.ask(f"SELECT count(*) FROM pg_stat_activity WHERE pid = {pid_of(root)}")
    assert victim.waiting == (pid_of(waiter),)
    assert victim.application == "report"
    assert (done.how, done.freed, alive) == ("cancelled", (pid_of(waiter),), 1)


async def test_an_idle_transaction_has_nothing_to_cancel_and_is_terminated(quick):
    execute(quick, TABLE)
    with sessions(quick) as made:
        root = made.holds("LOCK TABLE orders")
        waiter = made.waits("SELECT * FROM orders")
        async with reading(quick) as connection:
            victim = await find_victim(connection, pid_of(root))
            with pytest.raises(Refused, match="no statement to cancel"):
                await end_session(connection, victim, may_terminate=False)
            done = await end_session(connection, victim)
        left = made.ask(f"SELECT count(*) FROM pg_stat_activity WHERE pid = {pid_of(root)}")
    assert (done.how, done.freed, left) == ("terminated", (pid_of(waiter),), 0)


async def test_what_a_savepoint_keeps_after_the_cancel_is_ended_by_termination(quick):
    execute(quick, TABLE)
    with sessions(quick) as made:
        root = made.holds("LOCK TABLE orders", "SAVEPOINT one")
        made.runs(root, "SELECT pg_sleep(600)")
        waiter = made.waits("SELECT * FROM orders")
        async with reading(quick) as connection:
            victim = await find_victim(connection, pid_of(root))
            with pytest.raises(Refused, match="cancelling it did not help"):
                await end_session(connection, victim, may_terminate=False, grace_seconds=1)
            victim = await find_victim(connection, pid_of(root))
            done = await end_session(connection, victim)
    assert (done.how, done.freed) == ("terminated", (pid_of(waiter),))


@pytest.mark.parametrize("other", ["backend_start", "transaction_start"])
async def test_another_session_of_the_same_pid_or_another_transaction_is_left_alone(quick, other):
    with sessions(quick) as made:
        root = made.holds("SELECT 1")
        async with reading(quick) as connection:
            victim = await find_victim(connection, pid_of(root))
            earlier = replace(victim, **{other: getattr(victim, other) - timedelta(seconds=1)})
            with pytest.raises(Refused, match="another transaction"):
                await end_session(connection, earlier)
        alive = made.ask(f"SELECT count(*) FROM pg_stat_activity WHERE pid = {pid_of(root)}")
    assert alive == 1


async def test_who_is_gone_was_never_there_or_has_no_process_is_said(quick):
    async with reading(quick) as connection:
        with pytest.raises(NotFound, match="no session has pid 2147483647"):
            await find_victim(connection, 2147483647)
        with pytest.raises(UsageError, match="prepared transaction") as error:
            await find_victim(connection, 0)
    assert "ROLLBACK PREPARED" in error.value.hint


async def test_never_our_own_and_never_the_servers_own(quick):
    async with reading(quick) as connection:
        ours = (await connection.exec_driver_sql("SELECT pg_backend_pid()")).scalar_one()
        await connection.rollback()
        with pytest.raises(Refused, match="not ended") as error:
            await find_victim(connection, ours)
        assert "our own" in error.value.why
        writer = execute(quick, "SELECT pid FROM pg_stat_activity WHERE backend_type = 'checkpointer'")[0][0]
        with pytest.raises(Refused) as error:
            await find_victim(connection, writer)
        assert "checkpointer" in error.value.why


async def test_a_role_that_may_not_know_it_again_or_not_signal_it_ends_nobody(quick):
    role = f"weak_{os.getpid()}"
    weak = ConnInfo({**quick.keywords, "user": role})
    execute(quick, f"CREATE ROLE {role} LOGIN")
    try:
        with sessions(quick) as made:
            root = made.holds("SELECT 1")
            async with reading(weak) as connection:
                with pytest.raises(Refused) as refused:
                    await find_victim(connection, pid_of(root))
                execute(quick, f"GRANT pg_monitor TO {role}")
                victim = await find_victim(connection, pid_of(root))
            with pytest.raises(DbctlError, match="refuses the statement"):
                async with reading(weak) as connection:
                    await end_session(connection, victim)
            alive = made.ask(f"SELECT count(*) FROM pg_stat_activity WHERE pid = {pid_of(root)}")
    finally:
        execute(quick, f"DROP ROLE {role}")
    assert f"GRANT pg_monitor, pg_signal_backend TO {role}" in refused.value.hint
    assert alive == 1
