"""A plan says what would happen to this very database, in its own numbers, and changes nothing there."""

from __future__ import annotations

import asyncio
import time
from contextlib import closing

import psycopg2
import pytest

from dbctl.errors import Refused, UsageError
from dbctl.migrate.plan.make import PlanRequest, plan
from dbctl.migrate.plan.verdict import check
from dbctl.migrate.rules.levels import Levels
from dbctl.migrate.rules.model import Level
from dbctl.postgres.lock_modes import LockMode
from tests.fixtures.database import execute, psycopg2_arguments
from tests.migrate.conftest import PROJECTS
from tests.migrate.plan.conftest import opened, transaction


def ask(connection, query):
    with connection.cursor() as cursor:
        cursor.execute(query)
        return set(cursor.fetchall())


WIDEN = 'op.alter_column("orders", "id", type_=sa.BigInteger())'


async def test_a_rewrite_in_the_targets_own_numbers(make_plan, shop):
    made = await make_plan(shop, WIDEN)
    (revision,) = made.revisions
    (statement,) = revision.statements
    assert (made.current, made.target) == (("r0",), ("r1",))
    assert statement.strongest is LockMode.ACCESS_EXCLUSIVE
    assert statement.blocks == ("reads", "writes", "DDL")
    assert statement.estimate.seconds > 0
    assert statement.estimate.low_seconds < statement.estimate.seconds < statement.estimate.high_seconds
    orders = next(one for one in made.tables if one.name == "orders")
    assert orders.table_bytes == execute(shop, "SELECT pg_table_size('orders')")[0][0]
    assert orders.rows == 20000
    assert statement.disk_bytes == orders.table_bytes + orders.index_bytes
    (finding,) = [one for one in revision.findings if one.hazard == "alter-type-rewrite"]
    assert finding.details["facts"].startswith("rewrites orders, 2.")
    assert "20 k rows, blocks reads and writes" in finding.details["facts"]
    assert "r1: alter-type-rewrite on orders" in made.dangers
    with pytest.raises(Refused, match="not safe to apply") as refused:
        check(made)
    assert "alter-type-rewrite on orders" in refused.value.why


async def test_a_plan_changes_nothing_and_takes_no_stronger_lock_than_a_reader(make_plan, shop):
    counted = "SELECT pg_snapshot_xmax(pg_current_snapshot())::text, (SELECT md5(string_agg(version_num, ',')) FROM alembic_version)"
    execute(shop, "VACUUM")
    before = execute(shop, counted)
    locks = """SELECT DISTINCT l.mode, a.application_name FROM pg_locks AS l JOIN pg_stat_activity AS a USING (pid)
                WHERE l.relation >= 16384 AND a.application_name ~ 'dbctl' AND a.datname = current_database()"""
    seen = set()
    # Connected before: meanwhile nothing in this process may connect to anything but scratch.
    with closing(psycopg2.connect(**psycopg2_arguments(shop))) as watching:
        watching.autocommit = True
        planning = asyncio.ensure_future(make_plan(shop, WIDEN))
        while not planning.done():
            seen |= await asyncio.to_thread(ask, watching, locks)
        await planning
    assert execute(shop, counted) == before
    assert {mode for mode, _ in seen} <= {"AccessShareLock"}
    assert any("pg_dump" in application for _, application in seen)


async def test_a_tiny_table_forgives(make_plan, shop):
    made = await make_plan(shop, 'op.alter_column("tiny", "word", nullable=False)')
    (finding,) = [one for one in made.revisions[0].findings if one.hazard == "set-not-null"]
    assert finding.level is Level.NOTICE
    assert finding.details["level_before"] == "danger"
    assert finding.details["lowered"] == "small: 16 kB, brief"
    assert made.dangers == ()
    check(made)


@pytest.mark.parametrize(
    "changes",
    [
        {"small_table_bytes": 0},
        {"levels": Levels(hot=("tiny",))},
        {"levels": Levels(overrides={"set-not-null": Level.DANGER})},
    ],
)
async def test_what_the_settings_say_of_a_table_or_hazard_counts_more(make_plan, shop, changes):
    made = await make_plan(shop, 'op.alter_column("tiny", "word", nullable=False)', **changes)
    assert "r1: set-not-null on tiny" in made.dangers


async def test_a_table_with_many_short_rows_is_not_small(make_plan, shop):
    execute(shop, "INSERT INTO tiny (id) SELECT i FROM generate_series(11, 5000) AS i", "ANALYZE tiny")
    made = await make_plan(shop, 'op.alter_column("tiny", "word", nullable=False)')
    assert "r1: set-not-null on tiny" in made.dangers


async def test_rows_of_a_table_never_analyzed_are_bounded_by_its_bytes(make_plan, shop):
    execute(
        shop,
        "CREATE TABLE fresh (id int, word text) WITH (autovacuum_enabled = off)",
        "INSERT INTO fresh SELECT i FROM generate_series(1, 3000) AS i",
    )
    # A session reports what it did as it ends: after a reset, it would be counted.
    while not execute(shop, "SELECT n_live_tup FROM pg_stat_user_tables WHERE relname = 'fresh'")[0][0]:
        time.sleep(0.01)
    execute(shop, "SELECT pg_stat_reset()")
    made = await make_plan(shop, 'op.alter_column("fresh", "word", nullable=False)')
    assert next(one for one in made.tables if one.name == "fresh").rows is None
    assert "r1: set-not-null on fresh" in made.dangers


async def test_what_can_only_happen_to_rows_does_not_happen_to_an_empty_table(make_plan, shop):
    execute(shop, "CREATE TABLE empty (id int, word text)", "CREATE TABLE emptied (id int, word text)")
    execute(shop, "INSERT INTO emptied VALUES (1, 'a')", "DELETE FROM emptied")
    made = await make_plan(shop, 'op.execute("TRUNCATE empty")', 'op.execute("TRUNCATE emptied")')
    (first,), (second,) = (
        [one for one in each.findings if one.hazard == "truncate"] for each in made.revisions
    )
    assert (first.level, first.details["lowered"]) == (Level.NOTICE, "no row is there")
    assert second.level is Level.DANGER
    assert made.revisions[0].statements[0].work == ()


async def test_scratch_databases_on_a_server_that_was_named(make_plan, shop, server):
    before = execute(server, "SELECT datname FROM pg_database ORDER BY 1")
    made = await make_plan(shop, WIDEN, scratch_url=server)
    assert [work.kind for work in made.revisions[0].statements[0].work] == ["rewrite"]
    assert execute(server, "SELECT datname FROM pg_database ORDER BY 1") == before
    settings = "SELECT count(*) FROM pg_db_role_setting WHERE setdatabase = 0"
    assert execute(server, settings) == [(0,)]


async def test_what_is_done_to_a_table_that_may_not_be_read_is_not_known(make_plan, shop, server):
    role = f"reader_{shop.database}"
    execute(server, f"CREATE ROLE {role} LOGIN")
    try:
        execute(shop, f"GRANT SELECT ON orders, customers, alembic_version TO {role}")
        limited = type(shop)({**shop.keywords, "user": role})
        made = await make_plan(
            limited,
            'op.add_column("tiny", sa.Column("a", sa.Integer))',
            'op.execute("ALTER TABLE nowhere ADD a int")',
        )
        first, second = made.revisions
        said = "public.tiny could not be read, so revision r1 can't be judged"
        assert (said in first.notes, said in made.not_known, first.failure) == (True, True, "")
        (finding,) = [one for one in first.findings if one.level is not Level.NOTICE]
        assert (finding.level, finding.tables) == (Level.CAUTION, ("public.tiny",))
        assert (first.statements[0].estimate.seconds, first.statements[0].estimate.is_brief) == (None, False)
        assert [one.partition(":")[0] for one in made.dangers] == (
            [] if "r1" in second.findings[0].why else ["r2"]
        )
    finally:
        execute(shop, f"DROP OWNED BY {role}")
        execute(server, f"DROP ROLE {role}")


async def test_an_accepted_danger_does_not_refuse(make_plan, shop):
    made = await make_plan(shop, f"# dbctl: accept alter-type-rewrite because we stop the shop\n{WIDEN}")
    assert made.dangers == ()
    found = {one.hazard: one.accepted for one in made.revisions[0].findings}
    assert found["alter-type-rewrite"] == "we stop the shop"


async def test_the_lock_is_held_to_the_end_of_the_transaction(make_plan, shop):
    body = f'op.add_column("orders", sa.Column("note", sa.Text))\n{WIDEN}'
    (revision,) = (await make_plan(shop, body)).revisions
    first, second = (one.estimate.seconds for one in revision.statements)
    assert first == 0 < second
    held = next(one for one in revision.held if one.table == "orders")
    assert (held.table, held.mode) == ("orders", LockMode.ACCESS_EXCLUSIVE)
    assert held.seconds == second
    assert revision.statements[1].held == revision.statements[0].locks


async def test_a_table_that_was_renamed_keeps_its_facts_and_a_new_one_has_none(make_plan, shop):
    made = await make_plan(
        shop,
        'op.rename_table("orders", "purchases")',
        'op.alter_column("purchases", "id", type_=sa.BigInteger())\nop.execute("CREATE TABLE fresh (id int)")',
        'op.alter_column("fresh", "id", type_=sa.BigInteger())',
    )
    _, second, third = made.revisions
    (work,) = second.statements[0].work
    assert (work.kind, work.table, work.rows) == ("rewrite", "orders", 20000)
    assert third.statements[0].work == ()
    assert "fresh" not in {one.name for one in made.tables}


async def test_drift_counts(make_plan, shop):
    execute(shop, "CREATE INDEX drifted ON orders (email)", "ALTER TABLE orders ADD COLUMN drifted int")
    made = await make_plan(shop, 'op.drop_column("orders", "drifted")\nop.drop_index("drifted")')
    assert made.revisions[0].failure == ""
    assert next(one for one in made.tables if one.name == "orders").indexes == 2


@pytest.mark.parametrize(("zone", "rewrites"), [("UTC", False), ("Europe/Berlin", True)])
async def test_the_time_zone_of_the_target_decides(make_plan, shop, zone, rewrites):
    execute(shop, f"ALTER DATABASE \"{shop.database}\" SET timezone = '{zone}'")
    made = await make_plan(shop, 'op.alter_column("orders", "at", type_=sa.DateTime(timezone=True))')
    assert made.settings["TimeZone"] == zone
    assert [work.kind for work in made.revisions[0].statements[0].work] == (["rewrite"] if rewrites else [])


async def test_a_second_schema_and_the_search_path(make_plan, shop):
    execute(
        shop,
        "CREATE SCHEMA sales",
        "CREATE TABLE sales.items (id int)",
        "INSERT INTO sales.items SELECT generate_series(1, 50000)",
        "ANALYZE",
        f'ALTER DATABASE "{shop.database}" SET search_path = sales, public',
    )
    made = await make_plan(shop, 'op.alter_column("items", "id", type_=sa.BigInteger())')
    (work,) = made.revisions[0].statements[0].work
    assert (work.table, work.rows) == ("sales.items", 50000)


async def test_partitions_count_for_their_table(make_plan, shop):
    execute(
        shop,
        "CREATE TABLE events (id int, day int) PARTITION BY LIST (day)",
        *(f"CREATE TABLE events_{day} PARTITION OF events FOR VALUES IN ({day})" for day in range(3)),
        "INSERT INTO events SELECT i, i % 3 FROM generate_series(1, 30000) AS i",
        "ANALYZE",
    )
    made = await make_plan(shop, 'op.alter_column("events", "id", type_=sa.BigInteger())')
    parent = next(one for one in made.tables if one.name == "events")
    assert (parent.kind, parent.partitions, parent.rows) == ("partitioned table", 3, 30000)
    works = made.revisions[0].statements[0].work
    assert {(work.table, work.rows) for work in works} == {(f"events_{day}", 10000) for day in range(3)}


async def test_publications_and_foreign_keys_are_told(make_plan, shop):
    execute(
        shop, "CREATE PUBLICATION everything FOR ALL TABLES", "CREATE PUBLICATION few FOR TABLE customers"
    )
    made = await make_plan(shop, 'op.add_column("customers", sa.Column("note", sa.Text))')
    (customers,) = [one for one in made.tables if one.name == "customers"]
    assert customers.referenced_by == ("orders",)
    assert set(customers.publications) == {"everything", "few"}


async def test_nothing_pending(make_plan, shop):
    made = await make_plan(shop)
    assert (made.revisions, made.dangers, made.target) == ((), (), ("r0",))
    check(made)


async def test_a_database_without_a_version_table_starts_at_the_base(make_plan, empty_conninfo):
    made = await make_plan(empty_conninfo, 'op.execute("CREATE TABLE a (id int)")')
    assert (made.current, [one.revision for one in made.revisions]) == ((), ["r0", "r1"])


async def test_up_to_a_revision(make_plan, shop):
    made = await make_plan(shop, WIDEN, "pass", destination="+1")
    assert [one.revision for one in made.revisions] == ["r1"]
    assert made.target == ("r1",)


async def test_an_unknown_revision(make_plan, shop):
    with pytest.raises(UsageError, match="nowhere"):
        await make_plan(shop, WIDEN, destination="nowhere")


async def test_a_database_ahead_of_the_code(make_plan, shop):
    execute(shop, "UPDATE alembic_version SET version_num = 'later'")
    with pytest.raises(Refused, match="ahead of the code"):
        await make_plan(shop, WIDEN)


async def test_env_py_that_leads_elsewhere(shop, other_conninfo):
    from dbctl.migrate.project import read_project
    from dbctl.migrate.site import Site

    url = other_conninfo.psycopg2_url().render_as_string(hide_password=False)
    async with opened(PROJECTS / "elsewhere" / "alembic.ini", shop) as site:
        project = read_project(PROJECTS / "elsewhere" / "alembic.ini", x_arguments=(f"url={url}",))
        with pytest.raises(Refused, match="leads to another database"):
            await plan(Site(project, site.database, site.address), PlanRequest("test"))


async def test_a_revision_that_fails_refuses_and_the_next_is_still_looked_at(make_plan, shop):
    made = await make_plan(shop, 'op.execute("ALTER TABLE missing ADD a int")', WIDEN)
    assert "missing" in made.revisions[0].failure
    assert made.dangers[0].startswith("r1: revision-fails")
    assert any(one.startswith("r2: alter-type-rewrite") for one in made.dangers)


async def test_a_role_that_may_read_only_some_tables(make_plan, shop, server):
    role = f"reader_{shop.database}"
    execute(server, f"CREATE ROLE {role} LOGIN")
    try:
        execute(
            shop,
            "CREATE SCHEMA hidden",
            'CREATE TABLE hidden."Odd.na""me*" (id int)',
            "CREATE VIEW on_tiny AS SELECT * FROM tiny",
            f"GRANT SELECT ON orders, customers, alembic_version TO {role}",
        )
        limited = type(shop)({**shop.keywords, "user": role})
        made = await make_plan(limited, WIDEN)
        assert made.left_out == ('hidden.Odd.na"me*', "public.tiny")
        assert any("on_tiny" in note or "tiny" in note for note in made.notes)
        assert any(f"role {role} does not own orders" in note for note in made.notes)
        (statement,) = made.revisions[0].statements
        assert statement.work[0].rows == 20000
    finally:
        execute(shop, f"DROP OWNED BY {role}")
        execute(server, f"DROP ROLE {role}")


async def test_a_table_locked_by_another_session_is_said_and_not_waited_for(make_plan, shop):
    from dbctl.errors import Busy

    with transaction(shop, "LOCK TABLE tiny IN ACCESS EXCLUSIVE MODE"):
        with pytest.raises(Busy, match="locked by another session"):
            await make_plan(shop, WIDEN)


async def test_env_py_of_a_version_table_in_another_schema(empty_conninfo):
    execute(empty_conninfo, "CREATE SCHEMA admin")
    async with opened(PROJECTS / "version_schema" / "alembic.ini", empty_conninfo) as site:
        made = await plan(site, PlanRequest("test"))
        assert [one.revision for one in made.revisions] == ["a1"]
        execute(
            empty_conninfo,
            "CREATE TABLE admin.revisions (version_num varchar(32) PRIMARY KEY)",
            "INSERT INTO admin.revisions VALUES ('a1')",
        )
        assert (await plan(site, PlanRequest("test"))).revisions == ()


async def test_rows_changed_by_way_of_an_index_are_estimated_by_the_table(make_plan, shop):
    execute(shop, "CREATE INDEX orders_id_again ON orders (id)")
    made = await make_plan(shop, 'op.execute("UPDATE orders SET id = id WHERE id > 0")')
    (statement,) = made.revisions[0].statements
    assert "dml-unbatched" in {one.hazard for one in made.revisions[0].findings}
    assert [(work.kind, work.rows) for work in statement.work] == [("write", 20000)]
    assert statement.estimate.seconds > 0
    assert statement.disk_bytes > 0
