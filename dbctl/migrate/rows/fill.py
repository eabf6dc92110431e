"""Puts rows into a table, or into a circle of tables at once; a failure leaves the transaction as it was."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from dbctl.migrate.rows.choose import choose, distinct_columns
from dbctl.migrate.rows.model import ForeignKey, Table
from dbctl.migrate.rows.search import Search, search, solved
from dbctl.migrate.rows.solve import Combination, Part, tied
from dbctl.migrate.rows.sources import Picked, Unfillable, make_sources, promised
from dbctl.migrate.rows.statement import json_parameter, listed, qualified, rows_of, run, told
from dbctl.migrate.rows.values import VARIANTS, Values
from dbctl.postgres.identifiers import quote_identifier

# Values by column; a column that is not there is left to the server.
Row = dict[str, str | None]


@dataclass(slots=True)
class Filler:
    """Fills tables, by oid, on one connection. ``waiting`` are those yet to be filled: they leave it when they are."""

    connection: Connection
    values: Values
    tables: dict[int, Table]
    waiting: dict[int, Table] = field(default_factory=dict)
    _keys: dict[tuple[int, tuple[str, ...]], list[Picked]] = field(default_factory=dict)
    _postponed: dict[ForeignKey, Table] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.waiting.update(self.tables)

    def fill(self, group: Sequence[Table]) -> None:
        """Put rows into a table, or into several that need each other; raises Unfillable."""
        reason = "it takes no row"
        try:
            # Nearly all tables go with one savepoint for everything.
            with self.connection.begin_nested():
                return self._insert(next(self._attempts(group, search=solved)))
        except (DBAPIError, Unfillable) as error:
            reason = told(error)
        for attempt in self._attempts(group, search=search):
            try:
                with self.connection.begin_nested():
                    return self._insert(attempt)
            except (DBAPIError, Unfillable) as error:
                reason = told(error)
        raise Unfillable(reason)

    def connect(self) -> None:
        """Point a row at each parent that was not there yet when the row was made, if it may."""
        for key, table in self._postponed.items():
            parents = self._read(key)
            if not parents:
                continue
            columns = [table.column(name) for name in key.columns]
            changes = (
                f"{quote_identifier(c.name)} = CAST({json_parameter('parent')} ->> {n} AS {c.shown})"
                for n, c in enumerate(columns)
            )
            name = qualified(table.schema, table.name)
            sql = f"UPDATE ONLY {name} SET {', '.join(changes)} WHERE ctid = (SELECT ctid FROM ONLY {name} LIMIT 1)"  # noqa: S608 - quoted names
            try:
                with self.connection.begin_nested():
                    run(self.connection, sql, parent=parents[0])
                    self._settle(table)
            except DBAPIError as error:
                told(error)

    def _attempts(self, group: Sequence[Table], search: Search) -> Iterator[list[tuple[Table, list[Row]]]]:
        together = {table.oid: table for table in group}
        last: object = None
        for rows in zip(*(self._rows(table, together, search) for table in group), strict=True):
            if rows != last:
                yield list(zip(group, rows, strict=True))
            last = rows

    def _rows(self, table: Table, together: dict[int, Table], search: Search) -> Iterator[list[Row]]:
        """Ways to fill a table, the most telling first."""
        sources = make_sources(table, self.values, lambda key: self._parents(table, key, together))
        parts = [search(self.connection, part) for part in tied(table, sources)]
        keys = frozenset[str]().union(*table.keys)
        best = _rows(parts, distinct_columns(table, self.values) | self._told_apart(table))
        required = {column.name for column in table.columns if not column.is_left_to_server}
        yield best
        yield _rows(parts, keys)
        yield best[:1]
        yield best[1:2] or best[:1]
        yield [{name: value for name, value in best[0].items() if name in required}]

    def _told_apart(self, table: Table) -> frozenset[str]:
        """What a child names beside the key, as a kind: each child wants another one."""
        own = {table.oid, *table.ancestors}
        keys = (key for other in self.tables.values() for key in other.foreign_keys if key.parent in own)
        return frozenset(name for key in keys if len(key.parent_columns) > 1 for name in key.parent_columns)

    def _parents(self, table: Table, key: ForeignKey, together: dict[int, Table]) -> list[Picked]:
        for other in together.values():
            if key.parent in {other.oid, *other.ancestors}:
                return promised(map(other.column, key.parent_columns), self.values)
        if any(key.parent in {other.oid, *other.ancestors} for other in self.waiting.values()):
            self._postponed[key] = table
            return []
        return self._read(key)

    def _read(self, key: ForeignKey) -> list[Picked]:
        known = self._keys.get((key.parent, key.parent_columns))
        if known is not None:
            return known
        names = [quote_identifier(name) for name in key.parent_columns]
        rows = rows_of(
            self.connection,
            f"SELECT {', '.join(f'CAST({name} AS text)' for name in names)}"  # noqa: S608 - quoted names
            f" FROM {qualified(key.parent_schema, key.parent_name)}"
            f" WHERE {' AND '.join(f'{name} IS NOT NULL' for name in names)} LIMIT {VARIANTS}",
        )
        return self._keys.setdefault((key.parent, key.parent_columns), [tuple(row) for row in rows])

    def _insert(self, attempt: Collection[tuple[Table, list[Row]]]) -> None:
        inserts = [_insert_sql(table, rows, f"rows{n}") for n, (table, rows) in enumerate(attempt)]
        rows = {f"rows{n}": [list(row.values()) for row in rows] for n, (_, rows) in enumerate(attempt)}
        if len(inserts) == 1:
            written = run(self.connection, inserts[0], **rows)
        else:
            # In one statement, since foreign keys are looked at when it ends.
            queries = ", ".join(f"i{n} AS ({sql} RETURNING 1)" for n, sql in enumerate(inserts))
            counts = " * ".join(f"(SELECT count(*) FROM i{n})" for n, _ in enumerate(inserts))  # noqa: S608 - a number
            written = rows_of(self.connection, f"WITH {queries} SELECT {counts}", **rows)[0][0]
        if not written:
            raise Unfillable("a trigger or a rule keeps it out")
        for table, _ in attempt:
            self._settle(table)

    def _settle(self, table: Table) -> None:
        """Have deferred constraints looked at now, and put off again what comes after."""
        if table.deferred:
            names = ", ".join(qualified(*name) for name in table.deferred)
            run(self.connection, f"SET CONSTRAINTS {names} IMMEDIATE")
            run(self.connection, f"SET CONSTRAINTS {names} DEFERRED")


def _rows(parts: Sequence[tuple[Part, list[Combination]]], distinct: frozenset[str]) -> list[Row]:
    chosen = [(part, choose(part, found, distinct)) for part, found in parts]
    count = min((len(picked) for part, picked in chosen if part.names & distinct), default=VARIANTS)
    return [
        {
            column.name: value
            for part, picked in chosen
            for source, position in zip(part.sources, picked[min(n, len(picked) - 1)], strict=True)
            for column, value in zip(source.columns, source.pool[position], strict=True)
        }
        for n in range(count)
    ]


def _insert_sql(table: Table, rows: list[Row], parameter: str) -> str:
    name = qualified(table.schema, table.name)
    columns = [table.column(column) for column in rows[0]]
    if not columns:
        return f"INSERT INTO {name} DEFAULT VALUES"
    casts = ", ".join(f"CAST(r ->> {n} AS {column.shown})" for n, column in enumerate(columns))
    return (
        f"INSERT INTO {name} ({listed(column.name for column in columns)}) OVERRIDING SYSTEM VALUE SELECT {casts}"  # noqa: S608 - quoted names
        f" FROM jsonb_array_elements({json_parameter(parameter)}) WITH ORDINALITY AS x(r, n) ORDER BY n"
    )
