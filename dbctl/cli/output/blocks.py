"""What a view is made of: lines of text and tables of cells, before anybody decides how they look."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

Style = Literal["", "good", "warning", "bad", "dim"]


@dataclass(frozen=True, slots=True)
class Cell:
    """A text and what it means to the reader; colour is never the only sign of it."""

    text: str
    style: Style = ""


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of cells under headings; the columns named in ``right`` hold numbers."""

    headings: tuple[str, ...]
    rows: Sequence[Sequence[str | Cell]]
    right: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Lines:
    """Plain lines."""

    lines: Sequence[str | Cell]


@dataclass(frozen=True, slots=True)
class Source:
    """A text for a program, such as SQL: written to a pipe as it is."""

    text: str


@dataclass(frozen=True, slots=True)
class Either:
    """The same for a person, in many lines, and for a pipe, in rows that a script can cut."""

    terminal: Sequence[Block]
    pipe: Sequence[Block]


Block = Table | Lines | Source | Either
Blocks = Iterable[Block]


def cell(value: str | Cell) -> Cell:
    """A cell from either form that a view may give."""
    return value if isinstance(value, Cell) else Cell(value)
