"""Blocking trees: whose fault it is, who waits behind, on what; seen without joining the queue."""

from __future__ import annotations

import os

import pytest

from dbctl.activity.locks.look import look_at_locks
from dbctl.database import ConnInfo
from tests.activity.conftest import pid_of, reading, sessions
from tests.fixtures.database import execute

TABLE = "CREATE TABLE orders (id int PRIMARY KEY, note text)"
ROWS = "INSERT INTO orders VALUES (1, 'a'), (2, 'b')"


async def look(conninfo, **options):
    async with reading(conninfo) as connection:
        return await look_at_locks(connection, **options)


async def test_nothing_blocked_is_an_empty_tree(quick):
    assert (await look(quick)).sessions == ()


async def test_a_chain_names_its_root_the_mode_the_table_and_how_long(busy):
    execute(busy, TABLE, ROWS)
    with sessions(busy) as made:
        root = made.holds("SELECT * FROM orders WHERE note = 'secret'", application="report")
        ddl = made.waits("ALTER TABLE orders ADD COLUMN more int", application="deploy")
        reader = made.waits("SELECT count(*) FROM orders", application="web")
        found = (await look(busy)).sessions
    assert [(one.pid, one.depth, one.parent_pid) for one in found] == [
        (pid_of(root), 0, None),
        (pid_of(ddl), 1, pid_of(root)),
        (pid_of(reader), 2, pid_of(ddl)),
    ]
    top, middle, last = found
    assert (top.blocks, middle.blocks, last.blocks) == (2, 1, 0)
    assert top.state == "idle in transaction"
    assert top.application == "report"
    assert top.holds == ("AccessShareLock on public.orders",)
    assert "secret" not in top.query
    assert (middle.mode, middle.relation) == ("AccessExclusiveLock", "public.orders")
    assert middle.database == busy.database
    assert middle.wait_seconds is not None
    assert middle.wait_seconds >= last.wait_seconds >= 0
    assert {one.root_pid for one in found} == {pid_of(root)}


async def test_who_waits_for_a_row_stands_behind_its_holder_with_the_tables_name(busy):
    execute(busy, TABLE, ROWS)
    with sessions(busy) as made:
        root = made.holds("UPDATE orders SET note = 'c' WHERE id = 1")
        first = made.waits("UPDATE orders SET note = 'd' WHERE id = 1")
        second = made.waits("DELETE FROM orders WHERE id = 1")
        found = {one.pid: one for one in (await look(busy)).sessions}
    assert found[pid_of(first)].parent_pid == pid_of(root)
    assert found[pid_of(first)].on == "a row of public.orders"
    assert found[pid_of(first)].mode == "ShareLock"
    assert found[pid_of(second)].relation == "public.orders"
    assert found[pid_of(second)].root_pid == pid_of(root)


async def test_one_who_is_held_by_the_root_is_not_hung_below_the_queue(quick):
    execute(quick, TABLE)
    with sessions(quick) as made:
        root = made.holds("LOCK TABLE orders IN SHARE MODE")
        first = made.waits("LOCK TABLE orders IN ACCESS EXCLUSIVE MODE")
        second = made.waits("LOCK TABLE orders IN ACCESS EXCLUSIVE MODE")
        found = {one.pid: one for one in (await look(quick)).sessions}
    assert found[pid_of(second)].parent_pid == pid_of(root)
    assert found[pid_of(second)].blocked_by == tuple(sorted((pid_of(root), pid_of(first))))


async def test_a_prepared_transaction_is_a_root_without_a_process(busy):
    execute(busy, TABLE)
    name = f"it's {busy.database}"
    gid = name.replace("'", "''")
    execute(busy, "BEGIN", "LOCK TABLE orders", f"PREPARE TRANSACTION '{gid}'")
    try:
        with sessions(busy) as made:
            made.waits("SELECT * FROM orders")
            found = (await look(busy)).sessions
    finally:
        execute(busy, f"ROLLBACK PREPARED '{gid}'")
    assert (found[0].pid, found[0].prepared, found[0].blocks) == (0, name, 1)
    assert found[0].holds == ("AccessExclusiveLock on public.orders",)
    assert found[1].blocked_by == (0,)


async def test_of_two_prepared_transactions_the_one_that_holds_the_row_is_named(quick):
    execute(quick, TABLE, ROWS)
    for number in (1, 2):
        update = f"UPDATE orders SET note = 'x' WHERE id = {number}"
        execute(quick, "BEGIN", update, f"PREPARE TRANSACTION '{quick.database}{number}'")
    try:
        with sessions(quick) as made:
            made.waits("DELETE FROM orders WHERE id = 2")
            found = (await look(quick)).sessions
    finally:
        for number in (1, 2):
            execute(quick, f"ROLLBACK PREPARED '{quick.database}{number}'")
    assert [one.prepared for one in found if not one.depth] == [f"{quick.database}2"]


@pytest.mark.parametrize(
    ("call", "key"),
    [("pg_advisory_lock(42)", "42"), ("pg_advisory_lock(-7)", "-7"), ("pg_advisory_lock(1, -2)", "(1, -2)")],
)
async def test_an_advisory_lock_is_shown_by_the_key_it_was_taken_with(quick, call, key):
    with sessions(quick) as made:
        made.holds(f"SELECT {call}")
        made.waits(f"SELECT {call}")
        found = (await look(quick)).sessions
    assert found[1].on == f"advisory lock {key}"


async def test_a_deadlock_that_is_not_broken_yet_is_said_and_does_not_hang_the_look(quick):
    execute(quick, TABLE, ROWS)
    with sessions(quick) as made:
        one = made.holds("UPDATE orders SET note = '1' WHERE id = 1")
        two = made.holds("UPDATE orders SET note = '2' WHERE id = 2")
        made.goes_on(one, "UPDATE orders SET note = '1' WHERE id = 2")
        made.goes_on(two, "UPDATE orders SET note = '2' WHERE id = 1")
        found = (await look(quick)).sessions
    assert {one.pid for one in found} == {pid_of(one), pid_of(two)}
    assert [one.deadlocked for one in found] == [True, False]


async def test_trees_with_short_waits_are_left_out_when_asked_for(quick):
    execute(quick, TABLE)
    with sessions(quick) as made:
        made.holds("LOCK TABLE orders")
        made.waits("SELECT * FROM orders")
        assert (await look(quick, over_seconds=3600)).sessions == ()
        assert len((await look(quick, over_seconds=0.0001)).sessions) == 2


async def test_names_that_need_quotes_are_quoted(quick):
    execute(quick, 'CREATE TABLE "Röws ""x"" 🐘" ()')
    with sessions(quick) as made:
        made.holds('LOCK TABLE "Röws ""x"" 🐘"')
        made.waits('SELECT * FROM "Röws ""x"" 🐘"')
        assert (await look(quick)).sessions[1].relation == 'public."Röws ""x"" 🐘"'


async def test_a_plain_role_is_told_what_it_can_not_see_and_still_sees_who_and_what(quick):
    execute(quick, TABLE)
    role = f"plain_{os.getpid()}"
    execute(quick, f"CREATE ROLE {role} LOGIN")
    try:
        with sessions(quick) as made:
            root = made.holds("LOCK TABLE orders")
            made.waits("SELECT 'secret' FROM orders")
            tree = await look(ConnInfo({**quick.keywords, "user": role}))
    finally:
        execute(quick, f"DROP ROLE {role}")
    assert tree.roots[0].pid == pid_of(root)
    assert tree.roots[0].application == "holder"
    assert tree.sessions[1].relation == "public.orders"
    assert all(one.state is None and one.query is None for one in tree.sessions)
    assert f"GRANT pg_monitor TO {role}" in tree.notes[0]


async def test_with_pg_class_locked_an_open_connection_still_sees_and_says_oids(quick):
    execute(quick, TABLE)
    oid = execute(quick, "SELECT 'orders'::regclass::oid")[0][0]
    async with reading(quick) as connection:
        await look_at_locks(connection)
        with sessions(quick) as made:
            waiter = made.holds("SELECT 1")
            made.holds("LOCK TABLE orders", "LOCK TABLE pg_class IN ACCESS EXCLUSIVE MODE")
            made.goes_on(waiter, "SELECT * FROM orders")
            tree = await look_at_locks(connection)
    assert tree.sessions[1].on in {f"relation {oid}", "relation 1259"}
    assert "catalog is locked" in tree.notes[0]
