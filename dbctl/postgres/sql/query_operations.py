"""What reads and changes rows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

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


@dataclass(frozen=True, slots=True)
class Update(Operation):
    table: Name
    columns: tuple[str, ...]
    filter: Filter
    tables_read: tuple[Name, ...] = ()


@dataclass(frozen=True, slots=True)
class Delete(Operation):
    table: Name
    filter: Filter
    tables_read: tuple[Name, ...] = ()


@dataclass(frozen=True, slots=True)
class Merge(Operation):
    table: Name
    tables_read: tuple[Name, ...] = ()
