"""What differs between two catalogs, thing by thing, as SQL that people read."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Literal

from dbctl.postgres.catalog.objects.model import Item, Key, Snapshot

Change = Literal["added", "removed", "changed"]
# Of these the statement that makes them is not looked at: all in it is a part that can be changed alone.
_TOLD_BY_PARTS = {"column"}


@dataclass(frozen=True, slots=True)
class Difference:
    """A thing, or a part of one, that is not the same. ``before`` and ``after`` are SQL, empty where there is none."""

    change: Change
    kind: str
    name: str
    before: str = ""
    after: str = ""
    part: str = ""

    @property
    def sql(self) -> str:
        """The statement that says most: what is there too much, else what is gone."""
        return self.after or self.before


@dataclass(frozen=True, slots=True)
class Differences:
    """All that differs; ``notes`` is what does, and matters to nobody who names columns."""

    found: tuple[Difference, ...]
    notes: tuple[str, ...] = ()


def differences(
    before: Snapshot,
    after: Snapshot,
    *,
    kinds_left_out: Collection[str] = (),
    parts_left_out: Collection[str] = (),
) -> Differences:
    """What came, went or changed. Of a thing that is there on one side only, what belongs to it is not told as well."""
    found: list[Difference] = []
    notes: list[str] = []
    for key in (*before.items, *(key for key in after.items if key not in before.items)):
        if key[0] in kinds_left_out:
            continue
        one, other = before.items.get(key), after.items.get(key)
        if one is not None and other is not None:
            found.extend(_changes(one, other, parts_left_out))
            notes.extend(_order(one, other))
        elif one is not None and not _goes_along(one, after, before):
            found.append(Difference("removed", *key, before=one.sql))
        elif other is not None and not _goes_along(other, before, after):
            found.append(Difference("added", *key, after=other.sql))
    return Differences(tuple(found), tuple(notes))


def _changes(one: Item, other: Item, left_out: Collection[str]) -> Iterator[Difference]:
    if one.sql != other.sql and one.kind not in _TOLD_BY_PARTS:
        yield Difference("changed", *one.key, before=one.sql, after=other.sql)
    for part in sorted({*one.parts, *other.parts} - set(left_out)):
        before, after = one.parts.get(part, ""), other.parts.get(part, "")
        if before != after:
            yield Difference("changed", *one.key, before=before, after=after, part=part)


def _order(one: Item, other: Item) -> Iterator[str]:
    """A note where the same columns stand in another order: a column that was dropped and added again is the last."""
    if one.order != other.order and set(one.order) == set(other.order):
        yield f"the columns of {one.name} are in another order: {', '.join(other.order)}"


def _goes_along(item: Item, lacking: Snapshot, own: Snapshot) -> bool:
    """Whether the other side lacks what the thing belongs to, which is told already."""
    key: Key | None = item.on
    while key is not None:
        if key not in lacking.items and key in own.items:
            return True
        key = own.items[key].on if key in own.items else None
    return False
