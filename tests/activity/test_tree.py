"""Trees of waiting sessions, whatever their shape."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from dbctl.activity.locks.tree import make_trees

KEYS = st.integers(-3, 9)


def rank(_key):
    return 0


def test_a_queue_of_thousands_is_no_trouble():
    places = make_trees({key: [key - 1] for key in range(1, 5001)}, {}, rank)
    assert (places[-1].depth, places[0].blocks) == (5000, 5000)


def test_the_fullest_tree_comes_first():
    places = make_trees({2: [1], 12: [11], 13: [11]}, {}, rank)
    assert [one.key for one in places] == [11, 13, 12, 1, 2] or [one.key for one in places] == [
        11,
        12,
        13,
        1,
        2,
    ]


@given(st.dictionaries(KEYS, st.frozensets(KEYS)), st.dictionaries(KEYS, st.frozensets(KEYS)))
def test_each_session_stands_once_below_one_that_it_waits_for(blockers, holders):
    blockers = {key: ahead - {key} for key, ahead in blockers.items() if ahead - {key}}
    places = make_trees(blockers, holders, rank)
    keys = [one.key for one in places]
    assert sorted(keys) == sorted({*blockers, *(one for ahead in blockers.values() for one in ahead)})
    for number, one in enumerate(places):
        if one.parent is None:
            assert one.key not in blockers or one.deadlocked
        else:
            assert one.parent in blockers[one.key]
            parent = next(other for other in places if other.key == one.parent)
            assert (one.depth, one.root) == (parent.depth + 1, parent.root)
            assert keys.index(one.parent) < number
    assert sum(one.blocks + 1 for one in places if one.parent is None) == len(places)
