"""What is to be saved of what is doomed: whole tables, or rows and columns of one; and the SQL that brings it back."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from dbctl.migrate.loss.columns import column_name, does_not_fit
from dbctl.migrate.loss.doomed import Doomed
from dbctl.migrate.loss.look import Look
from dbctl.migrate.loss.model import Loss
from dbctl.migrate.loss.names import qualified, source
from dbctl.migrate.loss.shape import Shape, TableShape
from dbctl.postgres.identifiers import quote_identifier

_PLAIN = re.compile(r"[^A-Za-z0-9_.]+")


@dataclass(frozen=True, slots=True)
class Part:
    """Rows for one CSV file. ``query`` reads them now; ``back`` are lines of a psql script."""

    name: str
    table: TableShape
    columns: tuple[str, ...]
    query: str
    back: str


@dataclass(frozen=True, slots=True)
class Parts:
    """``tables`` are dumped as a whole, partitions named one by one: pg_dump takes a name for that one table."""

    tables: tuple[TableShape, ...]
    rows: tuple[Part, ...]

    def __bool__(self) -> bool:
        return bool(self.tables or self.rows)


def parts_of(seen: Look) -> Parts:
    """What has to be saved, each table, row and column once; nothing of what loses nothing."""
    pairs = [(one, loss) for one, loss in zip(seen.doomed, seen.outlook.losses, strict=True) if loss.loses]
    whole = {one.oid for one, _ in pairs if _is_whole(one)}
    tables = {oid for oid in seen.start for each in whole if _is_part_of(seen.start, oid, each)}
    rows: dict[str, Part] = {}
    for doomed, loss in pairs:
        if doomed.oid not in tables:
            part = _part(doomed, loss, len(rows) + 1)
            rows.setdefault(part.query, part)
    return Parts(tuple(seen.start[oid] for oid in sorted(tables)), tuple(rows.values()))


def _is_whole(doomed: Doomed) -> bool:
    """Whether the table is saved as it is: rows that can't be told, columns of rows that have no key of their own."""
    if doomed.kind == "dropped table" or (doomed.kind == "deleted rows" and not doomed.rows):
        return True
    if doomed.column is None:
        return False
    return not doomed.table.key or doomed.column.name in doomed.table.key


def _is_part_of(start: Shape, oid: int | None, whole: int) -> bool:
    while oid is not None and oid in start:
        if oid == whole:
            return True
        oid = start[oid].parent
    return False


def _part(doomed: Doomed, loss: Loss, number: int) -> Part:
    name = _PLAIN.sub("_", "-".join(filter(None, (f"{number:02}", doomed.table.shown, loss.column))))
    return _of_rows(doomed, name) if doomed.column is None else _of_column(doomed, loss, name)


def _of_rows(doomed: Doomed, name: str) -> Part:
    table = doomed.table
    columns = tuple(column.name for column in table.columns.values() if not column.is_generated)
    listed = _listed(columns)
    return Part(
        name,
        table,
        columns,
        f"SELECT {listed} FROM ({doomed.rows}) AS doomed",  # noqa: S608 - quoted names, the revision's own query
        f"\\copy {qualified(table)} ({listed}) FROM '{name}.csv' WITH (FORMAT csv, HEADER)\n",
    )


def _of_column(doomed: Doomed, loss: Loss, name: str) -> Part:
    table, column, key = doomed.table, column_name(doomed), _listed(doomed.table.key)
    meant = f"{column} IS NOT NULL"
    if (
        doomed.kind == "changed type"
        and loss.count is not None
        and not loss.why
        and not _takes_labels(doomed)
    ):
        # Of a type that most values fit only the others are put aside.
        meant = does_not_fit(doomed)
    same = f"({_listed(table.key, 't.')}) = ({_listed(table.key, 'saved.')})"
    back = [
        f"CREATE TEMPORARY TABLE saved AS SELECT {key}, {column} FROM {qualified(table)} WITH NO DATA;",  # noqa: S608
        f"\\copy saved FROM '{name}.csv' WITH (FORMAT csv, HEADER)",
        f"UPDATE {qualified(table)} AS t SET {column} = saved.{column} FROM saved WHERE {same};",  # noqa: S608
        "DROP TABLE saved;",
    ]
    query = f"SELECT {key}, {column} FROM {source(table)} WHERE {meant}"  # noqa: S608
    return Part(name, table, (*table.key, loss.column), query, "\n".join(back) + "\n")


def _takes_labels(doomed: Doomed) -> bool:
    return bool(doomed.becomes and doomed.becomes.labels)


def _listed(names: Sequence[str], of: str = "") -> str:
    return ", ".join(f"{of}{quote_identifier(name)}" for name in names)
