"""Who keeps the write-ahead log from being removed: slots, and an archiver that fails."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from dbctl.health.look import Look
from dbctl.health.samples import Row
from dbctl.health.streaming import HERE
from dbctl.health.words import lasting, sized

# Columns that came with 16 and 17 are NULL before. A temporary slot goes with its session; one that is being made has
# not found its beginning yet, and goes with it too.
SLOTS = f"""
SELECT *, CASE WHEN slot_type = 'logical' THEN 'in database ' || quote_ident(database) || ': ' ELSE '' END
          || 'SELECT pg_drop_replication_slot(' || quote_literal(slot_name) || ')' AS dropping
  FROM (SELECT s.slot_name, quote_ident(s.slot_name) AS name, s.slot_type, s.database, s.active, s.wal_status,
               s.safe_wal_size AS safe_bytes, s.restart_lsn IS NOT NULL AS keeps,
               pg_wal_lsn_diff(s.restart_lsn, '0/0')::bigint AS restart,
               greatest(pg_wal_lsn_diff(here.lsn, s.restart_lsn), 0)::bigint AS kept_bytes,
               greatest(age(s.xmin), age(s.catalog_xmin))::bigint AS transactions,
               (to_jsonb(s) ->> 'inactive_since')::timestamptz AS inactive_since,
               to_jsonb(s) ->> 'invalidation_reason' AS reason,
               coalesce((to_jsonb(s) ->> 'conflicting')::bool, false) AS conflicting,
               coalesce((to_jsonb(s) ->> 'failover')::bool, false) AS failover,
               coalesce((to_jsonb(s) ->> 'synced')::bool, false) AS synced
          FROM (SELECT {HERE} AS lsn) AS here CROSS JOIN pg_replication_slots AS s
         WHERE NOT s.temporary
           AND NOT (s.active AND s.slot_type = 'logical' AND s.confirmed_flush_lsn IS NULL)) AS slots
 ORDER BY kept_bytes DESC NULLS LAST, slot_name
"""  # noqa: S608 - a constant of ours
ARCHIVER = """
SELECT archived_count, failed_count, last_archived_time AS archived_at, last_failed_time AS failed_at,
       coalesce(last_failed_wal, '') AS failed_wal,
       last_failed_time > coalesce(last_archived_time, '-infinity') AS failing,
       extract(epoch FROM clock_timestamp() - last_archived_time)::float8 AS archived_seconds
  FROM pg_stat_archiver
"""
_MB = 1 << 20


@dataclass(frozen=True, slots=True)
class Keeper:
    """Somebody for whom ``size_bytes`` of the log are kept: what it is called, how it is, and what ends it."""

    name: str
    note: str
    size_bytes: int
    since: datetime | None
    fix: str


async def slots(look: Look) -> Sequence[Row]:
    """The slots that outlive their session, the one that keeps the most first."""
    return await look.rows(SLOTS)


async def keepers(look: Look) -> list[Keeper]:
    """Who keeps any of the log, the most first. What waits to be archived has no size that each role may see."""
    found = [keeper(row, look.now) for row in await slots(look) if row["kept_bytes"]]
    if await archives(look):
        archiver = await look.one(ARCHIVER)
        if archiver["failing"]:
            fix = "`dbctl health archiver` names the segment; the server's log says why"
            note = "fails, and what is not archived stays"
            found.append(Keeper("the archiver", note, 0, archiver["archived_at"], fix))
    return found


async def archives(look: Look) -> bool:
    """Whether this server archives its log: a standby does so only where archive_mode is always."""
    mode = (await look.configured())["archive_mode"]["setting"]
    return mode == "always" or (mode == "on" and not look.server.standby)


async def limit_bytes(look: Look) -> int | None:
    """How much of the log a slot may keep: max_slot_wal_keep_size, or the room for pg_wal as the settings tell it."""
    setting = int((await look.configured())["max_slot_wal_keep_size"]["setting"])
    limits = [
        one for one in (setting * _MB if setting >= 0 else None, look.settings.wal.disk) if one is not None
    ]
    return min(limits, default=None)


async def too_much(look: Look) -> list[Row]:
    """The slots that keep more of the log than is well, the one that keeps the most first."""
    limits, limit = look.settings.slots, await limit_bytes(look)
    well = limits.bytes_warning if limit is None else limit * limits.share_warning
    return [row for row in await slots(look) if row["keeps"] and row["kept_bytes"] >= well]


async def megabytes(look: Look, name: str) -> int:
    """A setting whose unit is MB, in bytes."""
    return int((await look.configured())[name]["setting"]) * _MB


def used_by(row: Row, now: datetime) -> str:
    """Whether anybody is at a slot: ``in use``, ``unused for 3 h`` (17 tells), ``unused``."""
    if row["active"]:
        return "in use"
    gone = row["inactive_since"]
    return f"unused for {lasting((now - gone).total_seconds())}" if gone else "unused"


def releasing(row: Row) -> str:
    """What lets go of the log that a slot keeps."""
    if row["active"]:
        return f"`dbctl health standby_lag` says how far behind the one at slot {row['name']} is"
    return f"start what uses it, else: {row['dropping']}"


def keeper(row: Row, now: datetime) -> Keeper:
    """A slot as somebody who keeps the log."""
    note = f"{used_by(row, now)}, keeps {sized(row['kept_bytes'])} of WAL"
    return Keeper(f"slot {row['name']}", note, row["kept_bytes"], row["inactive_since"], releasing(row))
