"""Connections: how many are taken, and whether our pool fits into what is left."""

from __future__ import annotations

from dbctl.health.look import Look
from dbctl.health.model import CheckResult
from dbctl.health.registry import check
from dbctl.health.results import critical, judged, ok

# Every login role may read it: of others' sessions pg_stat_activity hides the type from roles without
# pg_read_all_stats, while numbackends counts everybody.
_SLOTS = """
SELECT (SELECT sum(numbackends) FROM pg_stat_database)::int AS backends,
       current_setting('max_connections')::int
         - current_setting('superuser_reserved_connections')::int
         - coalesce(current_setting('reserved_connections', true), '0')::int AS usable
"""


@check(profiles=("oncall", "deploy"), reads=("pg_stat_database.numbackends", "max_connections"))
async def connections(look: Look) -> CheckResult:
    """Connections of all databases against the limit, less the slots that are reserved for superusers and the like.

    Once they are gone, nobody gets in: neither the application nor who would see to it.
    """
    slots, settings = await look.one(_SLOTS), look.settings
    share = slots["backends"] / slots["usable"]
    return judged(
        round(share, 4),
        f"{slots['backends']} of {slots['usable']} usable connections are taken ({share:.0%})",
        warning=settings.connections_warning,
        critical=settings.connections_critical,
        fix="see who holds them in pg_stat_activity; lower pool.size or add a pooler",
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
