"""What is in the tables of a scratch database, so that rows that a downgrade loses are seen."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from sqlalchemy import Connection

from dbctl.postgres.identifiers import quote_identifier

# A larger table is no synthetic one, and its rows are counted by nobody here.
_MOST_BYTES = 1 << 20
_LISTED = rf"""
SELECT n.nspname, c.relname FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
 WHERE c.relkind = 'r' AND c.relpersistence <> 't' AND n.nspname !~ '^pg_'
   AND n.nspname NOT IN ('information_schema', 'dbctl_scratch') AND pg_relation_size(c.oid) BETWEEN 1 AND {_MOST_BYTES}
   AND NOT EXISTS (SELECT FROM pg_depend AS d
                    WHERE d.classid = CAST('pg_class' AS regclass) AND d.objid = c.oid AND d.deptype = 'e')
"""  # noqa: S608 - a number of ours
Rows = tuple[Mapping[str, str], ...]


@dataclass(frozen=True, slots=True)
class Loss:
    """Values that are not what they were; ``table`` with its schema, ``columns`` empty if whole rows are gone."""

    table: str
    columns: tuple[str, ...]
    rows_before: int
    rows_after: int


def read_content(connection: Connection, version_table: str) -> dict[str, Rows]:
    """The rows of each small table by its name (``schema.name``), values as text; not the version table's."""
    connection.exec_driver_sql("SET LOCAL enable_seqscan = on")
    names = [(schema, name) for schema, name in connection.exec_driver_sql(_LISTED) if name != version_table]
    parts = (
        f"SELECT {number}, (SELECT json_agg(to_jsonb(x))::text FROM ONLY {quote_identifier(schema)}.{quote_identifier(name)} AS x)"  # noqa: S608 - quoted names
        for number, (schema, name) in enumerate(names)
    )
    union = " UNION ALL ".join(parts)
    found = connection.exec_driver_sql(union.replace("%", "%%")) if names else ()
    content = {".".join(names[number]): _rows(document) for number, document in found}
    connection.rollback()
    return content


def find_losses(
    before: Mapping[str, Rows], between: Mapping[str, Rows], after: Mapping[str, Rows]
) -> Iterator[Loss]:
    """What a downgrade lost: not what the upgrade changed or removed, and the downgrade left as it was then.

    ``between`` is the content after the upgrade. A column that is new there and holds what another one held
    before is that one under another name.
    """
    for table, rows in before.items():
        if table not in after:
            continue
        held, now = rows, after[table]
        then = between.get(table)
        if len(now) < len(held) and (then is None or len(then) >= len(held)):
            yield Loss(table, (), len(held), len(now))
            continue
        columns = tuple(
            column
            for column in (held[0] if held else ())
            if now and column in now[0] and _is_lost(column, held, then or (), now)
        )
        if columns:
            yield Loss(table, columns, len(held), len(now))


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
    return between == before or between != after


def _values(column: str, rows: Rows) -> Counter[str]:
    return Counter(row[column] for row in rows)


def _rows(document: str | None) -> Rows:
    return tuple(
        {name: json.dumps(value) for name, value in row.items()} for row in json.loads(document or "[]")
    )
