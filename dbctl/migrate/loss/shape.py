"""The tables of the copy and their columns, by oid and attnum: names may change meanwhile, these do not."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, text

from dbctl.migrate.loss.triggers import Trigger, read_triggers

_TABLES = """
SELECT CAST(c.oid AS bigint), n.nspname, c.relname, c.relkind,
       (SELECT CAST(i.inhparent AS bigint) FROM pg_inherits AS i WHERE i.inhrelid = c.oid AND c.relispartition),
       (SELECT array_agg(CAST(a.attname AS text) ORDER BY k.place)
          FROM pg_index AS i CROSS JOIN unnest(i.indkey) WITH ORDINALITY AS k (n, place)
          JOIN pg_attribute AS a ON a.attrelid = i.indrelid AND a.attnum = k.n
         WHERE i.indrelid = c.oid AND i.indisprimary)
  FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
 WHERE c.relkind IN ('r', 'p') AND c.relpersistence <> 't' AND n.nspname !~ '^pg_'
   AND n.nspname <> 'information_schema'
"""
_COLUMNS = """
SELECT CAST(a.attrelid AS bigint), CAST(a.attnum AS int), a.attname, format_type(a.atttypid, a.atttypmod),
       CAST(a.atttypid AS bigint), a.atttypmod, a.attgenerated <> '', a.attidentity = 'a',
       ARRAY(SELECT CAST(e.enumlabel AS text) FROM pg_enum AS e WHERE e.enumtypid = a.atttypid ORDER BY e.enumsortorder)
  FROM pg_attribute AS a JOIN pg_class AS c ON c.oid = a.attrelid JOIN pg_namespace AS n ON n.oid = c.relnamespace
 WHERE a.attnum > 0 AND NOT a.attisdropped AND c.relkind IN ('r', 'p') AND c.relpersistence <> 't'
   AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
"""
_REFERENCES = """
SELECT CAST(k.confrelid AS bigint), CAST(k.conrelid AS bigint), CAST(k.confdeltype AS text),
       ARRAY(SELECT CAST(a.attname AS text) FROM unnest(k.conkey) WITH ORDINALITY AS u (n, place)
               JOIN pg_attribute AS a ON a.attrelid = k.conrelid AND a.attnum = u.n ORDER BY u.place),
       ARRAY(SELECT CAST(a.attname AS text) FROM unnest(k.confkey) WITH ORDINALITY AS u (n, place)
               JOIN pg_attribute AS a ON a.attrelid = k.confrelid AND a.attnum = u.n ORDER BY u.place)
  FROM pg_constraint AS k WHERE k.contype = 'f' AND k.conparentid = 0
"""
_ACTIONS = {"c": "cascade", "n": "set", "d": "set"}


@dataclass(frozen=True, slots=True)
class Reference:
    """A foreign key, seen from the table that it points to; ``action`` is its ON DELETE, "set" for NULL or a default."""

    table: int
    columns: tuple[str, ...]
    referenced: tuple[str, ...]
    action: str


@dataclass(frozen=True, slots=True)
class ColumnShape:
    """A column. ``identity`` is its type's own (oid, modifier, labels): the spelling may stay when the type does not.

    ``is_identity``: GENERATED ALWAYS AS IDENTITY, which no UPDATE may set.
    """

    name: str
    type: str
    identity: tuple[Any, ...]
    is_generated: bool
    is_identity: bool

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels of an enum; empty for another type."""
        labels: tuple[str, ...] = self.identity[-1]
        return labels


@dataclass(frozen=True, slots=True)
class TableShape:
    """A table; ``parent`` is the oid of the one it is a partition of, ``references`` lead to it, ``key`` is primary."""

    schema: str
    name: str
    is_partitioned: bool
    parent: int | None
    columns: Mapping[int, ColumnShape]
    references: tuple[Reference, ...] = ()
    key: tuple[str, ...] = ()
    triggers: tuple[Trigger, ...] = ()

    @property
    def shown(self) -> str:
        """As people write it: without ``public``."""
        return self.name if self.schema == "public" else f"{self.schema}.{self.name}"


Shape = Mapping[int, TableShape]


def read_shape(connection: Connection) -> Shape:
    """Every table there is now (pg_class, pg_attribute, pg_enum, pg_constraint, pg_trigger)."""
    columns: dict[int, dict[int, ColumnShape]] = {}
    for table, number, name, type_, oid, modifier, generated, always, labels in connection.execute(
        text(_COLUMNS)
    ):
        identity = (oid, modifier, tuple(labels))
        columns.setdefault(table, {})[number] = ColumnShape(name, type_, identity, generated, always)
    references: dict[int, list[Reference]] = {}
    for to, table, action, names, referenced in connection.execute(text(_REFERENCES)):
        references.setdefault(to, []).append(
            Reference(table, tuple(names), tuple(referenced), _ACTIONS.get(action, ""))
        )
    triggers = read_triggers(connection)
    return {
        oid: TableShape(
            schema,
            name,
            kind == "p",
            parent,
            columns.get(oid, {}),
            tuple(references.get(oid, ())),
            tuple(key or ()),
            triggers.get(oid, ()),
        )
        for oid, schema, name, kind, parent, key in connection.execute(text(_TABLES))
    }
