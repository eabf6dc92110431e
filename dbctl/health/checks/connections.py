"""Connections: how many are taken, and whether our pool fits into what is left."""

from __future__ import annotations

from dbctl.health.facts import Facts
from dbctl.health.model import CheckResult, Status
from dbctl.health.registry import check


@check
def connections(facts: Facts) -> CheckResult:
    """Connections of all databases against the limit, reserved slots subtracted (pg_stat_database)."""
    share, settings = facts.backends / facts.usable, facts.settings
    status = Status.OK
    if share >= settings.connections_warning:
        status = Status.CRITICAL if share >= settings.connections_critical else Status.WARNING
    return CheckResult(
        "connections",
        status,
        f"{facts.backends} of {facts.usable} usable connections are taken ({share:.0%})",
        value=round(share, 4),
        threshold=settings.connections_warning,
        fix=""
        if status is Status.OK
        else "see who holds them in pg_stat_activity; lower pool.size or add a pooler",
    )


@check
def pool(facts: Facts) -> CheckResult:
    """Whether one process's full pool fits into the usable connections."""
    size = facts.pool.size + facts.pool.max_overflow
    fits = size <= facts.usable
    return CheckResult(
        "pool",
        Status.OK if fits else Status.CRITICAL,
        f"a process takes up to {size} connections ({facts.pool.size} + {facts.pool.max_overflow} overflow):"
        f" {facts.usable // size} processes fit",
        value=size,
        threshold=facts.usable,
        fix="" if fits else "lower pool.size and pool.max_overflow",
    )
