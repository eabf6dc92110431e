"""Where a database stands is told without changing it, by env.py or by the catalog alone."""

from __future__ import annotations

from dbctl.migrate.runner import up
from dbctl.migrate.status import read_status
from dbctl.postgres.alembic_version import VersionTable, read_versions
from tests.fixtures.database import execute
from tests.migrate.conftest import quiet, tables


async def test_an_empty_database_has_all_to_come_and_stays_empty(site):
    here = site("async_template")
    found = await read_status(here)
    assert (found.current, found.heads, found.at_head) == ((), ("c3",), False)
    assert [revision.id for revision in found.pending] == ["a1", "b2", "c3"]
    assert execute(here.address, "SELECT count(*) FROM pg_class WHERE relname = 'alembic_version'") == [(0,)]


async def test_half_way_and_at_head(site):
    here = site("sync_template")
    await up(here, "a1", progress=quiet)
    found = await read_status(here)
    assert (found.current, [revision.id for revision in found.pending]) == (("a1",), ["b2"])
    await up(here, progress=quiet)
    assert (await read_status(here)).at_head


async def test_a_head_that_another_branch_depends_on_counts_as_applied(site):
    here = site("branches")
    await up(here, progress=quiet)
    found = await read_status(here)
    assert found.at_head
    assert found.current == ("left2",)
    assert set(found.heads) == {"left2", "right1"}


async def test_status_imports_no_revision(site, capfd):
    found = await read_status(site("prints"))
    assert found.heads == ("a1",)
    assert "a revision prints" not in "".join(capfd.readouterr())


async def test_version_tables_are_found_by_shape_in_any_schema(site):
    here = site("version_schema")
    awkward = 'CREATE TABLE "Ödd:schema"."ver""sion" (version_num varchar(32))'
    execute(
        here.address,
        "CREATE SCHEMA admin",
        'CREATE SCHEMA "Ödd:schema"',
        awkward,
        """INSERT INTO "Ödd:schema"."ver""sion" VALUES ('two'), ('one')""",
        "CREATE TABLE no_version_table (version_num varchar(32), more int)",
    )
    await up(here, progress=quiet)
    async with here.database.connect() as connection:
        found = await read_versions(connection)
    assert found == [
        VersionTable("admin", "revisions", ("a1",)),
        VersionTable("Ödd:schema", 'ver"sion', ("one", "two")),
    ]
    assert tables(here.address, "admin") == {"revisions"}


async def test_a_version_table_that_we_may_not_read_is_still_named(site, server):
    here = site("sync_template")
    await up(here, progress=quiet)
    role = f"reader_{here.address.database}"
    execute(server, f"CREATE ROLE {role}")
    try:
        async with here.database.connect() as connection:
            from sqlalchemy import text

            await connection.execute(text(f"SET ROLE {role}"))
            assert await read_versions(connection) == [VersionTable("public", "alembic_version", None)]
            await connection.execute(text("RESET ROLE"))
    finally:
        execute(server, f"DROP ROLE {role}")
