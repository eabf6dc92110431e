"""The server itself: how fast it answers, over what, which version, in which role."""

from __future__ import annotations

from dbctl.health.facts import Facts
from dbctl.health.model import CheckResult, Status
from dbctl.health.registry import check

# The first version that still gets fixes, on the day this was written (PostgreSQL's versioning policy).
_OLDEST_SUPPORTED = 14


@check
def reachable(facts: Facts) -> CheckResult:
    """A statement's round trip, on a connection that stands."""
    seconds, limit = facts.round_trip_seconds, facts.settings.latency_warning
    slow = seconds > limit
    return CheckResult(
        "reachable",
        Status.WARNING if slow else Status.OK,
        f"SELECT 1 took {seconds * 1000:.1f} ms",
        value=round(seconds, 6),
        threshold=limit,
        fix="look at the network and the server's load" if slow else "",
    )


@check
def tls(facts: Facts) -> CheckResult:
    """Whether our own connection is encrypted (pg_stat_ssl)."""
    if facts.socket:
        return CheckResult("tls", Status.OK, "a Unix socket: nothing leaves the machine", value="socket")
    if facts.tls:
        return CheckResult("tls", Status.OK, "the connection is encrypted", value="on")
    fix = "set ssl = on in the server, sslmode = verify-full in [database]"
    return CheckResult("tls", Status.WARNING, "the connection is not encrypted", value="off", fix=fix)


@check
def version(facts: Facts) -> CheckResult:
    """The server's version (server_version_num)."""
    old = facts.version_number // 10000 < _OLDEST_SUPPORTED
    return CheckResult(
        "version",
        Status.WARNING if old else Status.OK,
        f"PostgreSQL {facts.version}" + (" gets no fixes any more" if old else ""),
        value=facts.version,
        threshold=str(_OLDEST_SUPPORTED),
        fix="plan an upgrade to a supported major version" if old else "",
    )


@check
def role(facts: Facts) -> CheckResult:
    """Whether the server takes writes (pg_is_in_recovery, transaction_read_only)."""
    if facts.standby:
        fix = "point database.url at the primary, if writes are meant"
        return CheckResult("role", Status.WARNING, "a standby: it takes no writes", value="standby", fix=fix)
    if facts.read_only:
        fix = "ALTER DATABASE … or ALTER ROLE … RESET default_transaction_read_only, whichever set it"
        return CheckResult("role", Status.CRITICAL, "the primary, but read-only", value="read-only", fix=fix)
    return CheckResult("role", Status.OK, "the primary, it takes writes", value="primary")
