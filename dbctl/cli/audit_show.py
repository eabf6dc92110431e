"""The steps of ``dbctl audit``."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from dbctl.audit.file import read
from dbctl.cli.output.views import audit as view
from dbctl.cli.recording import record_file

if TYPE_CHECKING:
    from dbctl.audit.model import Entry
    from dbctl.cli.runtime import Invocation


def show(run: Invocation, seconds: float, command: str, *, unfinished: bool) -> None:
    """Read the record and show what was asked for."""
    path = record_file(run.project_settings)
    entries, unread = read(path, os.uname().nodename)
    if unread:
        run.say(f"warning: {unread} lines of {path} can't be read: cut short, or not dbctl's")
    first = datetime.now(UTC) - timedelta(seconds=seconds)
    run.emit(
        [
            one
            for one in entries
            if one.at >= first
            and _is_of(one, command)
            and run.common.env in (None, one.environment)
            and (not unfinished or one.outcome == "unfinished")
        ],
        view.entries,
    )


def _is_of(entry: Entry, command: str) -> bool:
    wanted = command.split()
    return entry.command.split()[: len(wanted)] == wanted
