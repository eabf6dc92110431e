"""How busy the target's tables are: the counters of pg_stat_all_tables, read twice."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

_COUNTERS = """
SELECT relid, coalesce(seq_scan, 0) + coalesce(idx_scan, 0) AS reads, n_tup_ins + n_tup_upd + n_tup_del AS writes
  FROM pg_stat_all_tables WHERE schemaname !~ '^pg_' AND schemaname <> 'information_schema'
"""
_CLOCK = "SELECT clock_timestamp(), stats_reset FROM pg_stat_database WHERE datname = current_database()"


@dataclass(frozen=True, slots=True)
class Counters:
    """One reading of pg_stat_all_tables: scans begun and rows written so far, by oid."""

    at: datetime
    since: datetime | None
    tables: Mapping[int, tuple[int, int]]


@dataclass(frozen=True, slots=True)
class Traffic:
    """Scans and row writes a second of one table, and the time they are an average of."""

    reads: float
    writes: float
    over_seconds: float | None = None
    since: datetime | None = None


async def read_counters(session: AsyncSession) -> Counters:
    """Read the counters once (pg_stat_all_tables, pg_stat_database.stats_reset)."""
    at, since = (await session.execute(text(_CLOCK))).one()
    rows = await session.execute(text(_COUNTERS))
    return Counters(at, since, {oid: (reads, writes) for oid, reads, writes in rows})


def traffic(first: Counters, second: Counters, oids: Iterable[int]) -> Traffic | None:
    """Between two readings, summed over a table and its partitions; where nothing moved, since the statistics' reset."""
    known = [oid for oid in oids if oid in second.tables]
    seconds = (second.at - first.at).total_seconds()
    if not known or seconds <= 0:
        return None
    before = [first.tables.get(oid, (0, 0)) for oid in known]
    now = [second.tables[oid] for oid in known]
    # A reset in between, or a crash, makes them fall.
    reads = max(0, sum(one[0] for one in now) - sum(one[0] for one in before))
    writes = max(0, sum(one[1] for one in now) - sum(one[1] for one in before))
    if reads or writes or second.since is None:
        return Traffic(reads / seconds, writes / seconds, over_seconds=seconds)
    span = max((second.at - second.since).total_seconds(), 1)
    total = (sum(one[0] for one in now), sum(one[1] for one in now))
    return Traffic(total[0] / span, total[1] / span, since=second.since)
