"""What happens while revisions run, a line each."""

from __future__ import annotations

from dbctl.migrate.model import (
    Blocking,
    Building,
    Event,
    Filling,
    Repaired,
    Resumed,
    Retrying,
    Stopping,
    Waiting,
)

_NAMED = 3
_STEP_PERCENT = 10
_MINUTE_SECONDS = 120


def line(event: Event) -> str:
    """The event for a person; the same words as long as nothing changes."""
    match event:
        case Waiting():
            where = f"{event.revision} waits" if event.revision else "waiting until nobody is in the way"
            told = f"{where}: blocked by {_all(event.blockers)}"
        case Retrying():
            told = (
                f"{event.revision}: {event.reason}, rolled back; attempt {event.attempt + 1}"
                f" in {event.pause_seconds:.0f} s at most (tries for {_seconds(event.left_seconds)} more)"
            )
        case Resumed():
            told = _resumed(event)
        case Repaired():
            told = f"{event.revision}: dropped {event.index}, which a CONCURRENTLY had left INVALID"
        case Filling():
            told = f"{event.revision}: {event.progress}"
        case Stopping():
            where = f"the Python code of {event.revision}" if event.revision else "the project's Python code"
            told = f"stopping: waits for {where} to come to its next statement"
        case Building():
            told = _building(event)
    return told


def percent(event: Building) -> int:
    """How much of the present phase is done."""
    return 100 * event.done // event.total if event.total else 0


def _resumed(event: Resumed) -> str:
    when = f"{event.at:%Y-%m-%d %H:%M:%S %Z} by {event.by}"
    done = {0: "nothing of it is", 1: "statement 1 is"}.get(event.done, f"statements 1 to {event.done} are")
    last = f"; the end of statement {event.done + 1} was not seen" if event.started else ""
    return f"{event.revision} was half applied on {when}: {done} done{last}; goes on with {event.done + 1}"


def _building(event: Building) -> str:
    share = percent(event) // _STEP_PERCENT * _STEP_PERCENT
    told = f"{event.revision}: index on {event.table}, {event.phase}"
    if event.waits_for is not None:
        return f"{told}: {_one(event.waits_for)}"
    return f"{told}, {share} %" if event.total else told


def _all(blockers: tuple[Blocking, ...]) -> str:
    more = f"; and {len(blockers) - _NAMED} more" if len(blockers) > _NAMED else ""
    return "; ".join(_one(one) for one in blockers[:_NAMED]) + more


def _one(session: Blocking) -> str:
    age = "" if session.age_seconds is None else f" for {_seconds(session.age_seconds)}"
    if not session.pid:
        return (
            f"a {session.state}, which ends by COMMIT PREPARED or ROLLBACK PREPARED only (pg_prepared_xacts)"
        )
    who = f"pid {session.pid}"
    parts = [who, session.role, session.application or "unnamed", f"{session.state}{age}"]
    query = f": {session.query}" if session.query else ""
    return ", ".join(part for part in parts if part) + query


def _seconds(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < _MINUTE_SECONDS else f"{seconds / 60:.0f} min"
