"""The server itself: how fast it answers, over what, which version, in which role."""

from __future__ import annotations

from dbctl.health.look import Look
from dbctl.health.model import CheckResult
from dbctl.health.registry import check
from dbctl.health.results import critical, judged, ok, warning

# The first version that still gets fixes, on the day this was written (PostgreSQL's versioning policy).
_OLDEST_SUPPORTED = 14
_MAJOR = 10000
_OURSELVES = """
SELECT (SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()) AS tls,
       (SELECT client_addr IS NULL FROM pg_stat_activity WHERE pid = pg_backend_pid()) AS socket
"""


@check(profiles=("probe", "oncall", "deploy"), reads=("pg_is_in_recovery()",))
async def reachable(look: Look) -> CheckResult:
    """Whether the server lets us in and answers: a statement's round trip, on a connection that stands.

    A server that accepts connections and answers slowly is a server whose application is slow as well.
    """
    seconds = look.round_trip_seconds
    return judged(
        round(seconds, 6),
        f"a question took {seconds * 1000:.1f} ms",
        unit="s",
        warning=look.settings.latency_warning,
        fix="look at the network and the server's load",
    )


@check(reads=("pg_stat_ssl.ssl", "pg_stat_activity.client_addr"))
async def tls(look: Look) -> CheckResult:
    """Whether our own connection is encrypted."""
    us = await look.one(_OURSELVES)
    if us["socket"]:
        return ok("a Unix socket: nothing leaves the machine", "socket")
    if us["tls"]:
        return ok("the connection is encrypted", "on")
    fix = "set ssl = on in the server, sslmode = verify-full in [database]"
    return warning("the connection is not encrypted", "off", fix=fix)


@check(reads=("server_version_num",))
async def version(look: Look) -> CheckResult:
    """The server's version: whether it still gets fixes."""
    old = look.version // _MAJOR < _OLDEST_SUPPORTED
    say = warning if old else ok
    return say(
        f"PostgreSQL {look.server.version}" + (" gets no fixes any more" if old else ""),
        look.server.version,
        warning=str(_OLDEST_SUPPORTED),
        fix="plan an upgrade to a supported major version" if old else "",
    )


@check(profiles=("probe", "oncall", "deploy"), reads=("pg_is_in_recovery()", "default_transaction_read_only"))
async def role(look: Look) -> CheckResult:
    """Whether the server takes writes: a failover, or a setting, can take that away from an application."""
    if look.server.standby:
        fix = "point database.url at the primary, if writes are meant"
        return warning("a standby: it takes no writes", "standby", fix=fix)
    if look.server.read_only:
        fix = "ALTER DATABASE … or ALTER ROLE … RESET default_transaction_read_only, whichever set it"
        return critical("the primary, but read-only", "read-only", fix=fix)
    return ok("the primary, it takes writes", "primary")
