"""Says what went wrong in a project's code: which revision, where in its file, and what is left."""

from __future__ import annotations

import re
import traceback
from dataclasses import dataclass
from pathlib import Path

from alembic.util import CommandError
from sqlalchemy.exc import PendingRollbackError

from dbctl.database.errors import sqlstate, translate
from dbctl.errors import Busy, ConnectionLost, DbctlError, Failed, MigrationFailed, Refused, UsageError
from dbctl.migrate.environment import Environment
from dbctl.migrate.model import Direction, Step
from dbctl.migrate.revisions import read_graph
from dbctl.redaction import redact

# disk_full: of the server, whatever wrote to it.
_DISK_FULL = "53100"
# query_canceled: statement_timeout, or somebody's pg_cancel_backend.
_CANCELLED = "57014"
_DRIVER_CLASS = re.compile(r"^<class '[^']+'>: ")


def environment_error(error: BaseException, environment: Environment) -> DbctlError:
    """What stops env.py, or the loading of the revisions; ours pass as they are."""
    if isinstance(error, DbctlError):
        return error
    if isinstance(error, KeyError | UserWarning | SyntaxError | CommandError):
        try:
            # The graph says more clearly what is wrong with it.
            read_graph(environment.project, environment.version_locations())
        except DbctlError as clearer:
            return clearer
    message = message_of(error, environment.password)
    if isinstance(error, CommandError):
        behind = "not up to date" in message
        hint = "`dbctl migrate up` first" if behind else "`dbctl migrate history` lists the revisions"
        return UsageError(message.rstrip("."), hint=hint)
    if file := revision_that_raised(error, environment):
        return Failed(
            f"the revision file {file.name} can't be loaded: {message}",
            why=f"in {place_in(error, file)}; Alembic loads all of them before it runs one",
            hint="what stands outside of its functions runs at every command: import late, or mend it",
        )
    env_py = environment.project.env_py
    return translate(error, "the database of env.py") or Failed(
        f"the project's env.py failed: {message}",
        why=f"in {place_in(error, env_py)}; no revision ran",
        hint="--debug shows the traceback; does `alembic current` work here?",
    )


def revision_that_raised(error: BaseException, environment: Environment) -> Path | None:
    """The revision file whose own lines were running."""
    folders = environment.version_locations()
    files = (Path(frame.filename) for frame in reversed(traceback.extract_tb(error.__traceback__)))
    return next((file for file in files if any(file.is_relative_to(folder) for folder in folders)), None)


def ran_nothing(environment: Environment) -> DbctlError:
    """For an env.py that ends well and has not asked for migrations."""
    return Failed(
        "the project's env.py ran no migrations",
        why=f"{environment.project.env_py} never called context.run_migrations()",
        hint="does `alembic current` work here?",
    )


@dataclass(frozen=True, slots=True)
class Left:
    """What a revision in flight leaves: ``heads`` is what the database says now, None: it can't be asked.

    ``committed``: part of it stays; ``noted`` are its statements that are known to be done, None: nobody knows.
    ``backfill`` says how far the one has come that it was at, else empty.
    ``is_alone``: the one after them failed outside of a transaction.
    """

    heads: tuple[str, ...] | None
    committed: bool
    noted: int | None = None
    direction: Direction = Direction.UP
    backfill: str = ""
    is_alone: bool = False


def revision_error(error: BaseException, step: Step, environment: Environment, left: Left) -> DbctlError:
    """What happened to the revision that was running."""
    error = _first(error)
    ours = translate(error)
    kind = type(ours) if isinstance(ours, Busy | ConnectionLost | Refused) else MigrationFailed
    state = sqlstate(error)
    place = place_in(error, step.path)
    details = [f"SQLSTATE {state}"] if state else []
    details += [f"in {place}", what_is_left(left)]
    said = message_of(error, environment.password)
    if kind is ConnectionLost:
        details.insert(0, said)
        said = "the connection was lost"
    verb = "was in flight" if kind is ConnectionLost else "failed"
    return kind(
        f"revision {step.revision} {verb}: {said}",
        why="; ".join(details),
        hint=ours.hint if isinstance(ours, Refused) else _hint(kind, state, step, left),
    )


def _first(error: BaseException) -> BaseException:
    """What went wrong, where SQLAlchemy speaks only of the transaction that it left behind."""
    before = error.__context__
    return before if isinstance(error, PendingRollbackError) and before is not None else error


def what_is_left(left: Left) -> str:
    """What became of the revision in flight, and where the database is now."""
    if left.heads is None:
        return "the server rolls back what was not committed, and can't be asked now"
    where = f"the database is at {', '.join(left.heads) or 'base'}"
    if not left.committed:
        return f"rolled back; {where}"
    if left.noted is not None:
        done = {0: "nothing is", 1: "statement 1 is"}.get(left.noted, f"statements 1 to {left.noted} are")
        tail = "the rest was rolled back"
        if left.backfill:
            tail = f"{left.backfill}, which stays"
        elif left.is_alone:
            tail = "the next one failed outside of a transaction (an index that it left INVALID is dropped by the next run)"
        return f"half applied: {done} done and noted, {tail}; {where}"
    return f"it committed in between, so it may be half applied; {where}"


def _hint(kind: type[DbctlError], state: str | None, step: Step, left: Left) -> str:
    again = f"`dbctl migrate {step.direction}` again"
    if kind is Busy:
        return f"try {again} later; pg_stat_activity and pg_locks show what is in the way"
    if kind is ConnectionLost:
        return "see where it stands: `dbctl migrate status`"
    if state == _CANCELLED:
        return f"raise its limit under [migrate], or make it faster, and run {again}"
    if state == _DISK_FULL:
        return f"the server's disk is full: free some space (`dbctl migrate plan` says how much it takes), then {again}"
    if left.committed and left.noted is not None:
        return f"mend what follows and run {again}: it goes on from there"
    undo = "undo by hand what it left, " if left.committed else ""
    return f"{undo}mend the revision and run {again}"


def message_of(error: BaseException, password: str | None) -> str:
    """The first line of what was said, without the password; with the error's class where it is not the server's."""
    inner = getattr(error, "orig", None) or error
    if isinstance(inner, AssertionError) and _raised_in(inner) == "autocommit_block":
        return "Alembic's autocommit_block() needs a transaction that Alembic began: not one of env.py, nor another such block"
    text = _DRIVER_CLASS.sub("", str(inner).strip()).partition("\n")[0]
    known = sqlstate(error) or isinstance(error, CommandError)
    return redact(text if known else f"{type(inner).__name__}: {text}", password or "")


def _raised_in(error: BaseException) -> str:
    frames = traceback.extract_tb(error.__traceback__)
    return frames[-1].name if frames else ""


def place_in(error: BaseException, file: Path) -> str:
    """The last line of ``file`` on the way to the error."""
    line = line_in(error, file)
    return f"{file}, line {line}" if line else str(file)


def line_in(error: BaseException, file: Path) -> int | None:
    """The number of that line; None where the error did not come through the file."""
    frames = traceback.extract_tb(error.__traceback__)
    return next((frame.lineno for frame in reversed(frames) if Path(frame.filename) == file), None)
