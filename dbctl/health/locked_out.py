"""Who keeps everybody out, as seen from where somebody still gets in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from dbctl.health.look import Look
from dbctl.health.samples import Row
from dbctl.health.sessions import PREPARED, by_pid, chains, holders, named, told
from dbctl.health.words import lasting

# The system's own tables have the same numbers in every database, so that their names can be told from any.
_CATALOG_LOCKS = """
SELECT l.pid, l.granted, l.relation::regclass::text AS name
  FROM pg_locks AS l JOIN pg_database AS d ON d.oid = l.database
 WHERE d.datname = :database AND l.relation < 16384 AND l.mode = 'AccessExclusiveLock' AND l.pid IS NOT NULL
 ORDER BY l.granted DESC, l.pid
"""


@dataclass(frozen=True, slots=True)
class Holder:
    """The session at the root of it, in words, and the command that ends it; both empty where none is to be seen."""

    message: str = ""
    fix: str = ""


async def who_holds_slots(look: Look) -> Holder:
    """The roles and applications with the most connections."""
    return Holder(f"held by {holders(await look.activity())}")


async def who_holds_catalog(look: Look, database: str) -> Holder:
    """The session that has locked a system table of ``database``, or for which the one that asks for it waits.

    A new session reads these tables before it is let in.
    """
    locks = await look.rows(_CATALOG_LOCKS, database=database)
    roots = await _roots(look, locks)
    if not roots:
        return Holder()
    table, root = f"{locks[0]['name']} of database {database}", roots[0]
    row = by_pid(await look.activity()).get(root)
    if row is None:
        who = "a prepared transaction (see pg_prepared_xacts)" if root == PREPARED else f"pid {root}"
        return Holder(f"{table} is locked by {who}", f"dbctl locks kill {root}" if root != PREPARED else "")
    state = f"{row['state']} for {lasting(row['state_seconds'] or 0)}" if row["state"] else "not visible"
    return Holder(
        f"{table} is locked by {named(row)}, {state}, last: {told(row)}", f"dbctl locks kill {root}"
    )


async def _roots(look: Look, locks: Sequence[Row]) -> list[int]:
    held = [row["pid"] for row in locks if row["granted"]]
    waiting = {row["pid"] for row in locks}
    queued = [chain.root for chain in await chains(look) if waiting & set(chain.waiting)]
    # Who has the lock may itself wait for somebody, who is the one to end then.
    return queued or held
