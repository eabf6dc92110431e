"""The server itself: how fast it answers, over what, which version, in which role."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import date, timedelta

from dbctl.health.look import Look
from dbctl.health.model import CheckResult
from dbctl.health.registry import check
from dbctl.health.results import critical, judged, ok, skipped, unknown, warning
from dbctl.health.words import lasting

# The day of each major version's last release (postgresql.org/support/versioning).
_LAST_FIXES = {
    13: date(2025, 11, 13),
    14: date(2026, 11, 12),
    15: date(2027, 11, 11),
    16: date(2028, 11, 9),
    17: date(2029, 11, 8),
    18: date(2030, 11, 14),
}
_MAJOR = 10000
_THURSDAY = 3
# The newest minor release of each major version on a day. Every branch that is alive has had one since on the second
# Thursday of each of these months, and more out of turn: so there are at least as many as have gone by.
_NEWEST_ON = date(2026, 11, 12)
_ONE_BEFORE = date(2026, 8, 13)
_NEWEST = {13: 23, 14: 25, 15: 20, 16: 16, 17: 12, 18: 6}
_RELEASE_MONTHS = (2, 5, 8, 11)
# After a crash the postmaster, which lives on, starts its helpers anew.
_CRASHED_SECONDS = 5
_HELPERS = """
SELECT extract(epoch FROM backend_start - pg_postmaster_start_time())::float8 AS later, backend_start AS at,
       extract(epoch FROM clock_timestamp() - backend_start)::float8 AS ago
  FROM pg_stat_activity WHERE backend_type = 'checkpointer'
"""
_OURSELVES = """
SELECT (SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()) AS tls,
       (SELECT client_addr IS NULL FROM pg_stat_activity WHERE pid = pg_backend_pid()) AS socket
"""


# `dbctl health grants` makes its role read-only: of what others may do that says nothing.
_MEANT = """
SELECT s.source = 'user' AND NOT r.rolsuper AND pg_has_role('pg_monitor', 'MEMBER') AS meant
  FROM pg_settings AS s, pg_roles AS r
 WHERE s.name = 'default_transaction_read_only' AND r.rolname = current_user
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
    """The server's version: whether it still gets fixes, by the policy as it was when dbctl was made."""
    major = look.version // _MAJOR
    last = _LAST_FIXES.get(major, date.max if major > max(_LAST_FIXES) else date.min)
    name = f"PostgreSQL {look.server.version}"
    if look.now.date() <= last:
        return ok(name, look.server.version)
    fix = "plan an upgrade to a supported major version"
    return warning(f"{name} gets no fixes any more, since {last}", look.server.version, fix=fix)


@check(profiles=(), reads=("server_version_num",))
async def minor_version(look: Look) -> CheckResult:
    """Whether fixes have been out for a while that this server lacks: a minor release mends what loses data or lets in.

    By PostgreSQL's own schedule, so that what dbctl knew when it was made grows no older; never too high a number.
    """
    major, minor = divmod(look.version, _MAJOR)
    grace = timedelta(seconds=look.settings.server.minor_seconds)
    newest = newest_minor(major, look.now.date() - grace)
    name = f"PostgreSQL {look.server.version}"
    if newest is None:
        return skipped(f"{name} is newer than what dbctl knows of")
    if minor >= newest:
        return ok(f"{name} has the fixes that are older than {lasting(grace.total_seconds())}", minor)
    fix = f"install {major}.{newest} or newer and restart: no dump, no upgrade of data"
    return warning(f"{name} lacks the fixes of {major}.{newest}", minor, warning=newest, fix=fix)


def newest_minor(major: int, day: date) -> int | None:
    """The least that the newest minor release of a major version was on a day; None of one that is not known."""
    if major not in _NEWEST:
        return None
    if day < _NEWEST_ON:
        # Of those before, only the last scheduled one is known by its day.
        return _NEWEST[major] - 1 if day >= _ONE_BEFORE else 0
    years = range(_NEWEST_ON.year, day.year + 1)
    until = min(day, _LAST_FIXES[major])
    return _NEWEST[major] + sum(_NEWEST_ON < one <= until for year in years for one in _releases(year))


def _releases(year: int) -> Iterator[date]:
    """The days of its scheduled minor releases."""
    for month in _RELEASE_MONTHS:
        # The second Thursday is the one from the 8th to the 14th.
        week = (date(year, month, number) for number in range(8, 15))
        yield next(day for day in week if day.weekday() == _THURSDAY)


@check(reads=("pg_stat_activity.backend_start", "pg_postmaster_start_time()"), needs="pg_read_all_stats")
async def crashes(look: Look) -> CheckResult:
    """Whether a process of the server died within a day, so that it threw out everybody and recovered."""
    rows = await look.rows(_HELPERS)
    if not rows:
        return unknown("no checkpointer is to be seen")
    helper = rows[0]
    if helper["later"] < _CRASHED_SECONDS or helper["ago"] > look.settings.server.crash_seconds:
        return ok("no crash since it started" if helper["later"] < _CRASHED_SECONDS else "no crash lately")
    message = (
        f"a process of the server died {lasting(helper['ago'])} ago: it threw out everybody, and recovered"
    )
    fix = "look in the server's log for `terminated by signal`, in the system's for the out-of-memory killer"
    return warning(message, round(helper["ago"]), unit="s", since=helper["at"], fix=fix)


@check(reads=("clock_timestamp()",))
async def clock(look: Look) -> CheckResult:
    """How far the server's clock is from ours: tokens, caches and `since` are wrong by as much."""
    before = time.time()
    there = (await look.one("SELECT extract(epoch FROM clock_timestamp())::float8 AS seconds"))["seconds"]
    after = time.time()
    # It read its clock at some moment in between.
    apart = max(0.0, there - after, before - there)
    limits = look.settings.server
    return judged(
        round(apart, 3),
        f"the server's clock is {lasting(apart)} from ours" if apart else "the clocks agree",
        unit="s",
        warning=limits.clock_warning,
        critical=limits.clock_critical,
        fix="start NTP on whichever is wrong",
    )


# `dbctl health grants` makes its role read-only: of what others may do that says nothing.
_MEANT = """
SELECT s.source = 'user' AND NOT r.rolsuper AND pg_has_role('pg_monitor', 'MEMBER') AS meant
  FROM pg_settings AS s, pg_roles AS r
 WHERE s.name = 'default_transaction_read_only' AND r.rolname = current_user
"""


@check(profiles=("probe", "oncall", "deploy"), reads=("pg_is_in_recovery()", "default_transaction_read_only"))
async def role(look: Look) -> CheckResult:
    """Whether the server takes writes: a failover, or a setting, can take that away from an application."""
    if look.server.standby and look.settings.server.expect == "standby":
        return ok("a standby, as is expected", "standby")
    if look.server.standby:
        fix = 'point database.url at the primary, if writes are meant; else health.server.expect = "standby"'
        return warning("a standby: it takes no writes", "standby", fix=fix)
    if look.server.read_only and not (await look.one(_MEANT))["meant"]:
        fix = "ALTER DATABASE … or ALTER ROLE … RESET default_transaction_read_only, whichever set it"
        return critical("the primary, but read-only", "read-only", fix=fix)
    if look.settings.server.expect == "standby":
        return warning("the primary, and a standby is expected", "primary", fix="was there a failover?")
    return ok("the primary, it takes writes", "primary")
