"""What is in the tables of a scratch database, so that rows that a downgrade loses are seen."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from sqlalchemy import Connection

from dbctl.postgres.identifiers import quote_identifier

# A larger table is no synthetic one, and its rows are counted by nobody here.
_MOST_BYTES = 1 << 20
_LISTED = rf"""
SELECT n.nspname, c.relname, CAST(c.oid AS bigint) FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
 WHERE c.relkind = 'r' AND c.relpersistence <> 't' AND n.nspname !~ '^pg_'
   AND n.nspname NOT IN ('information_schema', 'dbctl_scratch') AND pg_relation_size(c.oid) BETWEEN 1 AND {_MOST_BYTES}
   AND NOT EXISTS (SELECT FROM pg_depend AS d
                    WHERE d.classid = CAST('pg_class' AS regclass) AND d.objid = c.oid AND d.deptype = 'e')
"""  # noqa: S608 - a number of ours
Rows = tuple[Mapping[str, str], ...]
# They are others each time they are made.
_MOMENT = re.compile(r'"\d{4}-\d\d-\d\dT[^"]*"')
_RANDOM = re.compile(r'"[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}"')


@dataclass(frozen=True, slots=True)
class Held:
    """What is in a table, values as JSON; ``oid`` tells it from another one of the same name."""

    oid: int
    rows: Rows


Content = Mapping[str, Held]


@dataclass(frozen=True, slots=True)
class Loss:
    """Values that are not what they were; ``table`` with its schema, ``columns`` empty if there are other rows."""

    table: str
    columns: tuple[str, ...]
    rows_before: int
    rows_after: int


def read_content(connection: Connection, version_table: str) -> dict[str, Held]:
    """What is in each small table by its name (``schema.name``); the version table left out."""
    connection.exec_driver_sql("SET LOCAL enable_seqscan = on")
    names = [
        (schema, name, oid)
        for schema, name, oid in connection.exec_driver_sql(_LISTED)
        if name != version_table
    ]
    parts = (
        f"SELECT {number}, (SELECT json_agg(to_jsonb(x))::text FROM ONLY {quote_identifier(schema)}.{quote_identifier(name)} AS x)"  # noqa: S608 - quoted names
        for number, (schema, name, _) in enumerate(names)
    )
    union = " UNION ALL ".join(parts)
    found = connection.exec_driver_sql(union.replace("%", "%%")) if names else ()
    content = {
        ".".join(names[number][:2]): Held(names[number][2], _rows(document)) for number, document in found
    }
    connection.rollback()
    return content


def find_losses(before: Content, between: Content, after: Content) -> Iterator[Loss]:
    """What a downgrade lost: not what the upgrade changed or removed, and the downgrade left as it was then.

    ``between`` is the content after the upgrade. A column that is new there and holds what another one held
    before is that one under another name.
    """
    names = {one.oid: one for one in between.values()}
    for table, held in before.items():
        if table not in after:
            continue
        rows, now = held.rows, after[table].rows
        meant = names.get(held.oid) or between.get(table)
        then = meant.rows if meant else None
        if len(now) < len(rows) and (then is None or len(then) >= len(rows)):
            yield Loss(table, (), len(rows), len(now))
            continue
        columns = tuple(
            column
            for column in (rows[0] if rows else ())
            if now and column in now[0] and _is_lost(column, rows, then or (), now)
        )
        if columns:
            yield Loss(table, columns, len(rows), len(now))


def find_others(before: Content, first: Content, second: Content) -> Iterator[Loss]:
    """What a second upgrade makes of rows and columns that were there ``before`` and the ``first`` made otherwise.

    Moments and random ids are others each time.
    """
    for table in before:
        if not (table in first and table in second and first[table].oid == second[table].oid):
            continue
        once, twice = first[table].rows, second[table].rows
        if len(once) != len(twice):
            yield Loss(table, (), len(once), len(twice))
            continue
        known = before[table].rows[:1]
        columns = tuple(
            column
            for column in (once[0] if once and known else ())
            if column in known[0]
            and column in twice[0]
            and _is_other(_values(column, once), _values(column, twice))
        )
        if columns:
            yield Loss(table, columns, len(once), len(twice))


def _is_other(once: Counter[str], twice: Counter[str]) -> bool:
    differ = [*(once - twice), *(twice - once)]
    return any(not (_MOMENT.fullmatch(value) or _RANDOM.fullmatch(value)) for value in differ)


def _is_lost(column: str, held: Rows, then: Rows, now: Rows) -> bool:
    before, after = _values(column, held), _values(column, now)
    if before == after or not any(value != "null" for value in before):
        return False
    if not then:
        return False
    if column not in then[0]:
        new = [name for name in then[0] if name not in held[0]]
        return any(_values(name, then) == before for name in new)
    between = _values(column, then)
    if between != before and _took_its_name(between, held, then):
        return False
    return between == before or between != after


def _took_its_name(between: Counter[str], held: Rows, then: Rows) -> bool:
    """Whether the upgrade dropped the column and gave its name to another one."""
    gone = [name for name in held[0] if name not in then[0]]
    return any(_values(name, held) == between for name in gone)


def _values(column: str, rows: Rows) -> Counter[str]:
    # Scratch lives in UTC: with and without a time zone the moment is the same.
    return Counter(row[column].replace('+00:00"', '"') for row in rows)


def _rows(document: str | None) -> Rows:
    return tuple(
        {name: json.dumps(value) for name, value in row.items()} for row in json.loads(document or "[]")
    )
