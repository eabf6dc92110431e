"""Connections: how many are taken, and whether our pool fits into what is left."""

from __future__ import annotations

from dbctl.health.look import Look
from dbctl.health.model import CheckResult, Findings, Item, Status
from dbctl.health.registry import check
from dbctl.health.results import critical, findings, judged, not_enough_data, ok, skipped
from dbctl.health.sessions import holders

# Every login role may read it: of others' sessions pg_stat_activity hides the type from roles without
# pg_read_all_stats, while numbackends counts everybody.
_SLOTS = """
SELECT (SELECT sum(numbackends) FROM pg_stat_database)::int AS backends,
       current_setting('max_connections')::int
         - current_setting('superuser_reserved_connections')::int
         - coalesce(current_setting('reserved_connections', true), '0')::int AS usable
"""
_LIMITS = """
SELECT 'role ' || quote_ident(r.rolname) AS name, r.rolconnlimit AS most, count(a.pid)::int AS taken,
       'ALTER ROLE ' || quote_ident(r.rolname) AS alter
  FROM pg_roles AS r LEFT JOIN pg_stat_activity AS a ON a.usesysid = r.oid
 WHERE r.rolconnlimit > 0 AND NOT r.rolsuper GROUP BY r.oid, r.rolname, r.rolconnlimit
UNION ALL
SELECT 'database ' || quote_ident(d.datname), d.datconnlimit, s.numbackends, 'ALTER DATABASE ' || quote_ident(d.datname)
  FROM pg_database AS d JOIN pg_stat_database AS s ON s.datid = d.oid
 WHERE d.datconnlimit > 0
"""
_SESSIONS = """
SELECT quote_ident(datname) AS name, sessions, sessions_abandoned + sessions_fatal + sessions_killed AS broken
  FROM pg_stat_database WHERE datname IS NOT NULL
"""
_SESSIONS_SINCE = 140000
_FEW_A_MINUTE = 1.0


@check(profiles=("oncall", "deploy"), reads=("pg_stat_database.numbackends", "max_connections"))
async def connections(look: Look) -> CheckResult:
    """Connections of all databases against the limit, less the slots that are reserved for superusers and the like.

    Once they are gone, nobody gets in: neither the application nor who would see to it.
    """
    slots, settings = await look.one(_SLOTS), look.settings
    share = slots["backends"] / slots["usable"]
    taken = f"{slots['backends']} of {slots['usable']} usable connections are taken ({share:.0%})"
    if share >= settings.connections_warning:
        taken += f", most by {holders(await look.activity())}"
    return judged(
        round(share, 4),
        taken,
        warning=settings.connections_warning,
        critical=settings.connections_critical,
        fix="`dbctl pool` tells whether they leak or are too few; lower pool.size or add a pooler",
    )


@check(profiles=("oncall", "deploy"), reads=("pool.size", "pool.max_overflow", "max_connections"))
async def pool(look: Look) -> CheckResult:
    """Whether one process's full pool fits into the usable connections."""
    size, usable = look.pool.size + look.pool.max_overflow, (await look.one(_SLOTS))["usable"]
    message = (
        f"a process takes up to {size} connections ({look.pool.size} + {look.pool.max_overflow} overflow):"
        f" {usable // size} processes fit"
    )
    if size <= usable:
        return ok(message, size, critical=usable)
    return critical(message, size, critical=usable, fix="lower pool.size and pool.max_overflow")


@check(reads=("pg_roles.rolconnlimit", "pg_database.datconnlimit", "pg_stat_activity.usesysid"))
async def connection_limits(look: Look) -> CheckResult | Findings:
    """Roles and databases that are near a CONNECTION LIMIT of their own, which the server's own hides."""
    limit, rows = look.settings.server.limit_warning, await look.rows(_LIMITS)
    if not rows:
        return skipped("no role and no database has a CONNECTION LIMIT")
    items = [
        Item(
            row["name"],
            Status.CRITICAL if row["taken"] >= row["most"] else Status.WARNING,
            f"{row['taken']} of {row['most']}",
            row["taken"],
            fix=f"{row['alter']} CONNECTION LIMIT {row['most'] * 2}",
        )
        for row in rows
        if row["taken"] >= limit * row["most"]
    ]
    return findings(
        items,
        ("connection limit is nearly reached", "connection limits are nearly reached"),
        otherwise=ok("no connection limit of a role or database is near"),
    )


@check(reads=("pg_stat_database.sessions_fatal",), since=_SESSIONS_SINCE, delta=True)
async def broken_sessions(look: Look) -> CheckResult:
    """Sessions that ended between two samples as the client vanished, an error was fatal, or somebody ended them."""
    moved = await look.change(_SESSIONS, ("name",))
    if moved is None:
        return not_enough_data()
    rates = {one.now["name"]: (one.rate("broken") or 0) * 60 for one in moved}
    total = sum(rates.values())
    return judged(
        round(total, 2),
        f"{total:.1f} sessions a minute broke off" if total else "no session broke off",
        unit="/min",
        warning=_FEW_A_MINUTE,
        objects=tuple(name for name, rate in rates.items() if rate),
        fix="the server's log says why: a client that is killed, a network that cuts idle connections",
    )
