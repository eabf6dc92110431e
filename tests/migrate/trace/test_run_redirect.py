"""Whatever way a project takes to its database, on scratch it leads to scratch; any other way is refused and named."""

from __future__ import annotations

import os
from textwrap import indent

import pytest

from dbctl.database import ConnInfo
from dbctl.errors import Refused, Unreachable
from dbctl.migrate.rules.judge import judge
from dbctl.migrate.rules.model import Level
from dbctl.migrate.trace.run import TraceOptions, trace
from dbctl.migrate.trace.scratch import made_scratch
from tests.fixtures.cli import url_of
from tests.fixtures.database import execute
from tests.migrate.conftest import tables
from tests.migrate.trace.making import ENGINE, ENV, INI, make_project, traced

TABLE = "op.execute('CREATE TABLE t (id int PRIMARY KEY, n int)')"
AWAY = "postgresql+psycopg2://ada:s3cret@db.example.com/shop"
ASYNC = """
import asyncio, os
from alembic import context
from sqlalchemy.ext.asyncio import create_async_engine

def run(connection):
    context.configure(connection=connection)
    with context.begin_transaction():
        context.run_migrations()

async def main():
    engine = create_async_engine({url})
    async with engine.connect() as connection:
        await connection.run_sync(run)
    await engine.dispose()

asyncio.run(main())
"""
GIVEN = """
from alembic import context
{how}
context.configure(connection=connection)
with context.begin_transaction():
    context.run_migrations()
"""


@pytest.mark.parametrize(
    ("variable", "value", "engine"),
    [
        ("DATABASE_URL", AWAY, "engine = create_engine(os.environ['DATABASE_URL'])"),
        (
            "DATABASE_URL",
            "postgres://ada:s3cret@db.example.com/shop",
            "engine = create_engine(os.environ['DATABASE_URL'].replace('postgres://', 'postgresql+psycopg2://'))",
        ),
        ("SHOP_DSN", AWAY, "engine = create_engine(os.environ['SHOP_DSN'])"),
        ("PGHOST", "db.example.com", "engine = create_engine('postgresql+psycopg2://')"),
        ("PGSERVICE", "shop", "engine = create_engine('postgresql+psycopg2://')"),
    ],
)
async def test_variables_lead_to_scratch_and_are_put_back(tmp_path, monkeypatch, variable, value, engine):
    (tmp_path / "services").write_text("[shop]\nhost=db.example.com\ndbname=shop\n")
    monkeypatch.setenv("PGSERVICEFILE", str(tmp_path / "services"))
    monkeypatch.setenv(variable, value)
    before = dict(os.environ)
    found = await traced(make_project(tmp_path, {"a1": TABLE}, engine=engine))
    assert len(found["a1"].statements) == 1
    assert dict(os.environ) == before


async def test_a_variable_keeps_the_driver_that_it_had(tmp_path, monkeypatch):
    monkeypatch.setenv("DATABASE_URL", "postgresql+asyncpg://ada:s3cret@db.example.com/shop")
    project = make_project(tmp_path, {"a1": TABLE}, env=ASYNC.format(url="os.environ['DATABASE_URL']"))
    assert len((await traced(project))["a1"].statements) == 1


async def test_a_variable_that_is_not_set_is_made_where_it_is_named(tmp_path):
    engine = "engine = create_engine(os.environ['SHOP_DATABASE'])"
    project = make_project(tmp_path, {"a1": TABLE}, engine=engine)
    assert (await traced(project, url_variables=("SHOP_DATABASE",)))["a1"].statements
    with pytest.raises(Exception, match="SHOP_DATABASE"):
        await traced(project)


@pytest.mark.parametrize(
    "how",
    [
        "connection = context.config.attributes['connection']",
        "given = context.config.attributes.get('connection')\nconnection = given.connect().__enter__()",
        f"import sqlalchemy\nconnection = context.config.attributes.get('connection') or sqlalchemy.create_engine('{AWAY}').connect()",
    ],
)
async def test_a_connection_is_given_to_an_env_py_that_wants_one(tmp_path, how):
    project = make_project(tmp_path, {"a1": TABLE, "b2": "op.execute('SELECT 1')"}, env=GIVEN.format(how=how))
    found = await traced(project)
    assert [len(one.statements) for one in found.values()] == [1, 1]


async def test_an_env_py_that_makes_its_own_is_left_alone(tmp_path):
    env = ENV.format(
        engine=f"connectable = config.attributes.get('connection')\nassert connectable is None\n{ENGINE}"
    )
    assert (await traced(make_project(tmp_path, {"a1": TABLE}, env=env)))["a1"].statements


@pytest.mark.parametrize(
    "env",
    [
        ENV.format(engine=f"engine = create_engine('{AWAY}')"),
        ASYNC.format(url=repr(AWAY.replace("psycopg2", "asyncpg"))),
        ENV.format(engine=f"engine = create_engine('{AWAY}')").replace(
            "with engine", "try: engine.connect()\nexcept Exception: pass\nwith engine"
        ),
    ],
)
async def test_an_env_py_that_leads_away_is_refused(tmp_path, env):
    with pytest.raises(Refused, match=r"^env\.py leads to db\.example\.com:5432/shop") as caught:
        await traced(make_project(tmp_path, {"a1": TABLE}, env=env))
    assert "env.py, line" in caught.value.why
    assert "s3cret" not in f"{caught.value} {caught.value.hint}"
    assert "migrate.url_variables" in caught.value.hint
    assert "--isolated" in caught.value.hint


async def test_an_env_py_that_needs_the_network_is_refused(tmp_path):
    env = "import urllib.request\nurllib.request.urlopen('http://config.example.com')"
    with pytest.raises(Refused, match=r"env\.py asks the network for config\.example\.com:80") as caught:
        await traced(make_project(tmp_path, {"a1": TABLE}, env=env))
    assert "--allow-network" in caught.value.hint


@pytest.mark.parametrize(
    ("body", "address"),
    [
        (
            "import psycopg2\npsycopg2.connect('host=db.example.com dbname=shop password=s3cret')",
            "db.example.com:5432/shop",
        ),
        (f"with sa.create_engine('{AWAY}').begin() as own:\n    pass", "db.example.com:5432/shop"),
        (
            "import asyncio, asyncpg\nasyncio.run(asyncpg.connect('postgresql://ada:s3cret@10.0.0.1/shop'))",
            "10.0.0.1:5432/shop",
        ),
        ("import urllib.request\nurllib.request.urlopen('http://example.com')", "example.com:80"),
    ],
)
async def test_a_revision_that_leads_away_fails_and_is_named(tmp_path, body, address):
    bodies = {"a1": TABLE, "b2": body, "c3": "op.execute('ALTER TABLE t ADD c int')"}
    found = await traced(make_project(tmp_path, bodies))
    failure = found["b2"].failure
    assert failure
    assert f"asked for {address} in " in failure.message
    assert "b2.py, line" in failure.message
    assert "s3cret" not in failure.message
    assert not failure.on_rows
    assert not found["c3"].failure


async def test_what_a_revision_was_refused_and_swallowed_is_in_its_trace(tmp_path):
    body = "import psycopg2\ntry:\n    psycopg2.connect('host=db.example.com dbname=shop')\nexcept Exception:\n    pass"
    found = (await traced(make_project(tmp_path, {"a1": TABLE, "b2": body})))["b2"]
    assert not found.failure
    (refusal,) = found.refusals
    assert "asked for db.example.com:5432/shop" in refusal.said
    assert "b2.py, line" in refusal.said
    assert refusal.is_database


async def test_a_revision_may_open_a_connection_of_its_own_to_scratch(tmp_path, monkeypatch):
    monkeypatch.setenv("DATABASE_URL", AWAY)
    body = (
        "import os\nwith sa.create_engine(os.environ['DATABASE_URL']).begin() as own:\n"
        "    own.execute(sa.text('ALTER TABLE t ADD c int'))"
    )
    found = await traced(make_project(tmp_path, {"a1": TABLE, "b2": body}))
    assert not found["b2"].failure
    assert [statement.sql for statement in found["b2"].statements] == ["ALTER TABLE t ADD c int"]


async def test_what_env_py_was_refused_and_did_without_is_noted(tmp_path):
    env = (
        "import socket\ntry:\n    socket.create_connection(('10.9.8.7', 80))\nexcept OSError:\n    pass\n"
        + ENV.format(engine=ENGINE)
    )
    with made_scratch() as scratch:
        assert (await traced(make_project(tmp_path, {"a1": TABLE}, env=env), scratch=scratch))[
            "a1"
        ].statements
        assert len(scratch.notes) == 1
        assert "10.9.8.7:80" in scratch.notes[0]


async def test_two_projects_in_one_ini(tmp_path):
    make_project(
        tmp_path, {"a1": TABLE}, ini=f"{INI}[shop]\nscript_location = %(here)s/shop\npath_separator = os\n"
    )
    (tmp_path / "migrations").rename(tmp_path / "shop")
    from dbctl.migrate.project import read_project

    found = await traced(read_project(tmp_path / "alembic.ini", "shop"))
    assert found["a1"].statements


async def test_a_server_that_was_named_is_used_and_left_as_it_was(server, tmp_path):
    before = execute(server, "SELECT datname FROM pg_database ORDER BY 1")
    body = "op.execute('ALTER TABLE t ADD d int NOT NULL')"
    project = make_project(tmp_path, {"a1": TABLE, "b2": body})
    with made_scratch(url=server) as scratch:
        assert scratch.server is None
        found = await trace(project, scratch, ["a1", "b2"], options=TraceOptions())
        assert tables(scratch.address) == {"t"}
        assert scratch.address.database.startswith("dbctl_scratch_")
        assert execute(scratch.address, "SHOW enable_seqscan") == [("off",)]
    assert found[1].failure
    assert found[1].failure.on_rows
    assert execute(server, "SELECT datname FROM pg_database ORDER BY 1") == before


async def test_on_a_server_that_was_named_other_databases_are_out_of_reach(server, tmp_path, monkeypatch):
    body = f"with sa.create_engine({url_of(server).replace('postgresql:', 'postgresql+psycopg2:')!r}).begin():\n    pass"
    project = make_project(tmp_path, {"a1": body})
    with made_scratch(url=server) as scratch:
        found = await traced(project, scratch=scratch)
    assert found["a1"].failure
    assert f"/{server.database} in " in found["a1"].failure.message


@pytest.mark.parametrize("change", [{"host": "no.such.host.invalid"}, {"host": "127.0.0.1", "port": "1"}])
def test_a_server_that_was_named_and_is_not_there_points_to_its_option(server, change):
    address = ConnInfo({**server.keywords, **change})
    with pytest.raises(Unreachable) as caught, made_scratch(url=address):
        pass
    assert "--scratch-url" in caught.value.hint
    assert "env show" not in caught.value.hint


def test_a_server_where_we_may_not_trace_is_refused(server):
    execute(server, "CREATE ROLE dbctl_dev LOGIN CREATEDB")
    address = ConnInfo({**server.keywords, "user": "dbctl_dev"})
    try:
        with pytest.raises(Refused, match="can't trace"), made_scratch(url=address):
            pass
    finally:
        execute(server, "DROP ROLE dbctl_dev")


def test_a_major_that_is_not_here_falls_back_to_the_next_newer():
    with made_scratch(16) as scratch:
        assert scratch.major == 17
        assert scratch.notes == ("no PostgreSQL 16 here; traced on 17",)


@pytest.mark.parametrize(
    ("body", "by", "level"),
    [
        (f"sa.create_engine('{AWAY}').connect()", "psycopg2", Level.DANGER),
        ("import socket\nsocket.create_connection(('10.0.0.1', 80))", "socket", Level.CAUTION),
    ],
)
async def test_a_refusal_that_the_revision_swallows_is_found(tmp_path, body, by, level):
    swallowed = "try:\n" + indent(body, "    ") + "\nexcept Exception:\n    pass"
    found = await traced(make_project(tmp_path, {"a1": TABLE, "b2": swallowed}))
    assert not found["b2"].failure
    (finding,) = [one for one in judge(found["b2"]).findings if one.hazard == "leaves-scratch"]
    assert (finding.level, by in finding.why) == (level, True)
    assert finding.line
    assert "s3cret" not in finding.why
    assert not found["a1"].refusals


@pytest.mark.parametrize(
    ("body", "where"),
    [
        ("SELECT dblink_exec('host=10.0.0.1', 'DELETE FROM users')", "by dblink"),
        ("DO $$ BEGIN PERFORM * FROM dblink('dbname=shop', 'SELECT 1') AS d (n int); END $$", "by dblink"),
        ("COPY t TO PROGRAM 'psql -h db.example.com'", "a program"),
        ("CREATE SUBSCRIPTION s CONNECTION 'host=10.0.0.1' PUBLICATION p", "CREATE SUBSCRIPTION"),
    ],
)
async def test_sql_by_which_the_server_would_go_elsewhere_is_refused_and_named(tmp_path, body, where):
    found = (await traced(make_project(tmp_path, {"a1": TABLE, "b2": f"op.execute({body!r})"})))["b2"]
    assert found.failure
    assert where in found.failure.message
    assert found.failed_line


async def test_a_foreign_table_is_made_and_not_read(tmp_path):
    made = (
        "CREATE EXTENSION postgres_fdw; CREATE SERVER far FOREIGN DATA WRAPPER postgres_fdw OPTIONS (host '/tmp');"
        "CREATE USER MAPPING FOR CURRENT_USER SERVER far; CREATE FOREIGN TABLE there (id int) SERVER far"
    )
    bodies = {"a1": TABLE, "b2": f"op.execute({made!r})", "c3": "op.execute('INSERT INTO there VALUES (1)')"}
    found = await traced(make_project(tmp_path, bodies))
    assert not found["b2"].failure
    failure = found["c3"].failure
    assert failure
    assert "by the foreign table there" in failure.message
