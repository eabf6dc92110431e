"""Reads what has to be known of empty tables, in two queries for all of them."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from typing import Any

from sqlalchemy import Connection, Row, text

from dbctl.migrate.rows.model import Check, Column, ForeignKey, Table, Type
from dbctl.migrate.rows.statement import rows_of
from dbctl.postgres.identifiers import quote_identifier

# Fields that newer servers have are read by to_jsonb(): absent, they are NULL.
_TABLES = text("""
WITH wanted AS (
    SELECT CAST(value AS oid) AS oid FROM jsonb_array_elements_text(CAST(CAST(:oids AS text) AS jsonb))
)
SELECT c.oid, n.nspname, c.relname, CAST(c.xmin AS text) AS mark,
  (SELECT jsonb_agg(jsonb_build_array(
       a.attname, CAST(a.atttypid AS bigint), a.atttypmod, format_type(a.atttypid, a.atttypmod), a.attnotnull,
       coalesce(pg_get_expr(d.adbin, d.adrelid), ''), a.attgenerated <> '', a.attidentity <> '') ORDER BY a.attnum)
     FROM pg_attribute AS a
     LEFT JOIN pg_attrdef AS d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
    WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped) AS attributes,
  (SELECT jsonb_agg(jsonb_build_array(k.conname, pg_get_expr(k.conbin, k.conrelid)) ORDER BY k.conname)
     FROM pg_constraint AS k
    WHERE k.conrelid = c.oid AND k.contype = 'c'
      AND coalesce(to_jsonb(k) ->> 'conenforced', 'true') = 'true') AS checks,
  CASE WHEN c.relispartition THEN pg_get_partition_constraintdef(c.oid) END AS bounds,
  (SELECT jsonb_agg(jsonb_build_array(
       CAST(k.oid AS bigint), k.conname,
       (SELECT jsonb_agg(a.attname ORDER BY o.n) FROM unnest(k.conkey) WITH ORDINALITY AS o(attnum, n)
          JOIN pg_attribute AS a ON a.attrelid = k.conrelid AND a.attnum = o.attnum),
       CAST(k.confrelid AS bigint), pn.nspname, p.relname,
       (SELECT jsonb_agg(a.attname ORDER BY o.n) FROM unnest(k.confkey) WITH ORDINALITY AS o(attnum, n)
          JOIN pg_attribute AS a ON a.attrelid = k.confrelid AND a.attnum = o.attnum)) ORDER BY k.conname)
     FROM pg_constraint AS k
     JOIN pg_class AS p ON p.oid = k.confrelid
     JOIN pg_namespace AS pn ON pn.oid = p.relnamespace
     LEFT JOIN pg_constraint AS whole ON whole.oid = k.conparentid AND whole.conrelid = k.conrelid
    WHERE k.conrelid = c.oid AND k.contype = 'f' AND whole.oid IS NULL
      AND coalesce(to_jsonb(k) ->> 'conenforced', 'true') = 'true') AS foreign_keys,
  (SELECT jsonb_agg(jsonb_build_array(
       (SELECT coalesce(jsonb_agg(a.attname), '[]') FROM unnest(i.indkey) WITH ORDINALITY AS o(attnum, n)
          JOIN pg_attribute AS a ON a.attrelid = i.indrelid AND a.attnum = o.attnum
         WHERE o.n <= i.indnkeyatts),
       coalesce(pg_get_expr(i.indexprs, i.indrelid), '')))
     FROM pg_index AS i
    WHERE i.indrelid = c.oid AND (i.indisunique OR i.indisexclusion)) AS unique_keys,
  (SELECT jsonb_agg(jsonb_build_array(
       'index ' || ic.relname,
       concat_ws(', ', pg_get_expr(i.indexprs, i.indrelid), pg_get_expr(i.indpred, i.indrelid))))
     FROM pg_index AS i
     JOIN pg_class AS ic ON ic.oid = i.indexrelid
    WHERE i.indrelid = c.oid AND (i.indexprs IS NOT NULL OR i.indpred IS NOT NULL)) AS computed,
  (SELECT jsonb_agg(CAST(up.relid AS bigint)) FROM pg_partition_ancestors(c.oid) AS up
    WHERE up.relid <> c.oid) AS ancestors,
  (SELECT jsonb_agg(jsonb_build_array(kn.nspname, k.conname))
     FROM pg_constraint AS k
     JOIN pg_namespace AS kn ON kn.oid = k.connamespace
    WHERE k.conrelid = c.oid AND k.condeferred) AS deferred
  FROM wanted
  JOIN pg_class AS c ON c.oid = wanted.oid
  JOIN pg_namespace AS n ON n.oid = c.relnamespace
 ORDER BY c.oid
""")
_TYPES = text("""
WITH RECURSIVE needed(oid) AS (
    SELECT CAST(value AS oid) FROM jsonb_array_elements_text(CAST(CAST(:oids AS text) AS jsonb))
    UNION
    SELECT part.oid
      FROM needed
      JOIN pg_type AS t ON t.oid = needed.oid
      CROSS JOIN LATERAL (
          SELECT t.typbasetype AS oid
          UNION ALL SELECT t.typelem
          UNION ALL SELECT r.rngsubtype FROM pg_range AS r
                     WHERE CAST(t.oid AS text) IN (CAST(r.rngtypid AS text), to_jsonb(r) ->> 'rngmultitypid')
          UNION ALL SELECT a.atttypid FROM pg_attribute AS a
                     WHERE a.attrelid = t.typrelid AND a.attnum > 0 AND NOT a.attisdropped
      ) AS part
     WHERE part.oid <> 0
)
SELECT t.oid, t.typname, format_type(t.oid, NULL) AS shown, CAST(t.typtype AS text) AS kind, t.typnotnull, t.typbasetype, t.typtypmod,
       CASE WHEN t.typtype = 'd' THEN format_type(t.typbasetype, t.typtypmod) ELSE '' END AS base_shown,
       CASE WHEN t.typcategory = 'A' THEN t.typelem ELSE 0 END AS element,
       coalesce((SELECT r.rngsubtype FROM pg_range AS r
                  WHERE CAST(t.oid AS text) IN (CAST(r.rngtypid AS text), to_jsonb(r) ->> 'rngmultitypid')), 0) AS subtype,
       (SELECT jsonb_agg(e.enumlabel ORDER BY e.enumsortorder) FROM pg_enum AS e WHERE e.enumtypid = t.oid) AS labels,
       (SELECT jsonb_agg(jsonb_build_array(CAST(a.atttypid AS bigint), a.atttypmod) ORDER BY a.attnum)
          FROM pg_attribute AS a
         WHERE a.attrelid = t.typrelid AND t.typtype = 'c' AND a.attnum > 0 AND NOT a.attisdropped) AS attributes,
       (SELECT jsonb_agg(pg_get_expr(k.conbin, 0)) FROM pg_constraint AS k
         WHERE k.contypid = t.oid AND k.contype = 'c') AS checks
  FROM needed
  JOIN pg_type AS t ON t.oid = needed.oid
""")
# FirstGenbkiObjectId: what has a smaller oid is the same in every database of a version, and asked for once.
_FIRST_GENERATED_OID = 10_000
_built_in: dict[str, dict[int, Type]] = {}
_STRING = re.compile(r"'(?:[^']|'')*'")
_WORD = re.compile(r'"((?:[^"]|"")+)"|\b([a-z_][a-z0-9_]*)')


def read_tables(connection: Connection, oids: Collection[int]) -> list[Table]:
    """The tables' columns, constraints and unique indexes (pg_class and those that refer to it)."""
    return [_table(row) for row in rows_of(connection, _TABLES, oids=list(oids))]


def read_types(connection: Connection, tables: Iterable[Table]) -> dict[int, Type]:
    """All types that the tables use, and those that these are made of (pg_type, pg_enum, pg_range), by oid."""
    oids = {column.type for table in tables for column in table.columns}
    known = _built_in.setdefault(str(connection.dialect.server_version_info), {})
    if missing := sorted(oids - known.keys()):
        types = {row.oid: _type(row) for row in rows_of(connection, _TYPES, oids=missing)}
        known |= {oid: type_ for oid, type_ in types.items() if oid < _FIRST_GENERATED_OID}
        return known | types
    return dict(known)


def _type(row: Row[Any]) -> Type:
    return Type(
        row.oid,
        row.typname,
        row.shown,
        row.kind,
        row.typnotnull,
        (row.typbasetype, row.typtypmod),
        row.base_shown,
        row.element,
        row.subtype,
        tuple(row.labels or ()),
        tuple((oid, typmod) for oid, typmod in row.attributes or ()),
        tuple(row.checks or ()),
    )


def _table(row: Row[Any]) -> Table:
    columns = tuple(Column(*column) for column in row.attributes or ())
    origins = _Origins(columns)
    constraints = [*(row.checks or ()), *([("its partition bounds", row.bounds)] if row.bounds else ())]
    constraints += [_not_null(column) for column in columns if column.generated and column.not_null]
    # Computed at least: a sum may leave its type's bounds.
    computed = [(f"generated column {c.name}", quote_identifier(c.name)) for c in columns if c.generated]
    constraints += [(name, f"num_nulls({sql}) >= 0") for name, sql in [*computed, *(row.computed or ())]]
    return Table(
        row.oid,
        row.nspname,
        row.relname,
        row.mark,
        columns,
        tuple(Check(name, sql, origins.of(sql), origins.texts(sql)) for name, sql in constraints),
        tuple(
            ForeignKey(oid, name, tuple(own), parent, schema, parent_name, tuple(theirs))
            for oid, name, own, parent, schema, parent_name, theirs in row.foreign_keys or ()
        ),
        tuple(origins.among(plain) | origins.of(sql) for plain, sql in row.unique_keys or ()),
        frozenset(row.ancestors or ()),
        tuple((schema, name) for schema, name in row.deferred or ()),
    )


def _not_null(column: Column) -> tuple[str, str]:
    return f"NOT NULL of {column.name}", f"{quote_identifier(column.name)} IS NOT NULL"


class _Origins:
    """Which columns an expression is about: by their names, for one too many does no harm."""

    def __init__(self, columns: Iterable[Column]) -> None:
        listed = list(columns)
        self._names = frozenset(column.name for column in listed)
        self._texts = {column.name: column.expression for column in listed if column.generated}
        self._made_of = {c.name: self._mentioned(c.expression) for c in listed if c.generated}

    def of(self, expression: str) -> frozenset[str]:
        return self.among(self._mentioned(expression))

    def texts(self, expression: str) -> tuple[str, ...]:
        """The expression, and what makes the generated columns that it is about."""
        return (
            expression,
            *(self._texts[name] for name in sorted(self._mentioned(expression) & self._texts.keys())),
        )

    def among(self, names: Iterable[str]) -> frozenset[str]:
        """The names, and what the generated ones among them are made of."""
        direct = frozenset(names)
        return direct.union(*(self._made_of.get(name, frozenset()) for name in direct))

    def _mentioned(self, expression: str) -> frozenset[str]:
        found = _WORD.findall(_STRING.sub("", expression))
        return frozenset(quoted.replace('""', '"') or plain for quoted, plain in found) & self._names
