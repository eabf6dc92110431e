"""From who waits for whom to trees: each session once, under the one that holds what it waits for."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass

Key = int


@dataclass(frozen=True, slots=True)
class Place:
    """Where a session stands: in line after ``parent``; ``deadlocked`` where the chain comes back to itself."""

    key: Key
    depth: int
    root: Key
    parent: Key | None
    blocks: int
    deadlocked: bool


def make_trees(
    blockers: Mapping[Key, Collection[Key]],
    holders: Mapping[Key, Collection[Key]],
    rank: Callable[[Key], float],
) -> list[Place]:
    """All sessions, roots first and each before those behind it; the fullest tree, then the highest ``rank``, first.

    ``blockers`` are all in whose way a session can't go on, ``holders`` those of them that hold the lock: the
    others are only ahead of it in the queue.
    """
    levels, deadlocked = _levels(blockers)
    parents: dict[Key, Key | None] = {}
    children: dict[Key | None, list[Key]] = defaultdict(list)
    for key in levels:
        parents[key] = _parent(key, levels, blockers, holders)
        children[parents[key]].append(key)
    # The deepest first, so that what stands behind a session is counted before the session.
    behind: dict[Key, int] = {}
    for key in sorted(levels, key=lambda one: -levels[one]):
        behind[key] = sum(1 + behind[child] for child in children[key])
    order = sorted(levels, key=lambda one: (behind[one], rank(one)), reverse=True)
    position = {key: number for number, key in enumerate(order)}
    return [
        Place(key, depth, root, parents[key], behind[key], key in deadlocked)
        for key, depth, root in _walk(children, position)
    ]


def _levels(blockers: Mapping[Key, Collection[Key]]) -> tuple[dict[Key, int], set[Key]]:
    """How many a session stands behind at most, and who was taken for a root to break a circle."""
    waits: dict[Key, set[Key]] = {key: set(ahead) - {key} for key, ahead in blockers.items()}
    behind: dict[Key, list[Key]] = defaultdict(list)
    for key, ahead in list(waits.items()):
        for one in ahead:
            behind[one].append(key)
            waits.setdefault(one, set())
    left = {key: len(ahead) for key, ahead in waits.items()}
    levels: dict[Key, int] = {}
    deadlocked: set[Key] = set()
    while left:
        ready = [key for key, count in left.items() if not count]
        if not ready:
            ready = [_in_circle(waits, left)]
            deadlocked.update(ready)
        for key in ready:
            del left[key]
            above = [] if key in deadlocked else [levels[one] for one in waits[key]]
            levels[key] = 1 + max(above, default=-1)
        for follower in (one for key in ready for one in behind[key] if one in left):
            left[follower] -= 1
    return levels, deadlocked


def _in_circle(waits: Mapping[Key, Collection[Key]], left: Collection[Key]) -> Key:
    """One that waits for itself through others: all who are left wait for one who is left."""
    seen: set[Key] = set()
    key = min(left)
    while key not in seen:
        seen.add(key)
        key = min(one for one in waits[key] if one in left)
    return key


def _parent(
    key: Key,
    levels: Mapping[Key, int],
    blockers: Mapping[Key, Collection[Key]],
    holders: Mapping[Key, Collection[Key]],
) -> Key | None:
    if not levels[key]:
        return None
    above = [one for one in blockers[key] if one in levels and levels[one] < levels[key]]
    holding = [one for one in above if one in holders.get(key, ())]
    return max(holding or above, key=lambda one: (levels[one], -one))


def _walk(
    children: Mapping[Key | None, list[Key]], position: Mapping[Key, int]
) -> Iterator[tuple[Key, int, Key]]:
    """Depth first, without recursion: a queue can be longer than Python's stack."""
    stack = [(key, 0, key) for key in sorted(children[None], key=lambda one: -position[one])]
    while stack:
        key, depth, root = stack.pop()
        yield key, depth, root
        below = sorted(children.get(key, ()), key=lambda one: -position[one])
        stack += [(child, depth + 1, root) for child in below]
