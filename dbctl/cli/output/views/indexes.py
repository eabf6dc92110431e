"""How findings about indexes look."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

from dbctl.cli.output.blocks import Block, Cell, Either, Lines, Source, Style, Table
from dbctl.cli.output.durations import size

if TYPE_CHECKING:
    from dbctl.activity.indexes.model import IndexFinding

_HEADINGS = ("finding", "table", "index", "size", "why")


def as_sql(found: Sequence[IndexFinding]) -> Iterator[Block]:
    """What is wrong, then the statements that mend it."""
    return _findings(found, lambda one: one.sql)


def as_alembic(found: Sequence[IndexFinding]) -> Iterator[Block]:
    """What is wrong, then the body of an upgrade() that mends it."""
    return _findings(found, lambda one: one.alembic)


def _findings(found: Sequence[IndexFinding], mend: Callable[[IndexFinding], str]) -> Iterator[Block]:
    if not found:
        yield Lines([Cell("nothing to find fault with", "good")])
        return
    rows = [_row(one) for one in found]
    fixes = "".join(f"{mend(one)}\n" for one in found if mend(one))
    with_fixes = [(*row, " ".join(mend(one).split())) for row, one in zip(rows, found, strict=True)]
    yield Either(
        terminal=[Table(_HEADINGS, rows, right=("size",)), Source(f"\n{fixes}")],
        pipe=[Table((*_HEADINGS, "fix"), with_fixes)],
    )


def _row(one: IndexFinding) -> tuple[str | Cell, ...]:
    # A lacking index is known by the columns that it should have.
    name = one.index or (f"({', '.join(one.columns)})" if one.columns else "")
    shown = size(one.size_bytes) if one.index is not None else ""
    style: Style = "bad" if one.kind == "invalid" else "warning"
    return Cell(one.kind, style), one.table, name, shown, one.message
