"""Lines of a file, none longer than a row may be: a file without line ends is read in little memory too."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from typing import TextIO

# What the csv module takes for one cell; a user's fields have not a hundredth of it.
MAX_CHARACTERS = 131_072


class TooLong(csv.Error):
    """A row has more characters than MAX_CHARACTERS."""

    def __init__(self) -> None:
        super().__init__(f"it has more than {MAX_CHARACTERS:,} characters")


class CsvLines:
    """Lines for csv.reader, which raise TooLong where a row has too many characters; ``number`` counts them from 1.

    Behind such a row it goes on where the row's quotes end. On the next line it would take the inside of a cell, which
    anybody may have written, for rows.
    """

    def __init__(self, text: TextIO) -> None:
        self._text = text
        self._room = MAX_CHARACTERS
        self._quotes = 0
        self.number = 0

    def __iter__(self) -> CsvLines:
        return self

    def __next__(self) -> str:
        line = self._text.readline(self._room)
        if not line:
            raise StopIteration
        self.number += 1
        self._quotes += line.count('"')
        if len(line) == self._room:
            self._skip_row(line)
            raise TooLong
        self._room -= len(line)
        return line

    def begin_row(self) -> None:
        """The next line begins a row."""
        self._room, self._quotes = MAX_CHARACTERS, 0

    def _skip_row(self, piece: str) -> None:
        while piece and (self._quotes % 2 or not _ends(piece)):
            ended, piece = _ends(piece), self._text.readline(MAX_CHARACTERS)
            self.number += ended and piece != ""
            self._quotes += piece.count('"')


def whole_lines(text: TextIO) -> Iterator[str | None]:
    """The lines; None for one that has more than MAX_CHARACTERS."""
    while line := text.readline(MAX_CHARACTERS):
        if len(line) < MAX_CHARACTERS:
            yield line
            continue
        while line and not _ends(line):
            line = text.readline(MAX_CHARACTERS)
        yield None


def _ends(piece: str) -> bool:
    return piece.endswith(("\n", "\r"))
