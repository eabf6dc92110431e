"""Statements that the server refuses: which findings explain it, and what it means where none does."""

from __future__ import annotations

import re
from collections.abc import Iterable

from dbctl.migrate.rules.facts import operations, shown, stored
from dbctl.migrate.rules.model import Hazard, Level
from dbctl.migrate.rules.registry import Hit, hazard
from dbctl.migrate.trace.model import Failure, Lacking, Refusal, RevisionTrace, Statement
from dbctl.postgres.sql.operations import ValidateConstraint, ValidateDomainConstraint

FAILS = hazard(
    Hazard(
        id="revision-fails",
        level=Level.DANGER,
        effect="failing",
        why="The revision fails on a scratch database, whatever rows there are.",
        safe=(),
    )
)
FAILS_ON_ROWS = hazard(
    Hazard(
        id="fails-on-rows",
        level=Level.CAUTION,
        effect="failing",
        why="The statement passes on empty tables and fails on the few made-up rows that scratch has.",
        safe=(),
    )
)
TIME_LIMIT = hazard(
    Hazard(
        id="time-limit",
        level=Level.CAUTION,
        effect="failing",
        why="The revision did not end on scratch within its time, and is not judged further: look at it yourself.",
        safe=(),
    )
)
SCRATCH_LACKS = hazard(
    Hazard(
        id="scratch-lacks",
        level=Level.NOTICE,
        effect="failing",
        why="Scratch lacks what the statement asks for, so the revision can't be judged; the target may well have it.",
        safe=(),
    )
)
LEAVES_SCRATCH = hazard(
    Hazard(
        id="leaves-scratch",
        level=Level.DANGER,
        effect="failing",
        why="The revision asks for a connection of its own to somewhere else, and goes on where it gets none.",
        safe=(),
    )
)

_VALIDATES = (ValidateConstraint, ValidateDomainConstraint)
# What a server says that was built, set up or equipped without something, and what that is.
_LACKS = {
    re.compile(r"^ICU is not supported in this build|collation \"[^\"]*-x-icu\" for encoding"): "ICU",
    re.compile(r"^extension (\"[^\"]+\") is not available"): "the extension {}",
    re.compile(r"could not open extension control file \".*/([^/\"]+)\.control\""): "the extension {}",
    re.compile(r"requires the server to be built with (.+?) support"): "{}",
    re.compile(r"could not create locale (\"[^\"]+\")"): "the locale {}",
    re.compile(r"^tablespace (\"[^\"]+\") does not exist"): "the tablespace {}",
    re.compile(r"\"?wal_level\"? (?:>=|to be)"): "a higher wal_level",
    re.compile(r"shared_preload_libraries"): "the library, loaded at start",
    re.compile(r"^prepared transactions are disabled"): "prepared transactions",
}
# Class 22 and 23 are about the rows that are there: what a rule says of the statement explains them.
_ABOUT_ROWS = ("22", "23")
# Undefined objects, and those of the wrong kind or state.
_WANTING = {"42P01", "42703", "42704", "42883", "3F000", "42P10", "42809", "55000"}
_MEANINGS = {
    "22": "a value does not fit its type",
    "22001": "a text is longer than its column allows",
    "22003": "a number is outside the range of its type",
    "22P02": "a text is no value of the type",
    "23502": "a NULL stands where none may be",
    "23503": "a row refers to one that is not there",
    "23505": "two rows have the same key",
    "23514": "a row breaks a check",
    "23P01": "two rows exclude each other",
    "0A000": "PostgreSQL does not support it on this kind of object",
    "25001": "the statement may not run inside a transaction: put it into op.get_context().autocommit_block()",
    "2BP01": "other objects depend on what is dropped",
    "3F000": "there is no such schema",
    "40P01": "two transactions waited for each other",
    "42501": "the role has no right to do it",
    "42601": "the SQL has a syntax error",
    "42701": "there is such a column already",
    "42703": "there is no such column",
    "42704": "there is no such object",
    "42710": "there is such an object already",
    "42804": "the types do not go together",
    "42809": "it is the wrong kind of object",
    "42883": "there is no such function",
    "42P01": "there is no such table",
    "42P07": "there is such a table already",
    "55006": "the object is in use",
    "55P03": "it could not get the lock",
    "55P04": "a new enum value may not be used before it is committed",
    "57014": "it ran into a time limit",
    "58P01": "a file is not there: the server lacks the extension",
}


def hazard_of(failure: Failure) -> Hazard:
    """Which of the four it is."""
    if failure.timed_out:
        return TIME_LIMIT
    if _lacks(failure):
        return SCRATCH_LACKS
    return FAILS_ON_ROWS if failure.on_rows else FAILS


def explained(statement: Statement, met: Iterable[Hazard]) -> bool:
    """Whether one of the hazards met says already why the statement fails.

    That made-up rows do not pass VALIDATE says nothing: they were made before the constraint was known.
    """
    failure, hazards = statement.failure, tuple(met)
    if failure is None or (failure.on_rows and any(isinstance(o, _VALIDATES) for o in operations(statement))):
        return True
    if failure.on_rows or failure.sqlstate.startswith(_ABOUT_ROWS):
        return bool(hazards)
    return any(each.effect == "failing" for each in hazards)


def follows(statement: Statement, trace: RevisionTrace) -> bool:
    """Whether it fails for want of what an earlier statement of the revision should have made, which fails too."""
    failure = statement.failure
    failed_before = any(
        s.failure and not s.failure.on_rows for s in trace.statements if s.number < statement.number
    )
    return failure is not None and failed_before and failure.sqlstate in _WANTING


def of_failure(failure: Failure, trace: RevisionTrace, statement: Statement | None = None) -> Hit:
    """What the server said and what it means, or how the revision's Python ended, or our patience."""
    if failure.timed_out:
        return Hit(why=f"It was {_line(failure.message)} (--time-limit, migrate.revision_timeout).")
    meaning = _MEANINGS.get(failure.sqlstate) or _MEANINGS.get(failure.sqlstate[:2])
    means = f": {meaning}" if meaning else ""
    said = f"The server says {_line(failure.message)!r} (SQLSTATE {failure.sqlstate}{means})."
    if not failure.sqlstate:
        said = f"It ends with {_line(failure.message)!r}."
    if lacks := _lacks(failure):
        return Hit(why=f"It is {lacks}. A server that has it can be named: --scratch-url. {said}")
    if trace.consequence_of:
        before = ", ".join(trace.consequence_of)
        return Hit(
            why=f"{said} It may only follow from {before}: that failed here before, or was left out.",
            level=Level.CAUTION,
        )
    return Hit(_tables(statement) if failure.on_rows and statement else (), why=said)


def _tables(statement: Statement) -> tuple[str, ...]:
    """The tables with rows that a statement names, of those that were there."""
    named = (statement.before.get(oid) for oid in statement.names.values())
    return shown(table for table in named if table is not None and stored(table.relation))


def of_lacking(lacking: Lacking) -> Hit:
    """A statement that was left out, because scratch lacks what it is about."""
    return Hit(
        why=f"It is the extension {lacking.extension}: what makes it was left out, and the rest of the revision "
        "was traced without it. A server that has it can be named: --scratch-url."
    )


def of_refusal(refusal: Refusal) -> Hit:
    """What was asked for; another database is worse than a service in the network."""
    level = None if refusal.is_database else Level.CAUTION
    return Hit(why=f"It was refused, so what it does there is not known: {refusal.said}.", level=level)


def _lacks(failure: Failure) -> str:
    """What scratch lacks, where that is why it fails; else empty."""
    for pattern, what in _LACKS.items():
        if match := pattern.search(failure.message):
            return what.format(*match.groups())
    return ""


def _line(message: str) -> str:
    return (message.strip().splitlines() or [""])[0]
