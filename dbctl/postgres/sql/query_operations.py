"""What reads and changes rows."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from dbctl.postgres.sql.parts import Filter, Name, Operation


@dataclass(frozen=True, slots=True)
class Select(Operation):
    """A query. ``locks_rows`` with FOR UPDATE / SHARE anywhere in it; ``grouped_by`` of its outermost GROUP BY
    with a HAVING (the usual search for duplicates), sub-selects included.
    """

    tables: tuple[Name, ...]
    filter: Filter
    locks_rows: bool = False
    skips_locked: bool = False
    grouped_by: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Insert(Operation):
    """INSERT; ``source`` says where its rows come from."""

    table: Name
    source: Literal["values", "select", "default"]
    tables_read: tuple[Name, ...] = ()
    limited: bool = False
    filter: Filter | None = None
    tree: Any = field(default=None, repr=False, compare=False)


@dataclass(frozen=True, slots=True)
class Update(Operation):
    """UPDATE. ``tree`` is the statement's node, as Delete's and Insert's: what a batch of it is made from."""

    table: Name
    columns: tuple[str, ...]
    filter: Filter
    tables_read: tuple[Name, ...] = ()
    tree: Any = field(default=None, repr=False, compare=False)


@dataclass(frozen=True, slots=True)
class Delete(Operation):
    table: Name
    filter: Filter
    tables_read: tuple[Name, ...] = ()
    tree: Any = field(default=None, repr=False, compare=False)


@dataclass(frozen=True, slots=True)
class Merge(Operation):
    table: Name
    tables_read: tuple[Name, ...] = ()
