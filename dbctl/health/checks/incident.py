"""The incident: one line from what people notice to what it comes from, with the one command that ends it."""

from __future__ import annotations

from collections.abc import Collection

from dbctl.health.look import Look
from dbctl.health.model import CheckResult, Status
from dbctl.health.registry import check
from dbctl.health.results import grade, ok, warning
from dbctl.health.retention import keeper, too_much
from dbctl.health.samples import Row
from dbctl.health.sessions import Chain, backups_at_work, by_pid, chains, named, told
from dbctl.health.words import lasting, sized, some

_DEAD = """
SELECT coalesce(sum(pg_stat_get_dead_tuples(c.oid)), 0)::bigint AS dead
  FROM pg_class AS c WHERE c.relkind IN ('r', 'm')
"""
_MANY_DEAD = 10_000


@check(
    profiles=("oncall", "deploy"),
    reads=("pg_locks", "pg_stat_activity", "pg_stat_get_dead_tuples()", "pg_replication_slots"),
    needs="pg_read_all_stats",
)
async def root_cause(look: Look) -> CheckResult:
    """The session at the root of what other checks find one by one: who it is, since when, and all that it causes.

    A session that blocks others is named before one that only pins old rows, as people wait for it; both before a slot
    that keeps the log, and old rows, for a standby or subscriber that is gone or late.
    """
    limits, sessions = look.settings, by_pid(await look.activity())
    blocking = [one for one in await chains(look) if one.root in sessions]
    root = blocking[0] if blocking and blocking[0].seconds >= limits.locks.wait_warning else None
    row = sessions[root.root] if root else _pinning(sessions.values(), limits.transactions.idle_warning)
    effects = [] if row is None else [*_waiting(root), *await _pinned(look, row)]
    if row is None or not effects:
        return await _keeping(look)
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


def _pinning(rows: Collection[Row], seconds: float) -> Row | None:
    """The session that has been idle in a transaction the longest, if for so long, and not for a backup's sake."""
    meant = backups_at_work(rows)
    idle = [
        row
        for row in rows
        if (row["state"] or "").startswith("idle in transaction")
        and (row["state_seconds"] or 0) >= seconds
        and row["pid"] not in meant
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
    """What its snapshot keeps: dead rows, and the log, which a logical slot needs from the oldest transaction on."""
    if row["backend_xmin_age"] is None and row["backend_xid_age"] is None:
        return []
    dead = (await look.one(_DEAD))["dead"]
    effects = [f"VACUUM may not remove what died since, of {dead:,} dead rows"] if dead >= _MANY_DEAD else []
    held = [one for one in await too_much(look) if one["active"] and one["slot_type"] == "logical"]
    return [*effects, *(f"slot {one['name']} keeps {sized(one['kept_bytes'])} of WAL" for one in held[:1])]


async def _keeping(look: Look) -> CheckResult:
    """The slot that keeps too much, and what else stays with it: on a standby or a primary without a session at fault."""
    held = await too_much(look)
    if not held:
        return ok("no session, and no slot, is at the root of anything")
    slot = keeper(held[0], look.now)
    effects, old = [f"{slot.name}, {slot.note}"], held[0]["transactions"] or 0
    if old >= look.settings.transactions.horizon_warning:
        dead = (await look.one(_DEAD))["dead"]
        effects.append(
            f"VACUUM may not remove what died in the last {old:,} transactions, of {dead:,} dead rows"
        )
    return warning("; ".join(effects), slot.size_bytes, since=slot.since, objects=(slot.name,), fix=slot.fix)
