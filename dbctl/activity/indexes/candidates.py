"""Which indexes might help a plan: from what it filters, joins and sorts the tables by that it reads in full."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import combinations
from typing import Any

Plan = Mapping[str, Any]

_CONDITIONS = ("Filter", "Hash Cond", "Merge Cond", "Join Filter", "Index Cond", "Recheck Cond")
_FULL_READS = {"Seq Scan"}
_SYSTEM = "pg_catalog"
_EQUALITY = re.compile(r"^\)*(?:::[\w\s.\[\]\"]+?\)?)? = ")
_EQUAL_FROM_THE_LEFT = re.compile(r" = \(*$")
_WIDEST = 3
_MOST_COLUMNS = 6


@dataclass(frozen=True, slots=True)
class Candidate:
    """An index that could be; names as they are, not quoted."""

    schema: str
    table: str
    columns: tuple[str, ...]


def find_candidates(plan: Plan) -> list[Candidate]:
    """The narrowest first. ``plan`` is the root node of EXPLAIN (VERBOSE, FORMAT JSON)."""
    nodes = list(_nodes(plan))
    texts = [str(text) for node in nodes for text in _texts(node)]
    found: dict[Candidate, None] = {}
    for node in nodes:
        if node["Node Type"] in _FULL_READS and node.get("Schema", _SYSTEM) != _SYSTEM:
            equal, others = _columns(node["Alias"], texts)
            for columns in _combined(equal, others):
                found[Candidate(node["Schema"], node["Relation Name"], columns)] = None
    return sorted(found, key=lambda one: len(one.columns))


def total_cost(plan: Plan) -> float:
    """What the planner thinks that the whole costs."""
    return float(plan["Total Cost"])


def _nodes(plan: Plan) -> Iterator[Plan]:
    yield plan
    for child in plan.get("Plans", ()):
        yield from _nodes(child)


def _texts(node: Plan) -> Iterator[str]:
    for name in _CONDITIONS:
        if name in node:
            yield node[name]
    yield from node.get("Sort Key", ())


def _columns(alias: str, texts: list[str]) -> tuple[list[str], list[str]]:
    """The columns of ``alias`` that are compared for equality, and the others."""
    quoted = re.escape(alias) if re.fullmatch("[a-z_][a-z0-9_]*", alias) else f'"{re.escape(alias)}"'
    column = re.compile(rf'(?<![\w."]){quoted}\.("(?:[^"]|"")+"|[a-z_\u0080-\uffff][\w$]*)')
    equal: dict[str, None] = {}
    others: dict[str, None] = {}
    for text in texts:
        for found in column.finditer(text):
            name = found[1][1:-1].replace('""', '"') if found[1].startswith('"') else found[1]
            before, after = text[: found.start()], text[found.end() :]
            is_equal = _EQUALITY.match(after) or _EQUAL_FROM_THE_LEFT.search(before)
            (equal if is_equal else others)[name] = None
    return list(equal)[:_MOST_COLUMNS], [name for name in others if name not in equal][:_MOST_COLUMNS]


def _combined(equal: list[str], others: list[str]) -> Iterator[tuple[str, ...]]:
    """Columns that must be equal come first, then at most one that is a range or an order."""
    for width in range(1, _WIDEST + 1):
        yield from combinations(equal, width)
        if width < _WIDEST:
            yield from ((*some, one) for some in combinations(equal, width) for one in others)
    yield from ((one,) for one in others)
