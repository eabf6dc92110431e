"""What logical replication takes in, and what it can't find the rows of."""

from __future__ import annotations

from sqlalchemy import create_engine

from dbctl.database import ConnInfo
from dbctl.postgres.catalog.publications import read_keyless, read_publishing
from tests.fixtures.database import execute


def test_publications_of_whole_schemas_and_tables_without_a_key(empty_conninfo: ConnInfo):
    engine = create_engine(empty_conninfo.psycopg2_url())
    with engine.connect() as connection:
        assert (read_publishing(connection), read_keyless(connection)) == ({}, ())
    execute(
        empty_conninfo,
        "CREATE SCHEMA s",
        "CREATE TABLE s.log (line text)",
        "CREATE TABLE keyed (id bigint PRIMARY KEY)",
        "CREATE TABLE whole (line text)",
        "ALTER TABLE whole REPLICA IDENTITY FULL",
        "CREATE UNLOGGED TABLE passing (line text)",
        "CREATE PUBLICATION every FOR ALL TABLES",
        "CREATE PUBLICATION one FOR TABLE keyed",
    )
    with engine.connect() as connection:
        assert read_publishing(connection) == {"*": "every"}
        assert read_keyless(connection) == ("s.log",)
    execute(empty_conninfo, "DROP PUBLICATION every", "CREATE PUBLICATION all_of_s FOR TABLES IN SCHEMA s")
    with engine.connect() as connection:
        assert read_publishing(connection) == {"s": "all_of_s"}
    engine.dispose()
