"""Results as JSON, NDJSON and CSV: a promise to programs, so fields are only ever added."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass
from datetime import UTC, datetime
from enum import Enum
from pathlib import Path
from typing import Any, TextIO

# C1 controls and DEL are legal in JSON, but a terminal may obey them.
_CONTROLS = re.compile("[\x7f-\x9f]")
# JSON's own types, which most values of a long report are.
_PLAIN = frozenset({str, int, float, bool, type(None)})


def plain(value: Any) -> Any:
    """``value`` in JSON's own types: dataclasses as objects, times in RFC 3339 and UTC, paths as text."""
    if type(value) in _PLAIN:
        return value
    if hasattr(value, "record"):
        # It says itself what of it is promised.
        value = value.record()
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, Sequence | set | frozenset) and not isinstance(value, str | bytes):
        return [plain(item) for item in value]
    if isinstance(value, Enum):
        value = value.value
    return str(value) if isinstance(value, Path) else value


def write_json(result: Any, stream: TextIO) -> None:
    """An array for a list, an object for a report."""
    stream.write(_dump(plain(result), indent=2) + "\n")


def write_ndjson(result: Sequence[Any], stream: TextIO) -> None:
    """One object a line."""
    stream.writelines(_dump(plain(item), indent=None) + "\n" for item in result)


def write_csv(result: Sequence[Any], stream: TextIO) -> None:
    """RFC 4180, with a header; what is not a plain value stands as JSON in its cell."""
    items = [plain(item) for item in result]
    if items:
        writer = csv.writer(stream)
        writer.writerow(items[0])
        writer.writerows([_csv_cell(value) for value in item.values()] for item in items)


def _csv_cell(value: Any) -> Any:
    if value is None:
        return ""
    return _dump(value, indent=None) if isinstance(value, dict | list | bool) else value


def _dump(value: Any, *, indent: int | None) -> str:
    text = json.dumps(value, ensure_ascii=False, indent=indent)
    return _CONTROLS.sub(lambda match: f"\\u{ord(match[0]):04x}", text)
