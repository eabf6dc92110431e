"""The incident: one line from what people notice to what it comes from, with the one command that ends it."""

from __future__ import annotations

from collections.abc import Iterable

from dbctl.health.look import Look
from dbctl.health.model import CheckResult, Status
from dbctl.health.registry import check
from dbctl.health.results import grade, ok
from dbctl.health.samples import Row
from dbctl.health.sessions import Chain, by_pid, chains, named, told
from dbctl.health.words import lasting, sized, some

_DEAD = """
SELECT coalesce(sum(pg_stat_get_dead_tuples(c.oid)), 0)::bigint AS dead
  FROM pg_class AS c WHERE c.relkind IN ('r', 'm')
"""
# On a standby there is nothing to retain, and the function for it raises an error.
_RETAINED = """
SELECT coalesce(max(pg_wal_lsn_diff(CASE WHEN pg_is_in_recovery() THEN restart_lsn ELSE pg_current_wal_lsn() END,
                                    restart_lsn)), 0)::bigint AS size_bytes,
       (array_agg(quote_ident(slot_name) ORDER BY restart_lsn))[1] AS slot
  FROM pg_replication_slots
"""
_MANY_DEAD = 10_000
_MUCH_WAL = 1 << 30


@check(
    profiles=("oncall", "deploy"),
    reads=("pg_locks", "pg_stat_activity", "pg_stat_get_dead_tuples()", "pg_replication_slots"),
    needs="pg_read_all_stats",
)
async def root_cause(look: Look) -> CheckResult:
    """The session at the root of what other checks find one by one: who it is, since when, and all that it causes.

    A session that blocks others is named before one that only pins old rows, as people wait for it.
    """
    limits, sessions = look.settings, by_pid(await look.activity())
    blocking = [one for one in await chains(look) if one.root in sessions]
    root = blocking[0] if blocking and blocking[0].seconds >= limits.locks.wait_warning else None
    row = sessions[root.root] if root else _pinning(sessions.values(), limits.transactions.idle_warning)
    if row is None:
        return ok("no session is at the root of anything")
    effects = [*_waiting(root), *await _pinned(look, row)]
    if not effects:
        return ok("no session is at the root of anything")
    state = f"{row['state']} for {lasting(row['state_seconds'] or 0)}"
    seconds = root.seconds if root else 0.0
    status = grade(seconds, warning=limits.locks.wait_warning, critical=limits.locks.wait_critical)
    return CheckResult(
        Status.WARNING if status is Status.OK else status,
        f"{named(row)}, {state} (last: {told(row)}): {'; '.join(effects)}",
        value=root.root if root else row["pid"],
        since=row["xact_start"],
        objects=(named(row),),
        fix=f"dbctl locks kill {row['pid']}",
    )


def _pinning(rows: Iterable[Row], seconds: float) -> Row | None:
    """The session that has been idle in a transaction the longest, if for so long."""
    idle = [
        row
        for row in rows
        if (row["state"] or "").startswith("idle in transaction") and (row["state_seconds"] or 0) >= seconds
    ]
    return max(idle, key=lambda row: row["xact_seconds"] or 0, default=None)


def _waiting(chain: Chain | None) -> list[str]:
    if chain is None:
        return []
    number = len(chain.waiting)
    return [
        f"{number} {'waits' if number == 1 else 'wait'} for {some(chain.objects)}, {lasting(chain.seconds)} by now"
    ]


async def _pinned(look: Look, row: Row) -> list[str]:
    """What its snapshot keeps: dead rows, and the log behind a slot."""
    if row["backend_xmin_age"] is None and row["backend_xid_age"] is None:
        return []
    dead = (await look.one(_DEAD))["dead"]
    effects = [f"VACUUM may not remove what died since, of {dead:,} dead rows"] if dead >= _MANY_DEAD else []
    retained = await look.one(_RETAINED)
    if retained["size_bytes"] >= _MUCH_WAL:
        effects.append(f"slot {retained['slot']} keeps {sized(retained['size_bytes'])} of WAL")
    return effects
