"""The file of rows that were turned away: to be mended, and imported as it is."""

from __future__ import annotations

import csv
import fcntl
import json
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, TextIO, cast

from dbctl.errors import Busy, Failed
from dbctl.users.transfer.files import format_of
from dbctl.users.transfer.kept import LINE, kept_bytes
from dbctl.users.transfer.model import READ, SECRET, Rejected

if TYPE_CHECKING:
    from dbctl.users.transfer.model import Format

# Under names that an import leaves out.
_FIELD, _WHY = "_field", "_why"
_HEADER = (LINE, _FIELD, _WHY, *(name for name in READ if name not in SECRET))


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
                self._write({LINE: one.line, _FIELD: one.field, _WHY: one.why, **one.cells})

    def trim(self, lines: int) -> None:
        """Take out what an earlier run wrote of rows behind ``lines``: they come again.

        Raises UsageError where something else than rejected rows stands there.
        """
        if self._stream is None or not _is_regular(self._stream):
            return
        with _written(self._stream):
            self._stream.truncate(kept_bytes(self._stream, self._format, lines))
            self._begun = self._stream.seek(0, os.SEEK_END) > 0

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
    """Where rejected rows go; ``keep``: what an earlier run wrote there stays. Raises Failed, Busy, UsageError."""
    if path is None:
        yield Rejects(None, "csv")
        return
    format_ = format_of(path.name, None, option="a name that ends in")
    try:
        stream = open(  # noqa: SIM115 - closed below; a Path's takes no opener
            path,
            "r+",
            encoding="utf-8",
            errors="backslashreplace",
            newline="",
            opener=lambda name, _: os.open(name, os.O_RDWR | os.O_CREAT, 0o600),
        )
    except OSError as error:
        raise Failed(f"can't write {path}", why=error.strerror or str(error)) from error
    try:
        _hold(stream)
        if not keep and _is_regular(stream):
            stream.truncate(0)
        yield Rejects(stream, format_)
    finally:
        # What counts is settled; of a full disk, closing complains again.
        with suppress(OSError):
            stream.close()


def _hold(stream: TextIO) -> None:
    """Keep other runs from the file, until it is closed."""
    try:
        fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise Busy(
            f"another import writes to {stream.name}", hint="name another file, or let it end"
        ) from error
    except OSError:
        # A file system without locks.
        return


def _is_regular(stream: TextIO) -> bool:
    return stat.S_ISREG(os.fstat(stream.fileno()).st_mode)


@contextmanager
def _written(stream: TextIO) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise Failed(f"can't write {stream.name}", why=error.strerror or str(error)) from error
