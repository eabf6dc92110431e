"""Says why a project, or one of its revisions, can't run on scratch, and what to do about it."""

from __future__ import annotations

import traceback
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

from dbctl.database.errors import sqlstate
from dbctl.database.guard import Attempt, Guard, LedAway
from dbctl.errors import DbctlError, Failed, Refused
from dbctl.migrate.environment import Environment
from dbctl.migrate.failure import environment_error, message_of, revision_that_raised
from dbctl.migrate.trace.model import Failure, Refusal, Statement

_NAME_IT = "name the variable that it reads in migrate.url_variables"
_CANCELED = "57014"
# Undefined objects: what an earlier revision should have made.
_UNDEFINED = {"42P01", "42703", "42704", "42883", "3F000", "42P10"}


def failure_of(error: BaseException, seconds: float, *, struck: bool) -> Failure:
    """A revision's error as a value; ``struck``: we ended it, after its ``seconds``."""
    if struck:
        return _out_of_time(seconds)
    if isinstance(error, SystemExit | KeyboardInterrupt):
        return Failure("", f"it raised {type(error).__name__}({error})")
    if isinstance(error, LedAway):
        return Failure("", str(error))
    return Failure(sqlstate(error) or "", message_of(error, None))


def timed_out(statements: Iterable[Statement], seconds: float) -> tuple[Statement, ...]:
    """The statements of a revision that we ended: the server says that a user cancelled one, and it was us."""
    said = _out_of_time(seconds)
    return tuple(
        replace(one, failure=said) if one.failure and one.failure.sqlstate == _CANCELED else one
        for one in statements
    )


def refusals_of(attempts: Iterable[Attempt], path: Path, error: BaseException | None) -> tuple[Refusal, ...]:
    """What a revision was refused, but for that of which it failed."""
    found = {}
    for attempt in attempts:
        if str(attempt) not in str(error):
            file, _, line = attempt.place.rpartition(", line ")
            number = int(line) if file == str(path) else None
            found[str(attempt)] = Refusal(str(attempt), number, attempt.is_database)
    return tuple(found.values())


def _out_of_time(seconds: float) -> Failure:
    said = f"stopped after {seconds:g} s, the time that a revision has on scratch"
    return Failure(_CANCELED, said, timed_out=True)


def may_follow(failure: Failure) -> bool:
    """Whether it looks like the consequence of an earlier revision that did not run."""
    return failure.sqlstate in _UNDEFINED or failure.message.startswith(("KeyError", "NoSuchTableError"))


def run_error(error: BaseException, environment: Environment, guard: Guard) -> DbctlError:
    """What ended env.py, or the loading of the revisions, before any revision could be blamed."""
    if isinstance(error, DbctlError) and not isinstance(error, LedAway):
        return error
    file = revision_that_raised(error, environment)
    who = file.name if file else "env.py"
    if attempt := next((one for one in reversed(guard.refused) if one.is_database), None):
        return Refused(
            f"{who} leads to {attempt.address}",
            why=f"{attempt}; it must never get there from a scratch run",
            hint="connect in upgrade(), by op.get_bind()" if file else f"{_NAME_IT}, or run with --isolated",
        )
    if guard.refused:
        return Refused(
            f"{who} asks the network for {guard.refused[-1].address}",
            why=f"{guard.refused[-1]}; then it failed: {message_of(error, environment.password)}",
            hint=f"--allow-network, or --isolated; if that is its database, {_NAME_IT}",
        )
    if missing := next((one for one in _chain(error) if isinstance(one, ImportError)), None):
        return _not_installed(missing, environment)
    ours = environment_error(error, environment)
    if ours.hint.startswith("--debug"):
        ours.hint += " --isolated runs without it"
    return ours


def _not_installed(error: ImportError, environment: Environment) -> DbctlError:
    frames = [f for f in traceback.extract_tb(error.__traceback__) if not f.filename.startswith("<")]
    revision = revision_that_raised(error, environment)
    hint = "install it where dbctl runs"
    return Failed(
        f"{revision.name if revision else 'env.py'} imports {error.name or error}, which is not installed here",
        why=f"{error} (in {frames[-1].filename}, line {frames[-1].lineno})" if frames else str(error),
        hint=f"{hint}; --isolated spares env.py only" if revision else f"{hint}, or run with --isolated",
    )


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__
