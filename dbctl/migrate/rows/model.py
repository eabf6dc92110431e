"""What has to be known of a table to make a row for it: plain values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Seeded:
    """The tables that got rows (oids), and why others did not.

    ``notes`` are new with this call; ``failed`` has the note of every table, by oid, that has no row now.
    """

    tables: frozenset[int] = frozenset()
    notes: tuple[str, ...] = ()
    failed: Mapping[int, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Type:
    """A type (pg_type). ``kind`` is typtype; the other oids are 0 and the tuples empty where they do not apply.

    ``base`` and ``attributes`` have a typmod beside each oid; ``checks`` are a domain's, written with VALUE, and
    ``base_shown`` is format_type's spelling of what it is made of.
    """

    oid: int
    name: str
    shown: str
    kind: str
    not_null: bool
    base: tuple[int, int] = (0, -1)
    base_shown: str = ""
    element: int = 0
    subtype: int = 0
    labels: tuple[str, ...] = ()
    attributes: tuple[tuple[int, int], ...] = ()
    checks: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Column:
    """A column (pg_attribute). ``shown`` is format_type's spelling, ``expression`` the default or what generates it."""

    name: str
    type: int
    typmod: int
    shown: str
    not_null: bool
    expression: str
    generated: bool
    identity: bool

    @property
    def is_left_to_server(self) -> bool:
        """Whether a row is complete without it."""
        return not self.not_null or bool(self.expression) or self.identity


@dataclass(frozen=True, slots=True)
class Check:
    """What each row must satisfy (pg_constraint, or the bounds of a partition), and the columns it is about.

    ``columns`` has generated ones, and those that they are made of; ``texts`` the expression and theirs.
    """

    name: str
    expression: str
    columns: frozenset[str]
    texts: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ForeignKey:
    """A foreign key (pg_constraint). ``parent`` is an oid."""

    oid: int
    name: str
    columns: tuple[str, ...]
    parent: int
    parent_schema: str
    parent_name: str
    parent_columns: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Table:
    """An empty table. ``keys`` are the columns of each unique index and exclusion constraint.

    ``ancestors`` are the partitioned tables above it (oids), ``deferred`` its constraints that wait for the
    end of the transaction (schema, name), ``mark`` changes when the table does.
    """

    oid: int
    schema: str
    name: str
    mark: str
    columns: tuple[Column, ...]
    checks: tuple[Check, ...]
    foreign_keys: tuple[ForeignKey, ...]
    keys: tuple[frozenset[str], ...]
    ancestors: frozenset[int]
    deferred: tuple[tuple[str, str], ...]

    @property
    def shown(self) -> str:
        """Its full name, for people."""
        return f"{self.schema}.{self.name}"

    def column(self, name: str) -> Column:
        """The column of that name."""
        return next(column for column in self.columns if column.name == name)
