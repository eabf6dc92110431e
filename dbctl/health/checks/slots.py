"""Replication slots: who is at them, how much of the log they keep, and how long that goes well.

A slot keeps the log until its standby or subscriber has it, for ever if need be: until the disk is full or, with
max_slot_wal_keep_size, until the slot is lost and its follower must be made anew.
"""

from __future__ import annotations

from collections.abc import Sequence

from dbctl.health.look import Look
from dbctl.health.model import CheckResult, Findings, Item, Status
from dbctl.health.registry import check
from dbctl.health.results import findings, grade, ok, skipped
from dbctl.health.retention import SLOTS, limit_bytes, releasing, slots, used_by
from dbctl.health.samples import Row
from dbctl.health.words import counted, lasting, sized

_REASONS = {
    "wal_removed": "the log that it needs is gone",
    "rows_removed": "rows of the catalogs that it needs are gone",
    "wal_level_insufficient": "wal_level was lowered",
    "idle_timeout": "nobody used it for idle_replication_slot_timeout",
}
_KIND = ("slot", "slots")
# Of its limit; below, a forecast is guesswork.
_LEAST_SHARE = 0.1
_UNREADY = """
SELECT quote_ident(s.slot_name) AS name FROM pg_replication_slots AS s
 WHERE s.temporary AND (to_jsonb(s) ->> 'synced')::bool
 ORDER BY 1
"""
_WORKER = "slotsync worker"


@check(
    profiles=("oncall", "deploy"),
    reads=("pg_replication_slots.active", "pg_replication_slots.inactive_since"),
)
async def inactive_slots(look: Look) -> Findings | CheckResult:
    """Slots that nobody uses: each keeps the log, and old rows with it, for a follower that may never come back.

    17 tells since when; before, one is found at once. A slot that never reserved any log keeps nothing.
    """
    found = await slots(look)
    if not found:
        return skipped("there are no replication slots")
    limit = look.settings.slots.inactive_warning
    items = [
        Item(
            row["name"],
            Status.WARNING,
            f"{row['slot_type']}, {used_by(row, look.now)}, keeps {sized(row['kept_bytes'])}",
            _unused_seconds(look, row),
            row["inactive_since"],
            releasing(row),
        )
        for row in found
        # A slot that is synchronized from the primary is used by nobody here until a failover.
        if not (row["active"] or row["synced"] or _lost(row)) and row["keeps"]
        if row["inactive_since"] is None or (_unused_seconds(look, row) or 0) >= limit
    ]
    return findings(
        items,
        ("slot is used by nobody", "slots are used by nobody"),
        otherwise=ok(f"no slot of {len(found)} is left alone"),
        unit="s",
        warning=limit,
    )


@check(
    profiles=("oncall", "deploy"),
    reads=(
        "pg_replication_slots.restart_lsn",
        "pg_replication_slots.safe_wal_size",
        "max_slot_wal_keep_size",
    ),
    delta=True,
)
async def slot_wal(look: Look) -> Findings | CheckResult:
    """How much of the log each slot keeps, against what it may keep, and when it is lost or the disk full.

    What it may keep is max_slot_wal_keep_size, or health.wal.disk, as SQL cannot see a disk. The forecast takes two
    samples.
    """
    found, limit = await slots(look), await limit_bytes(look)
    if not found:
        return skipped("there are no replication slots")
    rates = {
        one.now["slot_name"]: (one.now["kept_bytes"] - one.before["kept_bytes"]) / one.seconds
        for one in await look.change(SLOTS, ("slot_name",)) or ()
        if one.now["kept_bytes"] is not None and one.before["kept_bytes"] is not None
    }
    items = [
        _kept(row, limit, rates.get(row["slot_name"], 0.0), look)
        for row in found
        if row["keeps"] and not _lost(row)
    ]
    most = max((int(row["kept_bytes"] or 0) for row in found), default=0)
    limits = look.settings.slots
    return findings(
        items,
        ("slot keeps too much of the log", "slots keep too much of the log"),
        otherwise=ok(
            f"{counted(len(found), _KIND)} keep{'s' if len(found) == 1 else ''} {sized(most)} at most",
            most,
            unit="bytes",
        ),
        unit="bytes",
        warning=limits.bytes_warning if limit is None else round(limit * limits.share_warning),
        critical=limits.bytes_critical if limit is None else round(limit * limits.share_critical),
    )


@check(
    profiles=("oncall", "deploy"),
    reads=("pg_replication_slots.wal_status", "pg_replication_slots.invalidation_reason"),
)
async def lost_slots(look: Look) -> Findings | CheckResult:
    """Slots whose log, or rows, are gone: what followed there never catches up, and must be made anew."""
    found = await slots(look)
    if not found:
        return skipped("there are no replication slots")
    items = [
        Item(
            row["name"],
            Status.CRITICAL,
            f"{row['slot_type']}: {_REASONS.get(row['reason'] or '', 'what it needs is gone')}",
            since=row["inactive_since"],
            fix=f"{row['dropping']}; then make its {'standby' if row['slot_type'] == 'physical' else 'subscriber'} anew",
        )
        for row in found
        if _lost(row)
    ]
    return findings(
        items, ("slot is lost", "slots are lost"), otherwise=ok(f"no slot of {len(found)} is lost")
    )


@check(
    reads=("pg_replication_slots.failover", "pg_replication_slots.synced", "synchronized_standby_slots"),
    since=170000,
    needs="pg_monitor",
)
async def failover_slots(look: Look) -> Findings | CheckResult:
    """Logical slots that are to outlive a failover: whether the standby has them, and keeps none of them waiting.

    On the primary, a subscriber gets nothing that the standbys of synchronized_standby_slots do not have yet: with one
    of them gone, it waits. On the standby, slots come by a worker that wants hot_standby_feedback, primary_slot_name
    and a dbname in primary_conninfo, and says only in the log that it lacks one.
    """
    found = await slots(look)
    return await (_synchronized(look, found) if look.server.standby else _awaited(look, found))


async def _awaited(look: Look, found: Sequence[Row]) -> Findings | CheckResult:
    names = [row["name"] for row in found if row["failover"]]
    if not names:
        return skipped("no slot is to outlive a failover")
    listed = (await look.configured())["synchronized_standby_slots"]["setting"]
    there = {row["slot_name"] for row in found if row["active"]}
    awaited = [one.strip().strip('"') for one in listed.split(",") if one.strip()]
    items = [
        Item(
            one,
            Status.CRITICAL,
            f"{', '.join(names)} wait{'s' if len(names) == 1 else ''} for its standby",
            fix=f"start the standby at slot {one}; else, to go on without: "
            "ALTER SYSTEM SET synchronized_standby_slots = ''; SELECT pg_reload_conf()",
        )
        for one in awaited
        if one not in there
    ]
    kind = (
        "slot of synchronized_standby_slots is used by nobody",
        "slots of synchronized_standby_slots are used by nobody",
    )
    return findings(
        items, kind, otherwise=ok(f"{counted(len(names), _KIND)} to outlive a failover, nobody waits")
    )


async def _synchronized(look: Look, found: Sequence[Row]) -> Findings | CheckResult:
    configured = await look.configured()
    if configured["sync_replication_slots"]["setting"] == "off":
        return skipped("no slots are synchronized from the primary (sync_replication_slots is off)")
    items = [
        Item(
            row["name"],
            Status.WARNING,
            "would be lost with a failover",
            fix="wait until its subscriber moves on",
        )
        for row in await look.rows(_UNREADY)
    ]
    if not any(row["kind"] == _WORKER for row in await look.activity()):
        lacking = [
            what
            for what, there in (
                ("hot_standby_feedback = on", configured["hot_standby_feedback"]["setting"] == "on"),
                ("primary_slot_name", configured["primary_slot_name"]["setting"]),
                ("a dbname in primary_conninfo", "dbname" in configured["primary_conninfo"]["setting"]),
            )
            if not there
        ]
        fix = f"set {' and '.join(lacking)}; SELECT pg_reload_conf()" if lacking else "read this server's log"
        items.append(Item(_WORKER, Status.WARNING, "does not run", fix=fix))
    synced = sum(1 for row in found if row["synced"])
    return findings(
        items,
        ("slot is not synchronized", "slots are not synchronized"),
        otherwise=ok(f"{counted(synced, _KIND)} would survive a failover to here", synced),
    )


def _kept(row: Row, limit: int | None, rate: float, look: Look) -> Item:
    limits, kept = look.settings.slots, int(row["kept_bytes"] or 0)
    if limit is None:
        status = grade(kept, warning=limits.bytes_warning, critical=limits.bytes_critical)
        return Item(row["name"], status, _said(row, look, ""), kept, row["inactive_since"], releasing(row))
    left = row["safe_bytes"] if row["safe_bytes"] is not None else limit - kept
    until = max(left, 0) / rate if rate > 0 else None
    forecast = f", lost or full in {lasting(until)} at this rate" if until is not None else ""
    share = kept / limit if limit else 1.0
    statuses = [grade(share, warning=limits.share_warning, critical=limits.share_critical)]
    if until is not None and share >= _LEAST_SHARE:
        statuses.append(
            grade(until, warning=limits.lost_warning, critical=limits.lost_critical, falling=True)
        )
    if row["wal_status"] == "unreserved":
        statuses.append(Status.CRITICAL)
        forecast = ", lost at the next checkpoint"
    note = _said(row, look, f" of {sized(limit)}{forecast}")
    status = max(statuses, key=lambda one: one.severity)
    return Item(row["name"], status, note, kept, row["inactive_since"], releasing(row))


def _said(row: Row, look: Look, more: str) -> str:
    return f"{row['slot_type']}, {used_by(row, look.now)}, keeps {sized(row['kept_bytes'] or 0)}{more}"


def _lost(row: Row) -> bool:
    return bool(row["wal_status"] == "lost" or row["reason"] or row["conflicting"])


def _unused_seconds(look: Look, row: Row) -> float | None:
    gone = row["inactive_since"]
    return None if gone is None else round((look.now - gone).total_seconds(), 1)
