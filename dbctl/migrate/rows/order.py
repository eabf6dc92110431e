"""Which table comes first: parents before children, and what has to come at once."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping

from dbctl.migrate.rows.model import ForeignKey, Table

Edges = Mapping[int, Iterable[int]]


def in_order(tables: Iterable[Table]) -> list[list[Table]]:
    """Groups of tables, parents first. A group of several is a circle that no NULL can break."""
    by_oid = {table.oid: table for table in tables}
    under = _leaves(by_oid.values())
    groups = []
    for circle in _circles(by_oid, {oid: _parents(table, under) for oid, table in by_oid.items()}):
        needed = {oid: _parents(by_oid[oid], under, needed=True) & set(circle) for oid in circle}
        groups += [[by_oid[oid] for oid in group] for group in _circles(circle, needed)]
    return groups


def can_be_null(table: Table, key: ForeignKey) -> bool:
    """Whether a row needs no parent."""
    return any(not table.column(name).not_null for name in key.columns)


def _leaves(tables: Iterable[Table]) -> Mapping[int, set[int]]:
    """The tables in which the rows of a referenced table are: itself, or its partitions."""
    under: dict[int, set[int]] = defaultdict(set)
    for table in tables:
        for oid in (table.oid, *table.ancestors):
            under[oid].add(table.oid)
    return under


def _parents(table: Table, under: Mapping[int, set[int]], *, needed: bool = False) -> set[int]:
    keys = (key for key in table.foreign_keys if not (needed and can_be_null(table, key)))
    return {leaf for key in keys for leaf in under.get(key.parent, ())} - {table.oid}


def _circles(nodes: Iterable[int], edges: Edges) -> list[list[int]]:
    """Strongly connected components, those that are pointed at first (Tarjan's, without recursion)."""
    index: dict[int, int] = {}
    low: dict[int, int] = {}
    path: list[int] = []
    found: list[list[int]] = []
    for root in nodes:
        work = [] if root in index else [(root, iter(edges[root]))]
        while work:
            node, targets = work[-1]
            if node not in index:
                index[node] = low[node] = len(index)
                path.append(node)
            target = next((t for t in targets if t not in index or t in path), None)
            if target is not None and target not in index:
                work.append((target, iter(edges[target])))
            elif target is not None:
                low[node] = min(low[node], index[target])
            else:
                work.pop()
                if work:
                    low[work[-1][0]] = min(low[work[-1][0]], low[node])
                if low[node] == index[node]:
                    found.append(path[path.index(node) :])
                    del path[path.index(node) :]
    return found
