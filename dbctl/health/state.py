"""A small file of counters, so that a run can say what happened since the one before it."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any

from dbctl.errors import UsageError
from dbctl.health.samples import Sample

_FORMAT = "dbctl health state 1"


def load_samples(path: Path, system: str) -> dict[str, Sample]:
    """What was counted last on the system; nothing where the file is not there yet.

    Raises UsageError where it is something else, which is not to be overwritten.
    """
    return {name: _sample(one) for name, one in _systems(path).get(system, {}).items()}


def save_samples(path: Path, system: str, samples: Mapping[str, Sample]) -> str:
    """Put the samples in the file beside those of other systems, whole or not at all; why not, where it can't be."""
    systems = {**_systems(path), system: {name: _record(one) for name, one in samples.items()}}
    text = json.dumps({"format": _FORMAT, "systems": systems}, separators=(",", ":"))
    partial: Path | None = None
    try:
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".partial", dir=path.parent)
        partial = Path(name)
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
        partial.replace(path)
    except OSError as error:
        if partial:
            with suppress(OSError):
                partial.unlink()
        return f"the state file {path} can't be written: {error.strerror or error}"
    return ""


def _systems(path: Path) -> dict[str, Any]:
    try:
        kept = json.loads(path.read_text(encoding="utf-8"))
        if kept["format"] == _FORMAT:
            return dict(kept["systems"])
        why = f"its format is {kept['format']!r}"
    except FileNotFoundError:
        return {}
    except OSError as error:
        why = error.strerror or str(error)
    except (ValueError, LookupError, TypeError):
        why = "it is something else"
    raise UsageError(
        f"can't use --state {str(path)!r}", why=why, hint="name a file that is not there yet, or remove it"
    )


def _record(sample: Sample) -> dict[str, Any]:
    return {"at": sample.at.isoformat(), "rows": [dict(row) for row in sample.rows]}


def _sample(record: dict[str, Any]) -> Sample:
    return Sample(datetime.fromisoformat(record["at"]), tuple(record["rows"]))
