"""Draws blocks: Rich's tables on a terminal, tab-separated lines in a pipe."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, TextIO

from dbctl.cli.output.blocks import Blocks, Cell, Either, Lines, Source, Table, cell
from dbctl.cli.output.streams import visible, wants_colour

if TYPE_CHECKING:
    from rich.table import Table as RichTable
    from rich.text import Text

_COLOURS = {"": "", "good": "green", "warning": "yellow", "bad": "bold red", "dim": "dim"}


def write_plain(blocks: Blocks, stream: TextIO) -> None:
    """Tab-separated rows, never cut, no colour: one line a row, headings first."""
    for block in _chosen(blocks, terminal=False):
        if isinstance(block, Source):
            stream.write(block.text)
            continue
        rows = [block.headings, *block.rows] if isinstance(block, Table) else [[line] for line in block.lines]
        stream.writelines("\t".join(visible(cell(value).text) for value in row) + "\n" for row in rows)


def write_rich(blocks: Blocks, stream: TextIO) -> None:
    """Aligned tables for a person; a value is shown as it is, never read as markup."""
    from rich.console import Console

    console = Console(file=stream, no_color=not wants_colour(), highlight=False, markup=False, emoji=False)
    for block in _chosen(blocks, terminal=True):
        console.print(_drawn(block), soft_wrap=not isinstance(block, Table))


def drawn(blocks: Blocks) -> list[Text | RichTable]:
    """What `write_rich` would print, for a screen that is drawn anew again and again."""
    return [_drawn(block) for block in _chosen(blocks, terminal=True)]


def _chosen(blocks: Blocks, *, terminal: bool) -> Iterator[Table | Lines | Source]:
    for block in blocks:
        if isinstance(block, Either):
            yield from _chosen(block.terminal if terminal else block.pipe, terminal=terminal)
        else:
            yield block


def _drawn(block: Table | Lines | Source) -> Text | RichTable:
    from rich.text import Text

    if isinstance(block, Table):
        return _table(block)
    lines = block.text.splitlines() if isinstance(block, Source) else block.lines
    return Text("\n").join(_text(cell(line)) for line in lines)


def _table(block: Table) -> RichTable:
    from rich import box
    from rich.table import Table as RichTable

    table = RichTable(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for heading in block.headings:
        table.add_column(heading, justify="right" if heading in block.right else "left", overflow="fold")
    for row in block.rows:
        table.add_row(*(_text(cell(value)) for value in row))
    return table


def _text(value: Cell) -> Text:
    from rich.text import Text

    return Text(visible(value.text), style=_COLOURS[value.style])
