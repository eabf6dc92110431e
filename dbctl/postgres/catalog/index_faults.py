"""Which indexes are invalid, superfluous, unused or lacking: judged from facts alone."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from dbctl.postgres.catalog.indexes import ForeignKeyFacts, IndexFacts, StatisticsWindow

# Whose keys have an order, so that the first of them can be looked up alone.
_ORDERED = "btree"
_FIND_EQUAL = {"btree", "hash"}


@dataclass(frozen=True, slots=True)
class Superfluous:
    """An index whose work ``by`` does as well; ``is_duplicate``: with the very same keys."""

    index: IndexFacts
    by: IndexFacts
    is_duplicate: bool


def invalid_indexes(indexes: Iterable[IndexFacts]) -> tuple[IndexFacts, ...]:
    """Those that a failed CONCURRENTLY left, or a build of REINDEX.

    Not one that is being built or dropped now, and not a partitioned table's that waits for its partitions.
    """
    return tuple(
        one for one in indexes if not one.is_valid and not one.is_in_progress and not one.is_partitioned
    )


def superfluous_indexes(indexes: Iterable[IndexFacts]) -> tuple[Superfluous, ...]:
    """Duplicates, and those whose keys begin another index; each with one that stays.

    What a constraint, a foreign key, the replica identity or a partitioned index needs is never superfluous, but for
    a UNIQUE constraint whose columns have a twin.
    """
    tables: dict[int, list[IndexFacts]] = defaultdict(list)
    for one in indexes:
        if one.is_valid:
            tables[one.table_oid].append(one)
    return tuple(found for group in tables.values() for found in _superfluous(group))


def _superfluous(group: Sequence[IndexFacts]) -> Iterable[Superfluous]:
    staying = sorted(group, key=_importance, reverse=True)
    for one in group:
        better = [other for other in staying if other is not one and _replaces(other, one)]
        # One that is itself done by nobody else; there is one, as `_replaces` knows no circles.
        lasting = [other for other in better if not any(_replaces(third, other) for third in better)]
        if _may_go(one) and lasting:
            by = lasting[0]
            yield Superfluous(one, by, is_duplicate=len(by.keys) == len(one.keys))


def _replaces(other: IndexFacts, one: IndexFacts) -> bool:
    """Whether ``one`` can go because ``other`` is there; of two that are alike, the less important."""
    if other is one or not _covers(other, one) or not _may_go(one):
        return False
    return not (_covers(one, other) and _may_go(other)) or _importance(other) > _importance(one)


def _covers(other: IndexFacts, one: IndexFacts) -> bool:
    """Whether ``other`` answers and enforces all that ``one`` does."""
    alike = (
        other.table_oid == one.table_oid
        and other.method == one.method
        and other.predicate == one.predicate
        and other.is_partitioned == one.is_partitioned
        and other.keys[: len(one.keys)] == one.keys
        and (one.expressions is None or other.expressions == one.expressions)
        and set(one.included) <= {*other.included, *other.columns}
    )
    same_length = len(other.keys) == len(one.keys)
    if not alike or not (same_length or one.method == _ORDERED):
        return False
    return not one.is_unique or (same_length and _enforces(other) == _enforces(one))


def _enforces(one: IndexFacts) -> tuple[bool, ...]:
    return one.is_unique, one.is_immediate, one.nulls_not_distinct


def _may_go(one: IndexFacts) -> bool:
    needed = one.is_primary or one.is_referenced or one.is_replica_identity or one.parent_oid is not None
    return not needed and one.constraint_kind in {None, "u"}


def _importance(one: IndexFacts) -> tuple[bool | int, ...]:
    return (
        not _may_go(one),
        one.is_primary,
        one.constraint_name is not None,
        one.is_unique,
        one.is_clustered,
        len(one.included),
        -one.oid,
    )


def unused_indexes(
    indexes: Collection[IndexFacts], window: StatisticsWindow, *, for_seconds: float
) -> tuple[IndexFacts, ...]:
    """Those that nobody has scanned for so long, 0 for ever; none where the statistics reach back less far.

    Never one that enforces something, or is the replica identity. The index of a partitioned table is as used as the
    most used of its partitions.
    """
    if window.seconds < for_seconds:
        return ()
    children: dict[int, list[IndexFacts]] = defaultdict(list)
    for one in indexes:
        if one.parent_oid is not None:
            children[one.parent_oid].append(one)

    def idle(one: IndexFacts) -> bool:
        return _is_idle(one, window, for_seconds) and all(idle(child) for child in children[one.oid])

    return tuple(one for one in indexes if _may_be_dropped(one) and idle(one))


def _may_be_dropped(one: IndexFacts) -> bool:
    enforces = one.is_unique or one.constraint_name is not None or one.is_referenced
    return one.is_valid and not enforces and not one.is_replica_identity and one.parent_oid is None


def _is_idle(one: IndexFacts, window: StatisticsWindow, for_seconds: float) -> bool:
    if one.made_at is not None and (window.now - one.made_at).total_seconds() < for_seconds:
        return False
    if not one.scans:
        return True
    return (
        bool(for_seconds)
        and one.last_scan is not None
        and (window.now - one.last_scan).total_seconds() > for_seconds
    )


def uncovered_foreign_keys(
    foreign_keys: Iterable[ForeignKeyFacts], indexes: Iterable[IndexFacts]
) -> tuple[ForeignKeyFacts, ...]:
    """Those by whose columns no index finds the rows: each DELETE of a parent row reads the whole table.

    The columns may stand in any order, but first. An index that is partial, invalid or on an expression finds not all.
    """
    tables: dict[int, list[IndexFacts]] = defaultdict(list)
    for one in indexes:
        if one.is_valid and one.predicate is None and one.method in _FIND_EQUAL:
            tables[one.table_oid].append(one)
    return tuple(key for key in foreign_keys if not any(_finds(one, key) for one in tables[key.table_oid]))


def _finds(one: IndexFacts, key: ForeignKeyFacts) -> bool:
    wanted = {str(number) for number in key.attributes}
    return {attribute for attribute, *_ in one.keys[: len(wanted)]} == wanted
