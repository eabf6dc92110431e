"""What needs no server: patterns, constants and the order of tables."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dbctl.migrate.rows.constants import near_texts, numbers, strings
from dbctl.migrate.rows.model import Column, ForeignKey, Table
from dbctl.migrate.rows.order import in_order
from dbctl.migrate.rows.patterns import samples


@pytest.mark.parametrize(
    "pattern",
    [
        r"^[a-z0-9]+(?:-[a-z0-9]+)*$",
        r"^[^@\s]+@[^@\s]+\.[a-z]{2,}$",
        r"^\+[1-9]\d{6,14}$",
        r"^(draft|live|gone)$",
        r"^#?([0-9a-fA-F]{3}){1,2}$",
        r"^[A-Z]{2}[0-9]{2}[A-Z0-9]{11,30}$",
        r"^v\d+\.\d+\.\d+(-rc\.?\d*)?$",
        r"^[^/]+/[^/]+$",
        r"\S",
        r"^\w+\W\w+$",
        "^é$",
    ],
)
def test_samples_match_their_pattern(pattern):
    found = samples(pattern)
    assert found
    assert all(re.search(pattern, sample) for sample in found)


@given(st.text(max_size=20))
def test_any_pattern_is_read_or_left_alone(pattern):
    assert all(isinstance(sample, str) for sample in samples(pattern))
    assert all(isinstance(text, str) for text in near_texts([f"(a ~ '{pattern}'::text)"]))


def test_constants_are_found_with_their_type():
    expression = (
        "((status)::text = ANY ('{draft,\"a b\"}'::text[])) AND (x <> '2030-01-01'::timestamp with time zone)"
    )
    assert list(strings([expression, "(y = 'it''s'::public.mood)"])) == [
        ("draft", "text"),
        ("a b", "text"),
        ("2030-01-01", "timestamp with time zone"),
        ("it's", "public.mood"),
    ]
    assert sorted(numbers(["((n > 5) AND (m <= '-2.5'::numeric))"])) == [-2.5, 5]


def table(oid: int, *parents: int, nullable: tuple[int, ...] = ()) -> Table:
    columns = tuple(
        Column(f"c{parent}", 23, -1, "integer", parent not in nullable, "", False, False)
        for parent in parents
    )
    keys = tuple(
        ForeignKey(n, f"k{n}", (f"c{parent}",), parent, "public", str(parent), ("id",))
        for n, parent in enumerate(parents)
    )
    return Table(oid, "public", str(oid), "", columns, (), keys, (), frozenset(), ())


def order(*tables: Table) -> list[set[int]]:
    return [{each.oid for each in group} for group in in_order(tables)]


def test_parents_come_first():
    assert order(table(1, 2, 3), table(2, 3), table(3)) == [{3}, {2}, {1}]


def test_a_circle_comes_at_once_unless_a_null_breaks_it():
    assert order(table(1, 2), table(2, 1), table(3, 1)) == [{1, 2}, {3}]
    assert order(table(1, 2, nullable=(2,)), table(2, 1), table(3, 1)) == [{1}, {2}, {3}]
    assert order(table(1, 1)) == [{1}]


@given(st.lists(st.lists(st.integers(0, 9), max_size=4), min_size=10, max_size=10))
def test_each_table_has_its_turn_once_and_after_its_parents(parents):
    groups = order(*(table(oid, *dict.fromkeys(of)) for oid, of in enumerate(parents)))
    assert sorted(oid for group in groups for oid in group) == list(range(10))
    place = {oid: n for n, group in enumerate(groups) for oid in group}
    assert all(place[parent] <= place[oid] for oid, of in enumerate(parents) for parent in of)
