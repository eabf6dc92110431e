"""What users made in a database, each thing as the SQL that would make it again: plain values."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

Key = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Item:
    """A thing that users made. ``kind`` is SQL's word for it in small letters, ``name`` as SQL writes it after that word.

    ``sql`` would make it; ``parts`` are what may be changed of it later, by a word for each, as the SQL that
    would do so; what is as PostgreSQL makes it has no part. ``on`` is what it belongs to and goes away with.
    ``order`` is the order of a table's columns, which changes nothing for whoever names them.
    """

    kind: str
    name: str
    sql: str
    on: Key | None = None
    parts: Mapping[str, str] = field(default_factory=dict)
    order: tuple[str, ...] = ()

    @property
    def key(self) -> Key:
        """What identifies it in a database."""
        return self.kind, self.name


@dataclass(frozen=True, slots=True)
class Snapshot:
    """All that users made in one database. What extensions brought is left out, and what is PostgreSQL's own."""

    items: Mapping[Key, Item]

    def without(self, keys: Collection[Key]) -> Snapshot:
        """The same without these things and what belongs to them."""
        left = {
            key: item for key, item in self.items.items() if not any(one in keys for one in self._line(item))
        }
        return Snapshot(left)

    def _line(self, item: Item) -> list[Key]:
        """The thing itself, what it belongs to, what that belongs to …"""
        line = [item.key]
        while item.on is not None:
            line.append(item.on)
            if item.on not in self.items:
                break
            item = self.items[item.on]
        return line
