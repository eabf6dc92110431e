"""What an earlier run wrote to its file of rejected rows, as far as its batches were committed."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, BinaryIO, TextIO, cast

from dbctl.errors import UsageError

if TYPE_CHECKING:
    from io import TextIOWrapper

    from dbctl.users.transfer.model import Format

# The name, in both formats, of the line that an entry is about.
LINE = "_line"


def kept_bytes(stream: TextIO, format_: Format, lines: int) -> int:
    """How many bytes of the file, read from its beginning, are about rows up to ``lines``.

    Of each batch all stands behind the batch before it; an entry that a killed run cut short is of a batch to come.
    Raises UsageError where something else than rejected rows stands there.
    """
    stream.seek(0)
    written = _Written(cast("BinaryIO", cast("TextIOWrapper", stream).buffer))
    kept = 0
    try:
        for line in _csv(written) if format_ == "csv" else _ndjson(written):
            if line is None or line > lines:
                break
            kept = written.bytes
    except (ValueError, KeyError, TypeError, csv.Error) as error:
        raise UsageError(
            f"{stream.name} holds something else than rejected rows", hint="name another file for --rejects"
        ) from error
    return kept


def _csv(written: _Written) -> Iterator[int | None]:
    """The line that each entry is about; 0 is the header, None an entry that was cut short."""
    width = 0
    for cells in csv.reader(written):
        if not width and cells[:1] != [LINE]:
            raise ValueError
        if not width:
            width = len(cells)
            yield 0 if written.ended else None
        else:
            yield int(cells[0]) if len(cells) == width and written.ended else None


def _ndjson(written: _Written) -> Iterator[int | None]:
    for text in written:
        yield int(json.loads(text)[LINE]) if written.ended else None


class _Written:
    """Lines, and the byte behind the last one; ``ended``: whether a line end is there."""

    def __init__(self, raw: BinaryIO) -> None:
        self._raw = raw
        self.bytes = 0
        self.ended = True

    def __iter__(self) -> Iterator[str]:
        for line in self._raw:
            self.bytes += len(line)
            self.ended = line.endswith(b"\n")
            yield line.decode(errors="replace")
