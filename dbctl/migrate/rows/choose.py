"""Three rows out of what would be valid: two alike, one with NULLs."""

from __future__ import annotations

from collections.abc import Sequence

from dbctl.migrate.rows.model import Table
from dbctl.migrate.rows.solve import Combination, Part
from dbctl.migrate.rows.sources import Source
from dbctl.migrate.rows.values import Values

# The types that have plenty of values, first: one column makes a row distinct, the others stay alike.
_APT = (
    "int8",
    "int4",
    "uuid",
    "text",
    "varchar",
    "citext",
    "numeric",
    "bpchar",
    "timestamptz",
    "timestamp",
    "date",
)


def distinct_columns(table: Table, values: Values) -> frozenset[str]:
    """A column of each unique key, as few as will do: what has to differ between rows."""
    chosen: set[str] = set()
    tied = {name for key in table.foreign_keys for name in key.columns}

    def aptness(name: str) -> tuple[bool, bool, int, str]:
        column = table.column(name)
        kind, _ = values.plain(column.type, column.typmod)
        place = _APT.index(kind.name) if kind.name in _APT else len(_APT) + (kind.name == "bool")
        # In an exclusion constraint it is the range that lets rows be neighbours.
        return kind.kind != "r", name in tied, place, name

    for key in sorted(table.keys, key=len):
        able = [name for name in key if not table.column(name).generated]
        if able and chosen.isdisjoint(able):
            chosen.add(min(able, key=aptness))
    return frozenset(chosen)


def choose(part: Part, found: Sequence[Combination], distinct: frozenset[str]) -> list[Combination]:
    """Up to three combinations that differ in the ``distinct`` columns.

    First the widest values, then one that has NULL where the first has a value, then one like the first.
    """
    if not (part.demands or distinct & part.names):
        return _first_and_last(part.sources[0])
    found = found or [(position,) for position in range(len(part.sources[0].pool))]
    scale = _Scale(part, distinct & part.names)
    first = min(found, key=lambda one: (sum(scale.nulls(one)), sum(one)))
    picked = [first]
    orders = (
        lambda one: (-scale.null_differences(one, first), scale.equal(one, first), sum(one)),
        lambda one: (-scale.equal(one, first), sum(scale.nulls(one)), sum(one)),
    )
    for order in orders:
        able = [one for one in found if all(scale.are_distinct(one, other) for other in picked)]
        picked += [min(able, key=order)] if able else []
    return picked


def _first_and_last(source: Source) -> list[Combination]:
    last = len(source.pool) - 1
    return [(0,), (last if None in source.pool[last] else min(1, last),), (0,)]


class _Scale:
    """Compares combinations by the values that they stand for."""

    def __init__(self, part: Part, distinct: frozenset[str]) -> None:
        self._part = part
        self._distinct = [
            (number, place)
            for number, source in enumerate(part.sources)
            for place, column in enumerate(source.columns)
            if column.name in distinct
        ]

    def nulls(self, one: Combination) -> list[bool]:
        return [
            None in source.pool[position] for source, position in zip(self._part.sources, one, strict=True)
        ]

    def null_differences(self, one: Combination, other: Combination) -> int:
        return sum(a is not b for a, b in zip(self.nulls(one), self.nulls(other), strict=True))

    def equal(self, one: Combination, other: Combination) -> int:
        return sum(a == b for a, b in zip(one, other, strict=True))

    def are_distinct(self, one: Combination, other: Combination) -> bool:
        """Whether both can be there: no NULL equals another."""
        pools = [source.pool for source in self._part.sources]
        pairs = ((pools[n][one[n]][place], pools[n][other[n]][place]) for n, place in self._distinct)
        return all(a is None or a != b for a, b in pairs)
