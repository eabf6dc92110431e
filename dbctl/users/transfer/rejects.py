"""The file of rows that were turned away: to be mended, and imported as it is."""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, TextIO, cast

from dbctl.errors import Failed
from dbctl.users.transfer.files import format_of
from dbctl.users.transfer.model import READ, SECRET, Rejected

if TYPE_CHECKING:
    from dbctl.users.transfer.model import Format

# Under names that an import leaves out.
_LINE, _FIELD, _WHY = "_line", "_field", "_why"
_HEADER = (_LINE, _FIELD, _WHY, *(name for name in READ if name not in SECRET))


class Rejects:
    """Counts what is turned away, keeps the first few to be shown, and writes all of it to a file where there is one."""

    shown = 10

    def __init__(self, stream: TextIO | None, format_: Format) -> None:
        self._stream, self._format = stream, format_
        self._begun = False
        self.count = 0
        self.first: list[Rejected] = []

    def add(self, one: Rejected) -> None:
        """Write one down. Raises Failed where the disk is full."""
        self.count += 1
        if len(self.first) < self.shown:
            self.first.append(one)
        if self._stream is not None:
            with _written(self._stream):
                self._write({_LINE: one.line, _FIELD: one.field, _WHY: one.why, **one.cells})

    def trim(self, lines: int) -> None:
        """Take out what an earlier run wrote of rows behind ``lines``: they come again."""
        if self._stream is None:
            return
        kept = [one for one in _entries(self._stream, self._format) if int(str(one[_LINE])) <= lines]
        self._stream.seek(0)
        self._stream.truncate()
        for entry in kept:
            self._write(entry)

    def settle(self) -> None:
        """What was added is on the disk. Raises Failed where it is full."""
        if self._stream is not None:
            with _written(self._stream):
                self._stream.flush()
                os.fsync(self._stream.fileno())

    def _write(self, entry: dict[str, object]) -> None:
        stream = cast("TextIO", self._stream)
        if self._format == "ndjson":
            shown = {name: value for name, value in entry.items() if value is not None}
            stream.write(json.dumps(shown, ensure_ascii=False) + "\n")
            return
        writer = csv.DictWriter(stream, _HEADER, restval="", extrasaction="ignore", lineterminator="\n")
        if not self._begun:
            writer.writeheader()
            self._begun = True
        writer.writerow(entry)


@contextmanager
def open_rejects(path: Path | None, *, keep: bool) -> Iterator[Rejects]:
    """Where rejected rows go; ``keep``: what an earlier run wrote there stays. Raises Failed, UsageError."""
    if path is None:
        yield Rejects(None, "csv")
        return
    format_ = format_of(path.name, None, option="a name that ends in")
    flags = os.O_RDWR | os.O_CREAT | (0 if keep else os.O_TRUNC)
    try:
        stream = open(  # noqa: SIM115 - closed below; a Path's takes no opener
            path,
            "r+",
            encoding="utf-8",
            errors="backslashreplace",
            newline="",
            opener=lambda name, _: os.open(name, flags, 0o600),
        )
    except OSError as error:
        raise Failed(f"can't write {path}", why=error.strerror or str(error)) from error
    try:
        yield Rejects(stream, format_)
    finally:
        # What counts is settled; of a full disk, closing complains again.
        with suppress(OSError):
            stream.close()


@contextmanager
def _written(stream: TextIO) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise Failed(f"can't write {stream.name}", why=error.strerror or str(error)) from error


def _entries(stream: TextIO, format_: Format) -> Iterator[dict[str, object]]:
    """What stands there; a last line that a killed run cut short is none."""
    if format_ == "csv":
        rows = csv.DictReader(stream)
        return (dict(row) for row in rows if None not in row.values() and str(row[_LINE]).isdecimal())
    return (json.loads(line) for line in stream if line.endswith("}\n"))
