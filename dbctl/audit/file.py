"""The file of records: a line of JSON for each, only ever added to."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Iterator
from dataclasses import asdict, fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from dbctl.audit.model import End, Entry, Start
from dbctl.audit.process import is_alive
from dbctl.errors import Failed

_OTHERS_MAY_WRITE = stat.S_IWGRP | stat.S_IWOTH
_EVENTS: dict[str, type[Start | End]] = {"start": Start, "end": End}


def append(path: Path, event: Start | End) -> None:
    """Add a line, in one write, and have it on the disk.

    Two commands at once can't mix theirs, and no line of before is changed. Raises OSError, also for what is no
    file of our own: a link, a pipe, a file that others may write.
    """
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    # Without O_NONBLOCK a pipe that nobody reads would hold the command for ever.
    flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    handle = os.open(path, flags, 0o600)
    try:
        size = _checked_size(handle)
        line = _line(event)
        # A line that a full disk cut short must not swallow this one.
        if size and os.pread(handle, 1, size - 1) != b"\n":
            line = b"\n" + line
        if os.write(handle, line) < len(line):
            raise OSError("the disk took only a part of the line")
        os.fsync(handle)
    finally:
        os.close(handle)


def read(path: Path, host: str) -> tuple[list[Entry], int]:
    """The commands, as they began, and how many lines could not be read: cut, or not ours.

    ``host`` is this machine's name: only here can be said whether a process still runs. Raises Failed.
    """
    starts: dict[str, Start] = {}
    ends: dict[str, End] = {}
    unread = 0
    for event in _events(path):
        if isinstance(event, Start):
            starts[event.id] = event
        elif isinstance(event, End):
            ends[event.id] = event
        else:
            unread += 1
    return [_entry(start, ends.get(key), host) for key, start in starts.items()], unread


def _checked_size(handle: int) -> int:
    """The file's bytes. Raises OSError where it is not one that only its owner writes."""
    found = os.fstat(handle)
    if not stat.S_ISREG(found.st_mode):
        raise OSError("it is no plain file")
    if found.st_mode & _OTHERS_MAY_WRITE:
        raise OSError("others may write it: a record that anybody can change proves nothing; chmod go-w")
    return found.st_size


def _line(event: Start | End) -> bytes:
    name = "start" if isinstance(event, Start) else "end"
    values = {"event": name, **asdict(event), "at": event.at.astimezone(UTC).isoformat()}
    # ASCII: no line separator of Unicode's, and no half of a pair, breaks a line.
    return json.dumps(values, separators=(",", ":"), default=str).encode("ascii") + b"\n"


def _events(path: Path) -> Iterator[Start | End | None]:
    try:
        with path.open("rb") as lines:
            for line in lines:
                if line.strip():
                    yield _event(line)
    except FileNotFoundError:
        return
    except OSError as error:
        raise Failed(f"can't read the record {path}", why=error.strerror or str(error)) from None


def _event(line: bytes) -> Start | End | None:
    try:
        values: dict[str, Any] = json.loads(line)
        kind = _EVENTS[values["event"]]
        known = {field.name: values[field.name] for field in fields(kind)}
        at = datetime.fromisoformat(known["at"])
        # Without a zone it could not be compared with the others.
        return kind(**{**known, "at": at.astimezone(UTC)})
    except (ValueError, LookupError, TypeError, AttributeError):
        return None


def _entry(start: Start, end: End | None, host: str) -> Entry:
    if end is not None:
        outcome = end.outcome
    else:
        outcome = "running" if start.host == host and is_alive(start.pid, start.life) else "unfinished"
    return Entry(
        id=start.id,
        at=start.at,
        command=start.command,
        action=start.action,
        arguments=start.arguments,
        user=start.user,
        host=start.host,
        environment=start.environment,
        place=start.place,
        outcome=outcome,
        exit_code=end.exit_code if end else None,
        duration_seconds=end.duration_seconds if end else None,
        why=end.why if end else "",
        changed=end.changed if end else {},
        version=start.version,
    )
