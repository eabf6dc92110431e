"""A revision that commits in between and is cut short goes on where it was, and does nothing twice."""

from __future__ import annotations

import pytest

from dbctl.errors import ConnectionLost, MigrationFailed, Refused
from dbctl.migrate.model import Event, Filling, Repaired, Resumed
from dbctl.migrate.runner import RunOptions, down, stamp, up
from tests.fixtures.database import execute
from tests.migrate.conftest import quiet, tables

STEPS = "SELECT number, state, statement FROM dbctl_steps ORDER BY number"
DRIVERS = ["sync_template", "async_template"]


async def fails(here, words="", error=MigrationFailed, **options):
    with pytest.raises(error, match=words) as caught:
        await up(here, progress=quiet, options=RunOptions(**options))
    return caught.value


async def resumes(here, **options):
    heard: list[Event] = []
    await up(here, progress=quiet, options=RunOptions(hear=heard.append, **options))
    return heard


@pytest.mark.parametrize("driver", DRIVERS)
async def test_what_is_done_is_not_done_again_and_the_run_says_where_it_goes_on(project, driver):
    here = project(
        driver,
        a="""
        op.execute("CREATE TABLE t (id int, n int)")
        op.execute("INSERT INTO t SELECT i, 0 FROM generate_series(1, 10) i")
        with op.get_context().autocommit_block():
            op.execute("UPDATE t SET n = n + 1")
            once("first")
            op.execute("UPDATE t SET n = n + 10")
        once("second")
        op.execute("UPDATE t SET n = n + 100")
        """,
    )
    error = await fails(here, "first")
    assert "half applied: statements 1 to 3 are done and noted" in error.why
    assert "it goes on from there" in error.hint
    await fails(here, "second")
    assert [number for number, *_ in execute(here.address, STEPS)] == [1, 2, 3, 4]
    (resumed,) = await resumes(here)
    assert isinstance(resumed, Resumed)
    assert (resumed.revision, resumed.done) == ("a", 4)
    assert execute(here.address, "SELECT DISTINCT n FROM t") == [(111,)]
    assert tables(here.address) == {"t"}


@pytest.mark.parametrize("driver", DRIVERS)
async def test_a_loop_that_commits_each_batch_sees_the_same_rowcounts(project, driver):
    here = project(
        driver,
        a="""
        op.execute("CREATE TABLE t (id int, n int)")
        op.execute("INSERT INTO t SELECT i, 0 FROM generate_series(1, 100) i")
        batches = 0
        with op.get_context().autocommit_block():
            while True:
                done = op.get_bind().execute(sa.text(
                    "UPDATE t SET n = n + 1 WHERE id IN (SELECT id FROM t WHERE n = 0 LIMIT :most)"
                ), {"most": 30})
                if done.rowcount == 0:
                    break
                batches += 1
                if batches == 2:
                    once("middle")
        op.execute(f"COMMENT ON TABLE t IS '{batches} batches'")
        """,
    )
    await fails(here, "middle")
    await resumes(here)
    assert execute(here.address, "SELECT n, count(*) FROM t GROUP BY n") == [(1, 100)]
    assert execute(here.address, "SELECT obj_description('t'::regclass)") == [("4 batches",)]


async def test_a_commit_in_sql_and_a_savepoint_that_was_rolled_back_are_followed(project):
    here = project(
        a="""
        bind = op.get_bind()
        op.execute("CREATE TABLE t (n int)")
        try:
            with bind.begin_nested():
                op.execute("INSERT INTO t VALUES (1)")
                op.execute("INSERT INTO t VALUES (1 / 0)")
        except sa.exc.DBAPIError:
            pass
        op.bulk_insert(sa.table("t", sa.column("n")), [{"n": 2}, {"n": 3}])
        op.execute("COMMIT")
        once("after")
        op.execute("INSERT INTO t VALUES (4)")
        """,
    )
    await fails(here, "after")
    statements = [statement for *_, statement in execute(here.address, STEPS)]
    assert [one.partition(" ")[0] for one in statements] == ["CREATE", "INSERT", "INSERT", "INSERT"]
    # What the savepoint took back is run again, and fails again in the same way.
    await resumes(here)
    assert execute(here.address, "SELECT n FROM t ORDER BY n") == [(2,), (3,), (4,)]


@pytest.mark.parametrize("driver", DRIVERS)
@pytest.mark.parametrize(
    "end",
    ["once('x')", "if not (HERE / 'x').exists(): (HERE / 'x').touch(); op.execute('SELECT 1 / 0')"],
)
async def test_what_follows_a_commit_in_sql_is_committed_by_itself_and_not_done_again(project, driver, end):
    here = project(
        driver,
        a=f"""
        op.execute("CREATE TABLE t (n int)")
        op.execute("INSERT INTO t VALUES (0)")
        op.execute("COMMIT")
        op.execute("UPDATE t SET n = n + 1")
        op.execute("CREATE INDEX CONCURRENTLY i ON t (n)")
        {end}
        op.execute("UPDATE t SET n = n + 10")
        """,
    )
    error = await fails(here, "x|division")
    assert "statements 1 to 4 are done and noted" in error.why
    await resumes(here)
    assert execute(here.address, "SELECT n FROM t") == [(11,)]
    assert execute(here.address, "SELECT version_num FROM alembic_version") == [("a",)]
    assert tables(here.address) == {"t"}


async def test_what_the_drivers_own_commit_may_have_committed_is_never_done_again(project):
    here = project(
        a="""
        op.execute("CREATE TABLE t AS SELECT 0 AS n")
        op.get_bind().connection.dbapi_connection.commit()
        op.execute("UPDATE t SET n = n + 1")
        raise RuntimeError("after")
        """,
    )
    error = await fails(here, "after")
    assert "it committed in between, so it may be half applied" in error.why
    await fails(here, "nobody knows whether a statement came to its end", Refused)
    assert execute(here.address, "SELECT n FROM t") == [(0,)]


@pytest.mark.parametrize(
    "send",
    [
        "cursor.execute('INSERT INTO t VALUES (%s)', (1,))",
        "cursor.copy_expert('COPY t FROM STDIN', io.StringIO('1'))",
    ],
)
@pytest.mark.parametrize("block", ["op.get_context().autocommit_block()", "op.get_bind().begin_nested()"])
async def test_what_went_through_the_drivers_own_cursor_is_never_sent_again(project, send, block):
    here = project(
        a=f"""
        import io
        op.execute("CREATE TABLE t (n int)")
        with {block}:
            cursor = op.get_bind().connection.cursor()
            cursor.execute("SELECT 1")
            {send}
        op.execute("COMMIT")
        once("after")
        """,
    )
    error = await fails(here, "after")
    assert "it committed in between, so it may be half applied" in error.why
    await fails(here, "nobody knows whether a statement came to its end", Refused)
    assert execute(here.address, "SELECT n FROM t") == [(1,)]


async def test_what_asyncpg_alone_is_told_is_said_to_be_unheard(project):
    body = """
    past = "CREATE TABLE past (n int)"
    op.get_bind().connection.dbapi_connection.run_async(lambda driver: driver.execute(past))
    """
    run = await up(project("async_template", a=body, b='op.execute("SELECT 1")'), progress=quiet)
    assert run.aftermath is not None
    assert run.aftermath.notes == (
        "a speaks to the driver itself in line 23: nobody noted what it sent there",
    )


async def test_what_is_read_before_it_runs_keeps_its_place_among_those_that_are_read_later(project):
    here = project(
        a="""
        op.execute("CREATE TABLE t (n int)")
        op.execute("DO $$ BEGIN INSERT INTO t VALUES (1); END $$")
        op.execute("INSERT INTO t VALUES (2)")
        op.execute("COMMIT")
        once("after")
        """,
    )
    await fails(here, "after")
    await resumes(here)
    assert execute(here.address, "SELECT n FROM t") == [(1,), (2,)]


async def test_a_temporary_table_is_made_and_filled_again(project):
    here = project(
        a="""
        op.execute("CREATE TEMP TABLE chosen AS SELECT 7 AS n")
        op.execute("INSERT INTO chosen VALUES (8)")
        op.execute("CREATE TABLE t (n int)")
        op.execute("COMMIT")
        once("after")
        op.execute("INSERT INTO t SELECT n FROM chosen")
        """,
    )
    await fails(here, "after")
    await resumes(here)
    assert execute(here.address, "SELECT n FROM t ORDER BY n") == [(7,), (8,)]


async def test_code_that_looks_for_itself_goes_on(project):
    here = project(
        a="""
        mood = sa.Enum("sad", "glad", name="mood")
        mood.create(op.get_bind(), checkfirst=True)
        with op.get_context().autocommit_block():
            op.execute("ALTER TYPE mood ADD VALUE 'calm'")
        once("after")
        op.create_table("t", sa.Column("id", sa.Integer, primary_key=True), sa.Column("n", sa.Integer))
        """,
    )
    await fails(here, "after")
    await resumes(here)
    assert execute(here.address, "SELECT enum_range(NULL::mood)::text") == [("{sad,glad,calm}",)]
    assert tables(here.address) == {"t"}


UNIQUE = """
op.execute("CREATE TABLE t (n int)")
op.execute("INSERT INTO t VALUES (1), (1)")
with op.get_context().autocommit_block():
    op.create_index("ix_t", "t", ["n"], unique=True, postgresql_concurrently=True{more})
"""


@pytest.mark.parametrize("more", ["", ", if_not_exists=True"])
async def test_an_invalid_index_that_we_left_is_dropped_and_built_again(project, more):
    here = project(a=UNIQUE.format(more=more))
    error = await fails(here, "could not create unique index")
    assert "statements 1 to 2 are done" in error.why
    assert execute(here.address, "SELECT indisvalid FROM pg_index WHERE indrelid = 't'::regclass") == [
        (False,)
    ]
    execute(here.address, "DELETE FROM t WHERE ctid = '(0,1)'")
    heard = await resumes(here)
    assert [type(one) for one in heard] == [Resumed, Repaired]
    assert heard[1].index == "public.ix_t"
    assert execute(here.address, "SELECT indisvalid FROM pg_index WHERE indrelid = 't'::regclass") == [
        (True,)
    ]


BEFORE = "CREATE TABLE t (n int); INSERT INTO t VALUES (1), (1)"


def leave_invalid(here):
    execute(here.address, *BEFORE.split("; "))
    with pytest.raises(Exception, match="could not create unique"):
        execute(here.address, "CREATE UNIQUE INDEX CONCURRENTLY ix_t ON t (n)")


async def test_an_invalid_index_of_another_tool_is_dropped_unless_if_not_exists_would_keep_it(project):
    body = """
    with op.get_context().autocommit_block():
        op.create_index("ix_t", "t", ["n"], postgresql_concurrently=True{more})
    """
    here = project(a=body.format(more=", if_not_exists=True"))
    leave_invalid(here)
    error = await fails(here, "INVALID, and IF NOT EXISTS would leave it so", Refused)
    assert "DROP INDEX CONCURRENTLY" in error.hint
    here = project(a='op.execute("CREATE INDEX IF NOT EXISTS ix_t ON t (n)")')
    await fails(here, "INVALID", Refused)
    heard = await resumes(project(a=body.format(more="")))
    assert heard == [Repaired("a", "public.ix_t")]


async def test_what_a_reindex_has_left_is_dropped_first(project):
    here = project(
        a="""
        with op.get_context().autocommit_block():
            op.execute("REINDEX INDEX CONCURRENTLY ix_t_ccnew_no")
            op.execute("REINDEX TABLE CONCURRENTLY t")
        """,
    )
    leave_invalid(here)
    execute(
        here.address,
        "ALTER INDEX ix_t RENAME TO ix_t_ccnew",
        "DELETE FROM t WHERE ctid = '(0,1)'",
        "CREATE INDEX ix_t_ccnew_no ON t (n)",
    )
    assert await resumes(here) == [Repaired("a", "public.ix_t_ccnew")]
    assert execute(
        here.address, "SELECT bool_and(indisvalid), count(*) FROM pg_index WHERE indrelid = 't'::regclass"
    ) == [(True, 1)]


@pytest.mark.parametrize(("started", "rebuilt"), [("valid", False), ("invalid", True), ("gone", True)])
async def test_of_an_index_that_was_started_the_catalog_says_what_became_of_it(project, started, rebuilt):
    here = project(
        a="""
        op.execute("CREATE TABLE t (n int)")
        with op.get_context().autocommit_block():
            op.create_index("ix_t", "t", ["n"], postgresql_concurrently=True)
            once("after")
        """,
    )
    await fails(here, "after")
    execute(here.address, "UPDATE dbctl_steps SET state = 'started' WHERE number = 2")
    if started == "gone":
        execute(here.address, "DROP INDEX ix_t")
    if started == "invalid":
        execute(here.address, "UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'ix_t'::regclass")
    oid = "SELECT oid FROM pg_class WHERE relname = 'ix_t'"
    before = execute(here.address, oid)
    await resumes(here)
    assert (execute(here.address, oid) != before) is rebuilt
    assert execute(here.address, "SELECT indisvalid FROM pg_index WHERE indrelid = 't'::regclass") == [
        (True,)
    ]


async def test_rows_that_a_statement_gave_back_can_not_be_had_again(project):
    here = project(
        a="""
        op.execute("CREATE TABLE t (id serial, n int)")
        new = op.get_bind().execute(sa.text("INSERT INTO t (n) VALUES (1) RETURNING id")).scalar_one()
        op.execute("COMMIT")
        once("after")
        """,
    )
    await fails(here, "after")
    error = await fails(here, "can't be resumed: the rows that a statement gave back", Refused)
    assert "statement 2, which is done, is `INSERT INTO t" in error.why
    assert "--rerun a" in error.hint


async def test_data_is_never_changed_twice_by_code_that_goes_another_way(project):
    body = """
    op.execute("CREATE TABLE t (n int)")
    op.execute("INSERT INTO t VALUES ({value})")
    op.execute("COMMIT")
    once("after")
    """
    here = project(a=body.format(value=1))
    await fails(here, "after")
    project(a=body.format(value=2))
    error = await fails(here, "it goes another way than before", Refused)
    assert error.why.endswith("`INSERT INTO t VALUES (?)`; now it comes with other values in its text")
    assert execute(here.address, "SELECT n FROM t") == [(1,)]
    # The person has undone it by hand, and says so.
    execute(here.address, "DROP TABLE t")
    assert await resumes(here, rerun="a") == []
    assert execute(here.address, "SELECT n FROM t") == [(2,)]
    await fails(here, "is not half applied", Refused, rerun="a")


async def test_which_value_is_another_one_is_named_and_not_shown(project):
    body = """
    op.execute("CREATE TABLE t (n int, word text, at timestamptz)")
    t = sa.table("t", sa.column("n", sa.Integer), sa.column("word", sa.Text), sa.column("at", sa.DateTime))
    op.get_bind().execute(t.insert().values(n=1, word={word!r}, at=datetime.datetime.now()))
    op.execute("COMMIT")
    once("after")
    """
    here = project(a=f"    import datetime\n{body.format(word='same')}")
    await fails(here, "after")
    error = await fails(here, "it goes another way than before", Refused)
    assert "now it comes with another value of at" in error.why
    project(a=f"    import datetime\n{body.format(word='s3cret')}")
    error = await fails(here, "it goes another way than before", Refused)
    assert "other values of " in error.why
    assert "word" in error.why
    assert "s3cret" not in error.why


async def test_how_far_a_backfill_is_can_be_followed_and_stands_in_the_error(project, monkeypatch):
    monkeypatch.setattr("dbctl.migrate.runner.sight._FILLING_SECONDS", 0)
    here = project(
        a="""
        from dbctl.migrate import backfill

        op.execute("CREATE TABLE t AS SELECT i AS id, 0 AS n FROM generate_series(1, 30) i")
        op.execute("ALTER TABLE t ADD PRIMARY KEY (id)")
        slowly = sa.text("id / (25 - id) IS NOT NULL AND pg_sleep(0.05) IS NOT NULL")
        backfill(op, "t", set={"n": sa.column("n") + 1}, where=slowly, batch_rows=2, batch_seconds=0.1)
        """,
    )
    heard: list[Event] = []
    error = await fails(here, "division by zero", hear=heard.append)
    followed = [event.progress.walked_rows for event in heard if isinstance(event, Filling)]
    assert followed
    assert followed == sorted(followed)
    (done,) = execute(here.address, "SELECT count(*) FROM t WHERE n = 1")[0]
    assert f"backfill of t: {done} of about 30 rows walked, {done} changed, which stays" in error.why


async def test_the_other_direction_waits_and_a_stamp_forgets(project):
    here = project(a="pass", b="op.execute('CREATE TABLE t (n int)'); op.execute('COMMIT'); once('after')")
    await fails(here, "after")
    with pytest.raises(Refused, match="revision b is half way up"):
        await down(here, "base", progress=quiet)
    assert (await stamp(here, "b")).after == ("b",)
    assert tables(here.address) == {"t"}


async def test_a_role_that_may_not_make_our_table_is_told_that_nothing_is_noted(project):
    here = project(a="op.execute('CREATE TABLE own.t (n int)'); op.execute('COMMIT'); once('after')")
    execute(
        here.address,
        "CREATE SCHEMA own",
        "CREATE TABLE alembic_version (version_num varchar(32) PRIMARY KEY)",
        "CREATE TABLE dbctl_steps (version_num int)",
        "DO $$ BEGIN IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'poor') THEN CREATE ROLE poor LOGIN; END IF; END $$",
        "GRANT ALL ON SCHEMA own TO poor",
        "GRANT ALL ON alembic_version TO poor",
    )
    env = here.project.env_py
    env.write_text(
        env.read_text().replace(
            "        context.configure(connection",
            "        connection.exec_driver_sql('SET ROLE poor'); connection.commit()\n        context.configure(connection",
        )
    )
    error = await fails(here, "after")
    assert "may be half applied" in error.why
    assert "undo by hand" in error.hint


async def test_an_index_that_failed_outside_of_a_transaction_is_not_called_rolled_back(project):
    here = project(
        a="""
        op.execute("CREATE TABLE t AS SELECT 1 AS n FROM generate_series(1, 2)")
        with op.get_context().autocommit_block():
            op.execute("CREATE UNIQUE INDEX CONCURRENTLY i ON t (n)")
        """,
    )
    error = await fails(here, "could not create unique index")
    assert "statement 1 is done and noted, the next one failed outside of a transaction" in error.why
    assert "INVALID is dropped by the next run" in error.why


async def test_a_role_that_a_revision_took_on_keeps_no_revision_from_being_applied(project):
    here = project(
        a="""
        op.execute("CREATE ROLE dbctl_test_plain")
        op.execute("GRANT ALL ON alembic_version TO dbctl_test_plain")
        op.execute("SET ROLE dbctl_test_plain")
        """,
    )
    try:
        await up(here, progress=quiet, options=RunOptions(history=True))
        assert execute(here.address, "SELECT revision, outcome FROM dbctl_history") == [("a", "applied")]
    finally:
        execute(here.address, "DROP OWNED BY dbctl_test_plain", "DROP ROLE dbctl_test_plain")


async def test_a_lost_connection_is_named_and_another_run_goes_on(project):
    here = project(
        a="""
        op.execute("CREATE TABLE t (n int)")
        with op.get_context().autocommit_block():
            op.execute("INSERT INTO t VALUES (1)")
            if not (HERE / "killed").exists():
                (HERE / "killed").touch()
                op.execute("SELECT pg_terminate_backend(pg_backend_pid())")
            op.execute("INSERT INTO t VALUES (2)")
        """,
    )
    error = await fails(here, "revision a was in flight: the connection was lost", ConnectionLost)
    assert "statements 1 to 2 are done and noted" in error.why
    await resumes(here)
    assert execute(here.address, "SELECT n FROM t") == [(1,), (2,)]


async def test_a_block_within_a_block_says_what_autocommit_wants(project):
    block = "with op.get_context().autocommit_block():"
    here = project(a=f"{block}\n    {block}\n        pass")
    await fails(here, r"autocommit_block\(\) needs a transaction that Alembic began")


async def test_an_env_py_that_exits_with_0_when_all_is_done_has_not_failed(project):
    here = project(a="op.execute('CREATE TABLE t (n int)')")
    env_py = here.project.env_py
    env_py.write_text(env_py.read_text() + "\nimport sys\nsys.exit(0)\n")
    await up(here, progress=quiet)
    assert tables(here.address) == {"t"}
