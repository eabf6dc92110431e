"""A standby as it sees itself: whether it receives, whether it replays, and whom its replay throws out."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress

from dbctl.database.conninfo import parse_conninfo
from dbctl.errors import SettingsError
from dbctl.health.look import Look
from dbctl.health.model import CheckResult, Findings, Item, Status
from dbctl.health.registry import check
from dbctl.health.results import critical, findings, grade, not_enough_data, ok, skipped, warning
from dbctl.health.samples import Moved, Row
from dbctl.health.streaming import receiver_limit
from dbctl.health.words import lasting, sized

# What the sender said last of its own end of the log counts too: the standby has yet to receive it.
_REPLAY = """
SELECT greatest(pg_wal_lsn_diff(greatest(pg_last_wal_receive_lsn(), r.latest_end_lsn), pg_last_wal_replay_lsn()), 0)::bigint
         AS behind_bytes,
       pg_wal_lsn_diff(greatest(pg_last_wal_receive_lsn(), r.latest_end_lsn), '0/0')::bigint AS received,
       pg_wal_lsn_diff(pg_last_wal_replay_lsn(), '0/0')::bigint AS replayed,
       pg_last_xact_replay_timestamp() AS replayed_at,
       extract(epoch FROM clock_timestamp() - pg_last_xact_replay_timestamp())::float8 AS age_seconds
  FROM (SELECT) AS one LEFT JOIN pg_stat_wal_receiver AS r ON true
"""
_REPLAYED = "SELECT pg_wal_lsn_diff(pg_last_wal_replay_lsn(), '0/0')::bigint AS replayed"
_PAUSED = "SELECT pg_is_wal_replay_paused() AS paused, pg_last_xact_replay_timestamp() AS replayed_at"
_RECEIVER = """
SELECT status, coalesce(sender_host, '') AS host, sender_port AS port, last_msg_receipt_time AS heard_at,
       extract(epoch FROM clock_timestamp() - last_msg_receipt_time)::float8 AS silent_seconds
  FROM pg_stat_wal_receiver
"""
_CONFLICTS = "SELECT quote_ident(c.datname) AS name, c.* FROM pg_stat_database_conflicts AS c"
# What each kind says of the primary, and what lets queries here live.
_KINDS = {
    "confl_snapshot": ("rows that VACUUM removed", "ALTER SYSTEM SET hot_standby_feedback = on"),
    "confl_lock": ("locks taken on the primary", "run its DDL when nobody reads here"),
    "confl_bufferpin": ("pages that a query held", "ALTER SYSTEM SET max_standby_streaming_delay = '5min'"),
    "confl_deadlock": ("deadlocks with the replay", "run the query again"),
    "confl_tablespace": ("a tablespace dropped", "run the query again"),
    "confl_active_logicalslot": ("logical slots that lost their log", "see `dbctl health lost_slots`"),
}
# As long as it takes a standby that keeps up to replay what had come.
_MOMENT_SECONDS = 0.25
_MILLI = 1000


@check(
    profiles=("oncall", "deploy"),
    reads=(
        "pg_last_wal_replay_lsn()",
        "pg_last_xact_replay_timestamp()",
        "pg_stat_wal_receiver.latest_end_lsn",
    ),
    where="standby",
    needs="pg_read_all_stats",
    delta=True,
)
async def replay_lag(look: Look) -> CheckResult:
    """How old what a query sees here is, and how much of the log that came is not replayed yet.

    On an idle primary the last transaction grows old without any lag: only a standby that has something left to replay,
    and has not replayed it a moment later, is late. What recovery_min_apply_delay asks for is no lag.
    """
    limits = look.settings.replication
    replay, moved = await look.one(_REPLAY), await look.change(_REPLAY, ())
    if replay["received"] is None:
        return skipped("it replays an archive: how far the primary is cannot be seen from here")
    behind, late = replay["behind_bytes"], replay["age_seconds"] or 0.0
    if behind and late >= limits.seconds_warning and await _keeps_up(look, replay):
        behind, late = 0, 0.0
    if not behind:
        return ok("all that came is replayed", 0, unit="s", warning=limits.seconds_warning)
    delay = int((await look.configured())["recovery_min_apply_delay"]["setting"]) / _MILLI
    late = max(late - delay, 0.0)
    by_bytes = grade(behind, warning=limits.bytes_warning, critical=limits.bytes_critical)
    status = max(
        Status.OK if delay else by_bytes,
        grade(late, warning=limits.seconds_warning, critical=limits.seconds_critical),
        key=lambda one: one.severity,
    )
    wait = _wait(await look.activity())
    asked = f", beside the {lasting(delay)} that recovery_min_apply_delay asks for" if delay else ""
    found = status is not Status.OK
    return CheckResult(
        status,
        f"{sized(behind)} are not replayed, what it shows is {lasting(late)} old{asked}{_trend(moved, behind)}{wait}",
        value=round(late, 1),
        unit="s",
        warning=limits.seconds_warning,
        critical=limits.seconds_critical,
        since=replay["replayed_at"] if found else None,
        fix="`dbctl health replay_paused` and `dbctl locks` say what holds it up" if found else "",
    )


@check(
    profiles=("oncall", "deploy"),
    reads=("pg_is_wal_replay_paused()", "pg_last_xact_replay_timestamp()"),
    where="standby",
)
async def replay_paused(look: Look) -> CheckResult:
    """Whether the replay is paused: queries see what was, the log piles up, and a promotion waits.

    Somebody paused it or, from 14 on, the server did, as a setting such as max_connections is smaller here than on the
    primary. Its log says which: then resuming shuts the standby down.
    """
    replay = await look.one(_PAUSED)
    if not replay["paused"]:
        return ok("the replay is not paused")
    return warning(
        "the replay is paused",
        since=replay["replayed_at"],
        fix="SELECT pg_wal_replay_resume()",
    )


@check(
    profiles=("oncall", "deploy"),
    reads=("pg_stat_wal_receiver", "primary_conninfo", "restore_command"),
    where="standby",
    needs="pg_monitor",
)
async def wal_receiver(look: Look) -> CheckResult:
    """Whether the standby is connected to whom it follows, and hears from it."""
    configured = await look.configured()
    primary, restores = (configured[name]["setting"] for name in ("primary_conninfo", "restore_command"))
    rows = await look.rows(_RECEIVER)
    if not rows and not primary:
        if restores:
            return skipped("it follows an archive (restore_command), no server")
        return critical(
            "it follows nobody: neither primary_conninfo nor restore_command is set", fix=_follow()
        )
    if not rows:
        where = _address(primary)
        fix = (
            f"see whether {where} answers and pg_hba.conf there lets it in; this server's log has the reason"
        )
        return critical(f"no WAL receiver runs: nothing comes from {where}", objects=(where,), fix=fix)
    receiver = rows[0]
    where = f"{receiver['host']}:{receiver['port']}"
    silent, limit = receiver["silent_seconds"] or 0.0, await receiver_limit(look)
    if receiver["status"] != "streaming":
        return warning(
            f"the WAL receiver of {where} is {receiver['status']}",
            objects=(where,),
            fix="read this server's log",
        )
    if limit is None or silent < limit:
        return ok(f"streams from {where}", round(silent, 1), unit="s", warning=limit)
    fix = f"see whether {where} hangs; wal_receiver_timeout ends such a connection"
    return warning(
        f"nothing was heard from {where} for {lasting(silent)}",
        round(silent, 1),
        unit="s",
        warning=limit,
        since=receiver["heard_at"],
        objects=(where,),
        fix=fix,
    )


@check(reads=("pg_stat_database_conflicts",), where="standby", delta=True)
async def standby_conflicts(look: Look) -> Findings | CheckResult:
    """Queries that the replay cancelled between two samples, and what each kind of conflict comes from."""
    moved = await look.change(_CONFLICTS, ("name",))
    if moved is None:
        return not_enough_data()
    counted = [(one, {kind: one.delta(kind) or 0 for kind in _KINDS}) for one in moved]
    items = [
        Item(
            str(one.now["name"]),
            Status.WARNING,
            ", ".join(f"{number:.0f} by {_KINDS[kind][0]}" for kind, number in kinds.items() if number),
            sum(kinds.values()),
            fix=_KINDS[max(kinds, key=lambda kind: kinds[kind])][1],
        )
        for one, kinds in counted
        if any(kinds.values())
    ]
    return findings(
        items,
        ("database whose queries the replay cancelled", "databases whose queries the replay cancelled"),
        otherwise=ok("the replay cancelled no query", 0),
    )


async def _keeps_up(look: Look, replay: Row) -> bool:
    """Whether what had come is replayed a moment later: the first transaction after a quiet hour is no hour late."""
    await asyncio.sleep(_MOMENT_SECONDS)
    return bool((await look.one(_REPLAYED))["replayed"] >= replay["received"])


def _trend(moved: list[Moved] | None, behind: int) -> str:
    if not moved:
        return ""
    rate = (behind - moved[0].before["behind_bytes"]) / moved[0].seconds
    if moved[0].now["replayed"] == moved[0].before["replayed"]:
        return "; nothing was replayed between the samples"
    return (
        f"; it catches up in {lasting(behind / -rate)}"
        if rate < 0
        else f"; it falls behind by {sized(rate)}/s"
    )


def _wait(activity: Sequence[Row]) -> str:
    """What the replay waits for, if it is for somebody's query here."""
    waits = [str(row["wait_event"]) for row in activity if row["kind"] == "startup" and row["wait_event"]]
    met = [one for one in waits if one.startswith("RecoveryConflict") or one in ("relation", "BufferPin")]
    return f"; the replay waits for a query ({met[0]})" if met else ""


def _address(conninfo: str) -> str:
    """Where a connection string leads, and nothing else of it: it may hold a password."""
    with suppress(SettingsError):
        return parse_conninfo(conninfo, environ={}).place
    return "the primary"


def _follow() -> str:
    return "ALTER SYSTEM SET primary_conninfo = 'host=… user=…'; SELECT pg_reload_conf()"
