"""Names who keeps a plan from reading the target: those that hold a table against every reader."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager

from sqlalchemy.ext.asyncio import AsyncSession

from dbctl.database import Database
from dbctl.errors import Busy, DbctlError
from dbctl.migrate.plan.facts import read_oids
from dbctl.migrate.plan.model import Session
from dbctl.migrate.plan.reading import reading
from dbctl.migrate.plan.sessions import read_sessions
from dbctl.migrate.plan.words import listed, seconds_text
from dbctl.postgres.lock_modes import LockMode

# More names than anybody reads.
_MOST = 3


@asynccontextmanager
async def naming_holders(database: Database) -> AsyncIterator[None]:
    """Add to a Busy of the block who holds AccessExclusiveLock now, and on which tables."""
    try:
        yield
    except Busy as busy:
        if holders := await _holders(database):
            busy.why = f"{busy.why}; {holders}"
        raise


async def _holders(database: Database) -> str:
    """In words; empty where nobody does any more, or it can't be asked."""
    try:
        async with reading(database) as session:
            return in_words(await _sessions(session))
    except DbctlError:
        return ""


async def _sessions(session: AsyncSession) -> tuple[Session, ...]:
    return await read_sessions(session, {oid: name for name, oid in (await read_oids(session)).items()})


def in_words(sessions: Iterable[Session]) -> str:
    """Such as ``pid 41 (ada, psql, idle in transaction for 25 min) holds AccessExclusiveLock on public.a``."""
    said = []
    for one in sessions:
        tables = [lock.table for lock in one.holds if lock.mode is LockMode.ACCESS_EXCLUSIVE]
        if tables:
            said.append(f"{_who(one)} holds {LockMode.ACCESS_EXCLUSIVE} on {listed(tables[:_MOST])}")
    return "; ".join(said[:_MOST])


def _who(session: Session) -> str:
    age = f" for {seconds_text(session.age_seconds)}" if session.age_seconds is not None else ""
    known = (session.role, session.application, f"{session.state}{age}".strip())
    name = f"the prepared transaction {session.name}" if session.pid is None else f"pid {session.pid}"
    return f"{name} ({', '.join(filter(None, known))})"
