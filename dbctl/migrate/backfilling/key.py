"""The primary key that a backfill walks: read from the catalog, compared as a row."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy import ColumnElement, Connection, FromClause, Select, func
from sqlalchemy.types import UserDefinedType

from dbctl.errors import Refused, UsageError
from dbctl.postgres.identifiers import quote_identifier

_KEY = """
SELECT a.attname, format_type(a.atttypid, a.atttypmod), t.typcategory IN ('A', 'C') OR t.typname = 'jsonb'
  FROM pg_index AS i CROSS JOIN unnest(i.indkey) WITH ORDINALITY AS k (attnum, place)
  JOIN pg_attribute AS a ON a.attrelid = i.indrelid AND a.attnum = k.attnum
  JOIN pg_type AS t ON t.oid = a.atttypid
 WHERE i.indrelid = to_regclass(:table) AND i.indisprimary AND i.indisvalid
 ORDER BY k.place
"""
_ROWS = """
SELECT relkind, CAST(reltuples AS bigint) FROM pg_class WHERE oid = to_regclass(:table)
"""

# A place in the key's order, as JSON writes it: the same whatever DateStyle a session has.
Place = str


class _Named(UserDefinedType[Any]):
    """A type by PostgreSQL's own spelling: reflection does not know every one."""

    cache_ok = True

    def __init__(self, spelling: str) -> None:
        self.spelling = spelling

    def get_col_spec(self, **_: Any) -> str:
        return self.spelling


@dataclass(frozen=True, slots=True)
class Key:
    """``columns`` with their types, in the index's order, of the table that is written ``name`` in SQL.

    ``nested`` are those that JSON would write in a form that the type does not read: arrays, records, jsonb.
    """

    name: str
    columns: tuple[ColumnElement[Any], ...]
    types: tuple[str, ...]
    nested: tuple[bool, ...]

    def within(self, after: Place | None, start: Place, until: Place) -> ColumnElement[bool]:
        """The rows behind ``after``, or from ``start`` on where nothing was done yet, up to ``until``."""
        lower = self._row() > self._at(after) if after is not None else self._row() >= self._at(start)
        return sa.and_(lower, self._row() <= self._at(until))

    def edge(self, table: FromClause, *, last: bool) -> Select[str]:
        """The first or the last place of the table; no row where it is empty."""
        order = [column.desc() if last else column.asc() for column in self.columns]
        return sa.select(self._place(self.columns)).select_from(table).order_by(*order).limit(1)

    def next_batch(self, table: FromClause, rows: ColumnElement[bool], size: int) -> Select[str, int]:
        """The last place of the first ``size`` of ``rows``, and how many there are; no row where none is left."""
        labelled = [column.label(f"k{number}") for number, column in enumerate(self.columns)]
        batch = (
            sa.select(*labelled).select_from(table).where(rows).order_by(*self.columns).limit(size)
        ).subquery("batch")
        return (
            sa.select(self._place(tuple(batch.c)), func.count().over())
            .order_by(*(column.desc() for column in batch.c))
            .limit(1)
        )

    def _place(self, columns: tuple[ColumnElement[Any], ...]) -> ColumnElement[str]:
        written = (
            sa.cast(column, sa.Text) if nested else column
            for column, nested in zip(columns, self.nested, strict=True)
        )
        return sa.cast(func.jsonb_build_array(*written), sa.Text)

    def _row(self) -> ColumnElement[Any]:
        return self.columns[0] if len(self.columns) == 1 else sa.tuple_(*self.columns)

    def _at(self, place: Place) -> ColumnElement[Any]:
        texts = [_text(value) for value in json.loads(place, parse_int=str, parse_float=str)]
        values = [
            sa.cast(sa.literal(value, sa.Text), _Named(type_))
            for value, type_ in zip(texts, self.types, strict=True)
        ]
        return values[0] if len(values) == 1 else sa.tuple_(*values)


def read_key(connection: Connection, name: str) -> tuple[Key, int | None]:
    """The key of a table, and the estimate of its rows (pg_index, pg_class). Raises UsageError, Refused."""
    there = connection.execute(sa.text(_ROWS), {"table": name}).one_or_none()
    if there is None:
        raise UsageError(f"there is no table {name} to backfill")
    found = connection.execute(sa.text(_KEY), {"table": name}).all()
    if not found:
        raise Refused(
            f"{name} can't be backfilled in batches",
            why="it has no primary key, by which batches are told apart",
            hint="give it one, or change its rows in one statement",
        )
    columns: tuple[ColumnElement[Any], ...] = tuple(
        sa.literal_column(f"{name}.{quote_identifier(column)}") for column, *_ in found
    )
    rows = int(there[1]) if int(there[1]) > 0 else None
    return Key(name, columns, tuple(one[1] for one in found), tuple(one[2] for one in found)), rows


def _text(value: Any) -> str:
    """A value of JSON as PostgreSQL reads it back."""
    if isinstance(value, bool):
        return str(value).lower()
    return value if isinstance(value, str) else json.dumps(value)
