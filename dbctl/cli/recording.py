"""Notes a command that changes something in the record: as it begins, and how it ended."""

from __future__ import annotations

import os
import pwd
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dbctl.errors import DbctlError, Interrupted

if TYPE_CHECKING:
    from dbctl.audit.model import End, Start
    from dbctl.cli.runtime import Invocation
    from dbctl.settings import Loaded

_LONGEST = 500
_BUG = 70
_OUTCOMES = {0: "done", 1: "found"}
# What a result may tell of what was changed: no address of a person, and no password that was just made.
_TELLING = [
    "id",
    "backup_id",
    "before",
    "after",
    "applied",
    "rows",
    "added",
    "updated",
    "skipped",
    "rejected",
    "users",
    "tag",
    "username",
    "database",
    "kept",
    "schema",
    "brought_back",
    "aside",
    "pid",
    "how",
    "removed",
]


class Recording:
    """The record of one command. It fails none: what can't be written is said, and the work goes on."""

    def __init__(self, command: str, arguments: Mapping[str, Any]) -> None:
        self.command = command
        self.result: Any = None
        self._arguments = arguments
        self._id = ""
        self._path = Path()
        self._began = time.monotonic()

    def begin(self, run: Invocation, place: str, action: str) -> None:
        """Note that ``run`` is about to do it; once, whatever else the command does after."""
        if self._id or not run.loaded.settings.audit.enabled:
            return
        from uuid import uuid4

        from dbctl import __version__
        from dbctl.audit.model import Start
        from dbctl.audit.process import life_of

        self._id = uuid4().hex
        start = Start(
            id=self._id,
            at=datetime.now(UTC),
            command=self.command,
            action=_masked(action),
            arguments={name: _masked(value) for name, value in self._arguments.items()},
            user=_who(),
            host=os.uname().nodename,
            pid=os.getpid(),
            life=life_of(os.getpid()),
            environment=run.loaded.environment,
            place=_masked(place),
            version=__version__,
        )
        self._path = record_file(run.loaded)
        self._write(run, start)

    def end(self, run: Invocation, code: int, outcome: str, why: str) -> None:
        """Note how it ended, where its beginning was noted."""
        if not self._id:
            return
        from dbctl.audit.model import End

        seconds = round(time.monotonic() - self._began, 3)
        changed = _changed(self.result)
        self._write(run, End(self._id, datetime.now(UTC), seconds, outcome, code, _masked(why), changed))

    def _write(self, run: Invocation, event: Start | End) -> None:
        from dbctl.audit.file import append

        try:
            append(self._path, event)
        except (OSError, ValueError) as error:
            run.say(
                f"warning: {self._path} takes no record of this: {getattr(error, 'strerror', '') or error}"
            )


@contextmanager
def recorded(run: Invocation, recording: Recording) -> Iterator[None]:
    """Around a command: note how it ended, whatever it raises."""
    code, outcome, why = _BUG, "failed", ""
    try:
        yield
        code = run.exit_code
        outcome = _OUTCOMES.get(code, "failed")
    except DbctlError as error:
        code, outcome, why = error.exit_code, error.kind, str(error)
        raise
    except BaseException as error:
        why = f"a bug in dbctl: {type(error).__name__}"
        raise
    finally:
        try:
            recording.end(run, code, outcome, why)
        except Interrupted:
            # The line is there, or the disk hangs: either way the signal ends us.
            run.say("note: interrupted while the record was written")
            raise


def record_file(loaded: Loaded) -> Path:
    """Where the record is: ``audit.file``, else a file in the user's folder for states."""
    given = loaded.settings.audit.file
    if given is not None:
        return loaded.path(given)
    states = os.environ.get("XDG_STATE_HOME", "")
    home = Path(states) if Path(states).is_absolute() else _home() / ".local" / "state"
    return home / "dbctl" / "audit.jsonl"


def _home() -> Path:
    try:
        return Path.home()
    except RuntimeError:
        # A user of a container, with a number and no name.
        return Path("/nonexistent")


def _who() -> str:
    """The operating system's user, whom no variable can change; behind sudo, who called it too."""
    number = os.getuid()
    try:
        name = pwd.getpwuid(number).pw_name
    except KeyError:
        name = str(number)
    caller = os.environ.get("SUDO_USER", "")
    return f"{name} (sudo by {caller})" if number == 0 and caller else name


def _masked(value: object) -> str:
    from dbctl.redaction import redact

    text = redact(" ".join(map(str, value)) if isinstance(value, list | tuple) else str(value))
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"


def _changed(result: Any) -> dict[str, Any]:
    """What a result says of rows, revisions and ids; of a list, those that are gone."""
    if isinstance(result, list):
        return {"removed": [one.id for one in result if getattr(one, "removed", False)]}
    told = {name: getattr(result, name) for name in _TELLING if hasattr(result, name)}
    return {name: _short(value) for name, value in told.items()}


def _short(value: Any) -> Any:
    if isinstance(value, tuple | list):
        return [getattr(one, "revision", one) for one in value]
    return value
