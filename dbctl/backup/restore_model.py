"""How a restore goes, and what it did."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class RestoreOptions:
    """How a restore goes; ``beside`` is the name to restore under where nothing is replaced.

    ``owners``: with owners and grants; ``room``: the disk must have room; ``jobs`` tables and indexes at a time
    (None: one for each processor of this machine); ``masks`` are the rules to mask by (None: not at all).
    """

    beside: str | None = None
    owners: bool = True
    tablespaces: bool = True
    room: bool = True
    jobs: int | None = None
    masks: Mapping[str, str] | None = None


@dataclass(frozen=True, slots=True)
class Restored:
    """A finished restore; ``kept`` is the replaced database's new name, the commands are for a shell."""

    backup_id: str
    environment: str
    database: str
    kept: str | None
    tables: int
    rows: int
    duration_seconds: float
    drop_command: str
    undo_command: str
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Undone:
    """A restore taken back: ``database`` is what was kept as ``brought_back``, and the restored one is ``aside``."""

    environment: str
    database: str
    brought_back: str
    aside: str
    drop_command: str


@dataclass(frozen=True, slots=True)
class TableBack:
    """A table that was brought back beside the live one; ``copy_sql`` gives that one the rows that it lost."""

    schema: str
    name: str
    rows: int
    copy_sql: str


@dataclass(frozen=True, slots=True)
class TablesBack:
    """Tables of a backup in a schema of their own; ``swap_sql`` would put them in the place of the live ones."""

    backup_id: str
    environment: str
    database: str
    schema: str
    tables: tuple[TableBack, ...]
    drop_sql: str
    duration_seconds: float
    swap_sql: str = ""
