"""Which publications take in tables that are yet to be made, and which tables have no key for them."""

from __future__ import annotations

from sqlalchemy import Connection, text

from dbctl.postgres.catalog.read import shown_name

_ALL = "SELECT min(pubname::text) FROM pg_publication WHERE puballtables"
_BY_SCHEMA = """
SELECT n.nspname::text AS schema, min(p.pubname::text) AS publication
  FROM pg_publication_namespace AS s
  JOIN pg_publication AS p ON p.oid = s.pnpubid
  JOIN pg_namespace AS n ON n.oid = s.pnnspid
 GROUP BY n.nspname
"""
_BY_SCHEMA_SINCE = 150_000
_KEYLESS = """
SELECT n.nspname::text, c.relname::text
  FROM pg_class AS c
  JOIN pg_namespace AS n ON n.oid = c.relnamespace
 WHERE c.relkind = 'r' AND c.relpersistence = 'p' AND c.relreplident = 'd' AND c.oid >= 16384
   AND n.nspname <> 'information_schema'
   AND NOT EXISTS (SELECT FROM pg_index AS i WHERE i.indrelid = c.oid AND i.indisprimary)
 ORDER BY 1, 2
"""


def read_publishing(connection: Connection) -> dict[str, str]:
    """A publication that takes in every new table, by schema; under "*" one FOR ALL TABLES (pg_publication)."""
    found: dict[str, str] = {}
    if everywhere := connection.scalar(text(_ALL)):
        found["*"] = everywhere
    if int(connection.scalar(text("SHOW server_version_num")) or 0) >= _BY_SCHEMA_SINCE:
        found |= {row.schema: row.publication for row in connection.execute(text(_BY_SCHEMA))}
    return found


def read_keyless(connection: Connection) -> tuple[str, ...]:
    """The tables without a primary key and without another replica identity, by their shown names (pg_class)."""
    return tuple(shown_name(schema, name) for schema, name in connection.execute(text(_KEYLESS)))
