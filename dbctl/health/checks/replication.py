"""Replication as who sends sees it, a primary or a standby with standbys of its own: how far behind, and who is gone."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from dbctl.health.look import Look
from dbctl.health.model import CheckResult, Findings, Item, Status
from dbctl.health.registry import check
from dbctl.health.results import critical, findings, grade, ok, skipped, warning
from dbctl.health.samples import Row
from dbctl.health.sessions import since
from dbctl.health.streaming import HERE, sender_limit
from dbctl.health.words import counted, lasting, sized, some

# Base backups, and the first copy of a subscriber's table, come and go: they are no standbys. What is behind is
# measured to the last stage that the other side tells of (pg_receivewal replays nothing).
_SENDERS = f"""
SELECT r.pid, r.application_name AS application, coalesce(host(r.client_addr), '') AS address, r.state, r.sync_state,
       s.slot_type, quote_ident(s.slot_name) AS slot, coalesce(s.slot_type = 'logical', false) AS logical,
       extract(epoch FROM r.replay_lag)::float8 AS replay_seconds,
       extract(epoch FROM clock_timestamp() - r.reply_time)::float8 AS silent_seconds,
       greatest(pg_wal_lsn_diff(here.lsn, r.sent_lsn), 0)::bigint AS unsent_bytes,
       greatest(pg_wal_lsn_diff(here.lsn, coalesce(r.replay_lsn, r.flush_lsn, r.write_lsn, r.sent_lsn)), 0)::bigint
         AS behind_bytes
  FROM (SELECT {HERE} AS lsn) AS here CROSS JOIN pg_stat_replication AS r
       LEFT JOIN pg_replication_slots AS s ON s.active_pid = r.pid
 WHERE r.state NOT IN ('startup', 'backup') AND r.application_name <> 'pg_basebackup'
   AND r.application_name !~ '^pg_[0-9]+_sync_[0-9]+_'
 ORDER BY r.application_name, r.pid
"""  # noqa: S608 - a constant of ours
_ROOM = """
SELECT current_setting('max_wal_senders')::int AS senders, current_setting('max_replication_slots')::int AS slots,
       (SELECT count(*) FROM pg_stat_get_wal_senders())::int AS senders_used,
       (SELECT count(*) FROM pg_replication_slots)::int AS slots_used
"""
_KEY = ("application", "address")
_NO_WAIT = ("off", "local")


@check(
    profiles=("oncall", "deploy"),
    reads=("pg_stat_replication", "pg_replication_slots.active_pid"),
    needs="pg_read_all_stats",
    delta=True,
)
async def standby_lag(look: Look) -> Findings | CheckResult:
    """How much of the log each standby and subscriber has not replayed, and how long what it replays took to get there.

    Bytes tell of a standby that stands still; PostgreSQL's own replay_lag stays as it was then, so that seconds alone
    would miss it, and one that hangs sends no reply. Seconds without bytes are no lag: nothing was written. With an earlier sample, whether it catches up.
    """
    limits, rows = look.settings.replication, await look.rows(_SENDERS)
    if not rows:
        return skipped("nobody streams from this server")
    before = {one.now["pid"]: one for one in await look.change(_SENDERS, ("pid",)) or ()}
    quiet, items = await sender_limit(look), []
    for row in rows:
        behind, late = row["behind_bytes"], (row["replay_seconds"] or 0) if row["behind_bytes"] else 0
        silent = row["silent_seconds"] or 0.0
        status = max(
            grade(behind, warning=limits.bytes_warning, critical=limits.bytes_critical),
            grade(late, warning=limits.seconds_warning, critical=limits.seconds_critical),
            grade(silent, warning=quiet),
            key=lambda one: one.severity,
        )
        earlier = before.get(row["pid"])
        trend = _trend(earlier.before["behind_bytes"], behind, earlier.seconds) if earlier else ""
        time = f", {lasting(late)}" if late else ""
        hushed = f", no word from it for {lasting(silent)}" if silent >= quiet else ""
        note = f"{sized(behind)} behind{time}, {row['state']}{trend}{hushed}"
        items.append(Item(_name(row), status, note, behind, fix=_helping(row)))
    return findings(
        items,
        ("standby or subscriber is behind or silent", "standbys or subscribers are behind or silent"),
        otherwise=ok(
            f"{counted(len(rows), ('follower', 'followers'))}, none far behind", _most(rows), unit="bytes"
        ),
        unit="bytes",
        warning=limits.bytes_warning,
        critical=limits.bytes_critical,
    )


@check(
    profiles=("oncall", "deploy"),
    reads=("pg_stat_replication", "health.replication.standbys"),
    needs="pg_read_all_stats",
    delta=True,
)
async def missing_standbys(look: Look) -> Findings | CheckResult:
    """Standbys and subscribers that streamed in an earlier sample and stream no more, and whether there are as many
    as the settings expect: a primary without them is one failure away from a long outage.

    Who is gone is remembered by --state and --watch, for as long as health.replication.missing_seconds.
    """
    limits, rows = look.settings.replication, await look.rows(_SENDERS)
    streaming = [row for row in rows if not row["logical"]]
    gone = await look.missing(_SENDERS, _KEY, limits.missing_seconds)
    items = [
        Item(
            _name(row),
            Status.WARNING,
            f"seen last {lasting(look.now.timestamp() - row['seen'])} ago",
            since=datetime.fromtimestamp(row["seen"], UTC),
            fix=f"see whether {_name(row)} runs: there, `dbctl health standby` says why nothing streams",
        )
        for row in gone
    ]
    if limits.standbys is not None and len(streaming) < limits.standbys:
        status = Status.WARNING if streaming else Status.CRITICAL
        note = f"{len(streaming)} of {limits.standbys} expected"
        fix = "see which standby is down: there, `dbctl health standby` says why nothing streams"
        items.append(Item("standbys", status, note, len(streaming), fix=fix))
    if not items and not rows and limits.standbys is None:
        return skipped("nobody streams from this server, and health.replication.standbys expects nobody")
    names = some([_name(row) for row in rows])
    return findings(
        items,
        ("standby is missing", "standbys are missing"),
        otherwise=ok(f"there are {names}", len(streaming)),
    )


@check(
    profiles=("oncall", "deploy"),
    reads=("synchronous_standby_names", "pg_stat_replication.sync_state", "pg_stat_activity.wait_event"),
    where="primary",
    needs="pg_read_all_stats",
)
async def synchronous_standbys(look: Look) -> CheckResult:
    """Whether there are as many synchronous standbys as each commit waits for: with fewer, commits hang."""
    configured = await look.configured()
    names = configured["synchronous_standby_names"]["setting"]
    if not names:
        return skipped("no commit waits for a standby (synchronous_standby_names is empty)")
    waiting = [row for row in await look.activity() if row["wait_event"] == "SyncRep"]
    rows = [row for row in await look.rows(_SENDERS) if row["sync_state"] in ("sync", "quorum")]
    there, wanted = [row for row in rows if row["state"] == "streaming"], _wanted(names)
    if len(there) >= wanted:
        return ok(f"commits wait for {wanted} of {some([_name(row) for row in there])}", len(there))
    level = configured["synchronous_commit"]["setting"]
    if level in _NO_WAIT and not waiting:
        return skipped(f"no commit waits for a standby (synchronous_commit is {level})")
    hanging = f", {counted(len(waiting), ('session hangs', 'sessions hang'))} in COMMIT" if waiting else ""
    return critical(
        f"commits wait for {counted(wanted, ('standby', 'standbys'))} of {names}, {len(there)} there{hanging}",
        len(there),
        critical=wanted,
        since=min((since(row) for row in waiting), default=None),
        objects=(names,),
        fix=f"start a standby called one of {names}; else, to let commits go on without: "
        "ALTER SYSTEM SET synchronous_standby_names = ''; SELECT pg_reload_conf()",
    )


@check(reads=("max_wal_senders", "max_replication_slots", "pg_stat_replication"))
async def replication_room(look: Look) -> CheckResult:
    """Whether another standby, subscriber or base backup would still find a sender and a slot."""
    room = await look.one(_ROOM)
    full = [
        f"{name} = {room[most]}"
        for name, most in (("max_wal_senders", "senders"), ("max_replication_slots", "slots"))
        if room[f"{most}_used"] >= room[most] > 0
    ]
    used = (
        f"{room['senders_used']} of {room['senders']} senders, {room['slots_used']} of {room['slots']} slots"
    )
    if not full:
        return ok(f"{used} are in use", room["senders_used"])
    fix = "drop a slot that nobody needs (`dbctl health slots`), or raise the setting, which wants a restart"
    return warning(
        f"all are in use of {' and '.join(full)}: nobody else can follow", objects=tuple(full), fix=fix
    )


def _name(row: Row) -> str:
    return f"{row['application']} at {row['address']}" if row["address"] else str(row["application"])


def _most(rows: Sequence[Row]) -> int:
    return max(int(row["behind_bytes"]) for row in rows)


def _trend(before: float, now: float, seconds: float) -> str:
    rate = (now - before) / seconds
    if now and not rate:
        return ", and stays so"
    if rate > 0:
        return f", and falls behind by {sized(rate)}/s"
    return f", catches up in {lasting(now / -rate)}" if now else ""


def _helping(row: Row) -> str:
    name = _name(row)
    if row["unsent_bytes"] * 2 > row["behind_bytes"]:
        return f"most of it is not sent: see whether {name} still reads, and the network to it"
    if row["logical"]:
        return f"on subscriber {name}: `dbctl health subscriptions` says whether it applies, and its log what fails"
    return f"on {name}: `dbctl health standby` says whether the replay is paused, or waits for a query"


def _wanted(names: str) -> int:
    """How many standbys a commit waits for, by synchronous_standby_names: ``FIRST 2 (a, b)``, ``ANY 1 (a)``, ``a, b``."""
    head = names.partition("(")[0].split() if "(" in names else []
    return int(head[-1]) if head and head[-1].isdigit() else 1
