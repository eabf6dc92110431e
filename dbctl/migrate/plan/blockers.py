"""Who would keep a plan waiting if it began now, and how much would queue behind it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from dbctl.migrate.plan.model import (
    Blocker,
    PlannedRevision,
    PlannedStatement,
    Session,
    TableFacts,
    TableLock,
)
from dbctl.postgres.lock_modes import LockMode

# A transaction as short as this is the application's daily work: a statement waits for it and goes on.
_LONG_SECONDS = 1.0
# An ordinary autovacuum gives way by itself after deadlock_timeout.
_GIVES_WAY = {"autovacuum"}


def find_blockers(revisions: Iterable[PlannedRevision], sessions: Iterable[Session]) -> tuple[Blocker, ...]:
    """The sessions with a long transaction for which a statement would wait, the oldest first."""
    statements = [(f"{one.revision}:{s.number}", s) for one in revisions for s in one.statements]
    found = []
    for session in sessions:
        if session.kind in _GIVES_WAY or not _is_long(session):
            continue
        waiting = [
            (name, tables) for name, one in statements if (tables := _in_the_way(session, one)) is not None
        ]
        if waiting:
            tables = tuple(dict.fromkeys(table for _, names in waiting for table in names))
            found.append(Blocker(session, tuple(name for name, _ in waiting), tables))
    return tuple(found)


def _is_long(session: Session) -> bool:
    """One whose age we may not see counts: better a name too many than a blocked deploy."""
    return session.age_seconds is None or session.age_seconds >= _LONG_SECONDS


def _in_the_way(session: Session, statement: PlannedStatement) -> tuple[str, ...] | None:
    """The tables on which ``statement`` would wait for ``session``; None where it would not.

    Empty where it is the session's snapshot that it waits for.
    """
    tables = tuple(held.table for held in session.holds if _conflicts(held, statement))
    if tables:
        return tables
    return () if statement.waits_for_snapshots and session.has_snapshot else None


def _conflicts(held: TableLock, statement: PlannedStatement) -> bool:
    for lock in statement.locks:
        if lock.table != held.table:
            continue
        if lock.mode.conflicts_with(held.mode):
            return True
        # CONCURRENTLY waits for others without blocking them.
        if statement.waits_for and statement.waits_for.conflicts_with(held.mode):
            return True
    return False


def queued_per_second(locks: Iterable[TableLock], facts: Mapping[str, TableFacts]) -> float | None:
    """How many reads and writes a second would wait behind these locks; None where no rate is known."""
    rates = [rate for lock in locks if (rate := _queued(lock.mode, facts.get(lock.table))) is not None]
    return sum(rates) if rates else None


def _queued(mode: LockMode, facts: TableFacts | None) -> float | None:
    if facts is None or facts.reads_per_second is None or facts.writes_per_second is None:
        return None
    reads = facts.reads_per_second if mode.blocks_reads else 0
    return reads + (facts.writes_per_second if mode.blocks_writes else 0)


def oldest(sessions: Sequence[Session]) -> Session | None:
    """The session with the oldest transaction, if there is one."""
    return next((one for one in sessions if one.age_seconds), None)
