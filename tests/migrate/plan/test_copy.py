"""The copy has the target's whole structure, and nothing of it reaches another server."""

from __future__ import annotations

import pytest

from dbctl.database import ConnInfo, open_database
from dbctl.errors import SettingsError
from dbctl.migrate.plan.copy import copy_schema
from dbctl.migrate.plan.reading import reading
from dbctl.migrate.plan.target import Contents, read_contents, read_server
from dbctl.postgres.alembic_version import read_versions
from dbctl.postgres.binaries import find_servers
from dbctl.postgres.scratch import scratch_server
from dbctl.settings import DatabaseSettings, PoolSettings
from tests.fixtures.database import execute, made_database


async def copy(source, scratch, **changes):
    async with (
        open_database(source, DatabaseSettings(), PoolSettings()) as database,
        open_database(scratch, DatabaseSettings(), PoolSettings()) as into,
    ):
        async with reading(database) as session:
            server, contents = await read_server(session), await read_contents(session)
        async with database.connect() as connection:
            versions = await read_versions(connection)
        contents = Contents(**{name: getattr(contents, name) for name in Contents.__slots__} | changes)
        return await copy_schema(source, server, contents, versions, into=into, is_ours=False)


def names(conninfo, query):
    return {row[0] for row in execute(conninfo, query)}


async def test_all_kinds_of_things_come_along_and_no_row(empty_conninfo, other_conninfo):
    role = f"policy_{empty_conninfo.database}"
    execute(
        empty_conninfo,
        f"CREATE ROLE {role}",
        'CREATE SCHEMA "Ödd\'s"',
        "CREATE TYPE mood AS ENUM ('good', 'bad')",
        "CREATE DOMAIN email AS text CHECK (VALUE ~ '@')",
        'CREATE TABLE "Ödd\'s"."ver""sion" (version_num varchar(32))',
        'INSERT INTO "Ödd\'s"."ver""sion" VALUES (\'two\'), (\'one\')',
        "CREATE TABLE events (id int, mood mood, mail email, day int) PARTITION BY LIST (day)",
        "CREATE TABLE events_1 PARTITION OF events FOR VALUES IN (1)",
        "CREATE TABLE events_other PARTITION OF events DEFAULT",
        "INSERT INTO events VALUES (1, 'good', 'a@b', 1)",
        "CREATE PUBLICATION news FOR TABLE events",
        "ALTER TABLE events ENABLE ROW LEVEL SECURITY",
        f"CREATE POLICY own ON events TO {role} USING (id > 0)",
        "CREATE FUNCTION twice(int) RETURNS int LANGUAGE sql AS 'SELECT $1 * 2'",
        "CREATE VIEW good AS SELECT * FROM events WHERE mood = 'good'",
    )
    try:
        copied = await copy(empty_conninfo, other_conninfo)
        assert (copied.left_out, copied.notes) == ((), ())
        assert names(other_conninfo, "SELECT relname FROM pg_class WHERE relname ~ '^events|^good$'") == {
            "events",
            "events_1",
            "events_other",
            "good",
        }
        assert names(other_conninfo, "SELECT pubname FROM pg_publication") == {"news"}
        assert names(other_conninfo, "SELECT polname FROM pg_policy") == {"own"}
        assert execute(other_conninfo, "SELECT count(*) FROM events") == [(0,)]
        assert names(other_conninfo, 'SELECT version_num FROM "Ödd\'s"."ver""sion"') == {"one", "two"}
    finally:
        execute(other_conninfo, "DROP TABLE IF EXISTS events CASCADE")
        execute(empty_conninfo, "DROP TABLE events CASCADE", f"DROP ROLE {role}")


async def test_sessions_on_the_copy_have_the_targets_settings(empty_conninfo, other_conninfo):
    for setting in (
        "timezone = 'Asia/Kolkata'",
        'search_path = "$user", sales, public',
        "datestyle = 'German'",
    ):
        execute(empty_conninfo, f'ALTER DATABASE "{empty_conninfo.database}" SET {setting}')
    await copy(empty_conninfo, other_conninfo)
    assert execute(other_conninfo, "SHOW timezone") == [("Asia/Kolkata",)]
    assert execute(other_conninfo, "SHOW search_path") == [(f"{empty_conninfo.role}, sales, public",)]
    # psycopg2 has its own DateStyle.
    async with open_database(other_conninfo, DatabaseSettings(), PoolSettings()) as database:
        async with reading(database) as session:
            assert (await read_server(session)).settings["DateStyle"] == "German, DMY"


async def test_a_schema_public_that_is_gone_is_gone_in_the_copy_too(empty_conninfo, other_conninfo):
    execute(empty_conninfo, "DROP SCHEMA public", "CREATE SCHEMA app", "CREATE TABLE app.a (id int)")
    await copy(empty_conninfo, other_conninfo)
    assert names(other_conninfo, "SELECT nspname FROM pg_namespace WHERE nspname !~ '^pg_|^info'") == {"app"}


async def test_foreign_servers_come_without_the_logins_for_them(empty_conninfo, other_conninfo):
    execute(
        empty_conninfo,
        "CREATE FOREIGN DATA WRAPPER remote",
        "CREATE SERVER elsewhere FOREIGN DATA WRAPPER remote",
        "CREATE USER MAPPING FOR PUBLIC SERVER elsewhere OPTIONS (password 'secret')",
        "CREATE USER MAPPING FOR CURRENT_USER SERVER elsewhere OPTIONS (password 'secret')",
    )
    await copy(empty_conninfo, other_conninfo)
    assert names(other_conninfo, "SELECT srvname FROM pg_foreign_server") == {"elsewhere"}
    assert execute(other_conninfo, "SELECT count(*) FROM pg_user_mappings") == [(0,)]


async def test_an_extension_that_the_schema_is_built_on_must_be_there(empty_conninfo, other_conninfo):
    with pytest.raises(SettingsError, match="lacks the extension starlight") as refused:
        await copy(empty_conninfo, other_conninfo, extensions={"starlight": True, "moonlight": False})
    assert "--scratch-url" in refused.value.hint


async def test_an_extension_that_nothing_depends_on_may_be_missing(empty_conninfo, other_conninfo):
    copied = await copy(empty_conninfo, other_conninfo, extensions={"moonlight": False})
    assert copied.notes == (
        "extension moonlight is not on the scratch server; nothing depends on it, so it was left out",
    )


USES = {
    "SELECT 1": False,
    "CREATE TABLE a (mail citext)": True,
    "CREATE TABLE a (mail text); CREATE INDEX ON a (CAST(mail AS citext))": True,
    "CREATE TABLE a (mail text DEFAULT CAST('a' AS citext))": True,
    "CREATE VIEW a AS SELECT CAST('a' AS citext) AS mail": True,
}


async def test_what_depends_on_an_extension_is_seen():
    for one in find_servers():
        with scratch_server(binaries=one) as server:
            conninfo = ConnInfo(server.params)
            if execute(conninfo, "SELECT FROM pg_available_extensions WHERE name = 'citext'"):
                assert await dependence(conninfo) == USES
                return
    pytest.skip("no server here comes with citext")


async def dependence(server):
    found = {}
    for statement in USES:
        with made_database(server) as conninfo:
            execute(conninfo, "CREATE EXTENSION citext", *statement.split("; "))
            async with open_database(conninfo, DatabaseSettings(), PoolSettings()) as database:
                async with reading(database) as session:
                    found[statement] = (await read_contents(session)).extensions["citext"]
    return found
