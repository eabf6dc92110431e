"""Rows of CSV or NDJSON, one at a time, under the names of users' fields."""

from __future__ import annotations

import csv
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, TextIO

from dbctl.errors import UsageError
from dbctl.users.transfer.lines import CsvLines, TooLong, whole_lines
from dbctl.users.transfer.model import IGNORED, READ, REQUIRED, SECRET, Rejected, Row

if TYPE_CHECKING:
    from dbctl.users.transfer.model import Format

# Of a header: leave it out.
NOTHING = "-"
# What a file of rejected rows says beside the row: so it can be mended and imported.
OWN_MARK = "_"
# What spreadsheets put between cells where a comma is part of a number.
_OTHER_SIGNS = (";", "\t", "|")
# So many names of NDJSON are looked up once.
_REMEMBERED = 100


def read_rows(text: TextIO, format_: Format, mapping: Mapping[str, str]) -> Iterator[Row | Rejected]:
    """Each row, or why it can't be read. ``mapping``: a header's field, ``-`` to leave it out.

    Raises UsageError where the headers are not those of users.
    """
    return _csv(text, mapping) if format_ == "csv" else _ndjson(text, mapping)


def parse_mapping(given: Iterable[str]) -> dict[str, str]:
    """``--map "E-Mail=email"`` as a mapping. Raises UsageError."""
    mapping = {}
    for one in given:
        header, equals, name = one.rpartition("=")
        if not equals or not header or name not in (*READ, NOTHING):
            raise UsageError(
                f"--map {one}",
                why=f"it takes HEADER=FIELD, and the fields are {', '.join(READ)}",
                hint=f"HEADER={NOTHING} leaves it out",
            )
        mapping[header] = name
    return mapping


def without_secrets(cells: Mapping[str, object]) -> dict[str, object]:
    """A row as it may be written to a file of rejected ones."""
    return {name: value for name, value in cells.items() if name not in SECRET}


def _csv(text: TextIO, mapping: Mapping[str, str]) -> Iterator[Row | Rejected]:
    lines = CsvLines(text)
    reader = csv.reader(lines, strict=True)
    try:
        header = next(reader, None)
    except csv.Error as error:
        raise UsageError("the first line is no header", why=str(error)) from error
    if header is None:
        raise UsageError("there is nothing in the file", why="not even a header")
    fields = _fields(header, mapping)
    if missing := [name for name in REQUIRED if name not in fields]:
        raise UsageError(
            f"no column is {' or '.join(missing)}",
            why=f"the header is {', '.join(header)}",
            hint='say which one is: --map "HEADER=FIELD"',
        )
    while True:
        line = lines.number + 1
        lines.begin_row()
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            yield Rejected(line, "", _told(error, line, lines.number), {})
            continue
        if not cells:
            continue
        yield _named(line, fields, cells)


def _told(error: csv.Error, line: int, last: int) -> str:
    """Why, and where the row ends: all its lines are turned away, and who forgot a quote must see how many."""
    return f"{error}: it goes on to line {last}, is a quote missing?" if last > line else str(error)


def _named(line: int, fields: Sequence[str], cells: Sequence[str]) -> Row | Rejected:
    named = {name: cell for name, cell in zip(fields, cells, strict=False) if name}
    if len(cells) != len(fields):
        why = f"it has {len(cells)} cells, the header has {len(fields)}"
        # Nobody knows which cell stands under which name: a password may be anywhere.
        return Rejected(line, "", why, {} if set(SECRET) & set(fields) else named)
    # What is empty is not there: so a null comes back as one.
    return Row(line, {name: cell for name, cell in named.items() if cell != ""})


def _fields(header: Sequence[str], mapping: Mapping[str, str]) -> list[str]:
    """The field of each column, "" for one that is left out."""
    if len(header) == 1 and (sign := next((one for one in _OTHER_SIGNS if one in header[0]), "")):
        raise UsageError(f"its cells are parted by {sign!r}", hint="part them by commas: save it as CSV anew")
    if strangers := [name for name in mapping if name not in header]:
        raise UsageError(f"--map {strangers[0]}", why=f"the header is {', '.join(header)}")
    fields = [_field(name, mapping) for name in header]
    if unknown := [name for name, found in zip(header, fields, strict=True) if found is None]:
        raise _unknown(unknown)
    doubled = [name for name, times in Counter(fields).items() if name and times > 1]
    if doubled:
        raise UsageError(f"two columns are {doubled[0]}", hint=f'leave one out: --map "HEADER={NOTHING}"')
    return [name or "" for name in fields]


def _field(header: str, mapping: Mapping[str, str]) -> str | None:
    if header in mapping:
        return "" if mapping[header] == NOTHING else mapping[header]
    name = header.strip().casefold().replace(" ", "_")
    if name in IGNORED or name.startswith(OWN_MARK):
        return ""
    return name if name in READ else None


def _unknown(names: Sequence[str]) -> UsageError:
    return UsageError(
        f"what is {names[0]!r}?",
        why=f"the fields of a user are {', '.join(READ)}",
        hint=f'--map "{names[0]}=FIELD", or --map "{names[0]}={NOTHING}" to leave it out',
    )


def _ndjson(text: TextIO, mapping: Mapping[str, str]) -> Iterator[Row | Rejected]:
    known: dict[str, str | None] = {}
    empty = True
    for line, written in enumerate(whole_lines(text), start=1):
        if written is None:
            empty = False
            yield Rejected(line, "", str(TooLong()), {})
            continue
        if not written.strip():
            continue
        empty = False
        try:
            yield Row(line, _renamed(_object(written), mapping, known))
        except _Unreadable as error:
            yield Rejected(line, "", str(error), {})
    if empty:
        raise UsageError("there is nothing in the file")


class _Unreadable(ValueError):
    """Why a line is no row."""


def _object(written: str) -> dict[str, object]:
    try:
        cells = json.loads(written, object_pairs_hook=_without_doubles, parse_constant=_no_number)
    except json.JSONDecodeError as error:
        raise _Unreadable(f"it is no JSON: {error.msg}, at character {error.pos + 1}") from error
    except _Unreadable:
        raise
    except (ValueError, RecursionError) as error:
        raise _Unreadable(f"it is no JSON: {error}") from error
    if not isinstance(cells, dict):
        raise _Unreadable("it is no JSON object")
    return cells


def _without_doubles(pairs: list[tuple[str, object]]) -> dict[str, object]:
    # Left to itself, the last one would silently win.
    cells = dict(pairs)
    if len(cells) < len(pairs):
        name, _ = Counter(name for name, _ in pairs).most_common(1)[0]
        raise _Unreadable(f"{name!r} is there twice")
    return cells


def _no_number(name: str) -> object:
    raise _Unreadable(f"it is no JSON: {name}")


def _renamed(
    cells: Mapping[str, object], mapping: Mapping[str, str], known: dict[str, str | None]
) -> dict[str, object]:
    """The cells under their fields' names. Raises UsageError for a stranger in the first row, which stands for a header."""
    is_first = not known
    named: dict[str, object] = {}
    for name, value in cells.items():
        field = known[name] if name in known else _field(name, mapping)
        if field is None and is_first:
            raise _unknown([name])
        if field is None:
            raise _Unreadable(f"what is {name!r}? It is not in the first row")
        if len(known) < _REMEMBERED:
            known[name] = field
        if field in named:
            raise _Unreadable(f"{field!r} is there twice, once as {name!r}")
        if field and value is not None:
            named[field] = value
    return named
