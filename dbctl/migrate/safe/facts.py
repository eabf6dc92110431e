"""What the safe form depends on and the models do not say: partitioned tables, and the names that are taken."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field

from sqlalchemy import Connection, text

from dbctl.postgres.identifiers import quote_identifier

# The schema (None: the connection's default) and the name.
TableKey = tuple[str | None, str]

# What to_regclass can't resolve is not there, and has no row.
_TABLES = """
SELECT wanted.position, n.nspname, CAST(c.relkind AS text)
  FROM unnest(CAST(:names AS text[])) WITH ORDINALITY AS wanted(name, position)
  JOIN pg_catalog.pg_class c ON c.oid = to_regclass(wanted.name)
  JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
"""
_TAKEN = """
SELECT n.nspname, taken.name
  FROM (SELECT connamespace AS namespace, conname AS name FROM pg_catalog.pg_constraint
        UNION SELECT relnamespace, relname FROM pg_catalog.pg_class) AS taken
  JOIN pg_catalog.pg_namespace n ON n.oid = taken.namespace
 WHERE n.nspname = ANY(CAST(:schemas AS text[]))
"""
_VOLATILE = "SELECT DISTINCT CAST(proname AS text) FROM pg_catalog.pg_proc WHERE provolatile = 'v'"


@dataclass(slots=True)
class Facts:
    """``schemas`` has the real schema of each table that is there; ``taken`` the names in use, by schema;
    ``volatile`` those of functions that may give each row another value.
    """

    default_schema: str | None
    schemas: dict[TableKey, str] = field(default_factory=dict)
    partitioned: set[TableKey] = field(default_factory=set)
    taken: dict[str, set[str]] = field(default_factory=dict)
    volatile: frozenset[str] = frozenset()

    def key(self, schema: str | None, name: str) -> TableKey:
        """One key for a table, however its schema is written."""
        return (None if schema == self.default_schema else schema, str(name))

    def names_in(self, table: TableKey) -> set[str]:
        """The names in use where the table is; those that are chosen belong in there too."""
        return self.taken.setdefault(self.schemas.get(table, ""), set())


def read_facts(connection: Connection, tables: Collection[TableKey]) -> Facts:
    """Read them for the tables (pg_class, pg_constraint, pg_proc), which need not be there."""
    facts = Facts(connection.dialect.default_schema_name)
    wanted = [facts.key(*table) for table in tables]
    rows = connection.execute(text(_TABLES), {"names": [qualified(*table) for table in wanted]})
    for position, schema, kind in rows:
        table = wanted[position - 1]
        facts.schemas[table] = schema
        if kind == "p":
            facts.partitioned.add(table)
    schemas = sorted(set(facts.schemas.values()))
    for schema, name in connection.execute(text(_TAKEN), {"schemas": schemas}):
        facts.taken.setdefault(schema, set()).add(name)
    facts.volatile = frozenset(connection.scalars(text(_VOLATILE)))
    return facts


def qualified(schema: str | None, name: str) -> str:
    """The quoted name of an object, with its schema where it has one."""
    return f"{quote_identifier(schema)}.{quote_identifier(name)}" if schema else quote_identifier(name)
