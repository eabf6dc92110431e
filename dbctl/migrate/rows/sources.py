"""Where a column's values come from: a pool of its own, or the rows of a parent."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from itertools import product

from dbctl.migrate.rows.model import Column, ForeignKey, Table
from dbctl.migrate.rows.values import VARIANTS, Values, fits

Picked = tuple[str | None, ...]
# The values of a parent's columns that are there, or will be.
ReadKeys = Callable[[ForeignKey], Sequence[Picked]]
_MOST_TUPLES = 27


@dataclass(frozen=True, slots=True)
class Source:
    """Columns that get their values together, best first; NULL (as far as the columns may be) stands last.

    ``checks`` are a domain's, about VALUE, and ``base`` is the type under it.
    """

    columns: tuple[Column, ...]
    pool: tuple[Picked, ...]
    checks: tuple[str, ...] = ()
    base: str = ""

    @property
    def names(self) -> frozenset[str]:
        """The columns' names."""
        return frozenset(column.name for column in self.columns)


class Unfillable(Exception):
    """No valid row was found; the argument says why."""


def make_sources(table: Table, values: Values, read_keys: ReadKeys) -> list[Source]:
    """A source for each column that can be written; foreign keys that share columns have one together."""
    parts = _merged([_foreign(table, values, key, read_keys(key)) for key in table.foreign_keys])
    taken = frozenset[str]().union(*(part.names for part in parts))
    own = (column for column in table.columns if not column.generated and column.name not in taken)
    return parts + [source for column in own if (source := _single(table, column, values)).pool]


def _single(table: Table, column: Column, values: Values) -> Source:
    checks = values.domain_checks(column.type)
    about = [sql for check in table.checks if column.name in check.columns for sql in check.texts]
    about += [*checks, *([column.expression] if column.expression else ())]
    pool: list[Picked] = [(value,) for value in values.pool(column.type, column.typmod, about)]
    if not column.not_null and not values.is_domain_not_null(column.type):
        pool.append((None,))
    if not (pool or column.is_left_to_server):
        raise Unfillable(f"column {column.name} (no value is known for the type {column.shown})")
    return Source((column,), tuple(pool), checks, values.base_shown(column.type))


def _foreign(table: Table, values: Values, key: ForeignKey, rows: Sequence[Picked]) -> Source:
    columns = tuple(map(table.column, key.columns))
    kinds = [values.plain(column.type, column.typmod) for column in columns]
    fitting = [
        row
        for row in rows
        if all(fits(*kind, value) for kind, value in zip(kinds, row, strict=True) if value is not None)
    ]
    source = Source(columns, (*fitting, *_nulls(columns, fitting)))
    if not source.pool:
        raise Unfillable(f"foreign key {key.name} ({key.parent_schema}.{key.parent_name} has no row for it)")
    return source


def _nulls(columns: Iterable[Column], rows: Sequence[Picked]) -> list[Picked]:
    """The first row with NULL where the columns allow it: then it points nowhere."""
    nullable = [not column.not_null for column in columns]
    if all(nullable):
        return [(None,) * len(nullable)]
    kept = rows[:1] if any(nullable) else []
    return [tuple(None if n else v for n, v in zip(nullable, row, strict=True)) for row in kept]


def _merged(sources: Collection[Source]) -> list[Source]:
    merged: list[Source] = []
    for source in sources:
        joint = source
        for other in [m for m in merged if m.names & source.names]:
            merged.remove(other)
            joint = _joined(other, joint)
        merged.append(joint)
    return merged


def _joined(one: Source, two: Source) -> Source:
    """The pairs that agree on the columns of both."""
    extra = tuple(column for column in two.columns if column.name not in one.names)
    columns = one.columns + extra
    pool = []
    for left, right in product(one.pool, two.pool):
        first = {column.name: value for column, value in zip(one.columns, left, strict=True)}
        second = {column.name: value for column, value in zip(two.columns, right, strict=True)}
        if all(first[name] == second[name] for name in one.names & two.names):
            pool.append(tuple((second | first)[column.name] for column in columns))
    if not pool:
        raise Unfillable(
            f"foreign keys on ({', '.join(column.name for column in columns)}) agree on no parent"
        )
    nulls = sum(not column.not_null for column in columns)
    pool.sort(key=lambda picked: picked.count(None))
    return Source(columns, (*pool[:_MOST_TUPLES], *(pool[-1:] if nulls and len(pool) > _MOST_TUPLES else ())))


def promised(columns: Iterable[Column], values: Values) -> list[Picked]:
    """The values that the columns of a table yet to be filled will have, row by row."""
    listed = list(columns)
    return [tuple(values.wide(c.type, c.typmod, variant) for c in listed) for variant in range(VARIANTS)]
