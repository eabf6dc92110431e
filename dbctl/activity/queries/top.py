"""The most costly statements of a short while, or since counting began."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from sqlalchemy.ext.asyncio import AsyncConnection

from dbctl.activity.queries.counters import (
    NOTHING,
    OURS,
    Counters,
    Extension,
    Key,
    Reading,
    find_extension,
    read_counters,
    read_texts,
)
from dbctl.activity.queries.model import By, TopQuery, TopReport
from dbctl.postgres.masking import mask_literals

_MOST_CHARACTERS = 400
# Our own are left out when their texts are known.
_OURS_AT_MOST = 10
_ORDER: Mapping[By, Callable[[Counters], Any]] = {
    By.TOTAL: lambda one: one.total_ms,
    By.MEAN: lambda one: one.total_ms / one.calls,
    # Without track_io_timing no time is measured, and the blocks decide.
    By.IO: lambda one: (one.io_ms, one.read_blocks),
    By.TEMP: lambda one: one.temp_blocks,
    By.CALLS: lambda one: one.calls,
}


async def find_top(
    connection: AsyncConnection, *, by: By, limit: int, sample_seconds: float | None
) -> TopReport:
    """What cost most of all within ``sample_seconds``, None: since counting began; from pg_stat_statements.

    A statement counts when it has ended, with all its time. Raises NotFound where the extension is not there.
    ``connection`` comes from ``reading.connected``; it is idle while the sample is taken.
    """
    extension = await find_extension(connection)
    before = None
    if sample_seconds is not None:
        before = await read_counters(connection, extension)
        await asyncio.sleep(sample_seconds)
    after = await read_counters(connection, extension)
    seconds = _watched(before, after)
    spent = _spent(before, after)
    hidden = after.hidden.since(before.hidden if before else None)
    # A nested one's time is in the time of the statement that called it.
    outer = [hidden, *(one for key, one in spent.items() if key.toplevel)]
    total_ms = sum(one.total_ms for one in outer)
    ranked = sorted(spent, key=lambda key: _ORDER[by](spent[key]), reverse=True)[: limit + _OURS_AT_MOST]
    texts = await read_texts(connection, extension, ranked) if ranked else {}
    shown = []
    for key in ranked:
        query, role = texts.get((key.role, key.queryid), ("(its text was forgotten)", ""))
        if OURS not in query:
            one = _cost(key, spent[key], after, seconds=seconds, total_ms=total_ms)
            shown.append(TopQuery(role=role, query=mask_literals(query, _MOST_CHARACTERS), **one))
    notes = tuple(_notes(before, after, by, extension))
    return TopReport(tuple(shown[:limit]), seconds, sum(one.calls for one in outer), total_ms / 1000, notes)


def _watched(before: Reading | None, after: Reading) -> float | None:
    start = before.at if before is not None else after.since
    return (after.at - start).total_seconds() if start is not None else None


def _spent(before: Reading | None, after: Reading) -> dict[Key, Counters]:
    earlier = before.counters if before is not None else {}
    spent = {key: one.since(earlier.get(key)) for key, one in after.counters.items()}
    return {key: one for key, one in spent.items() if one.calls > NOTHING.calls}


def _cost(
    key: Key, spent: Counters, after: Reading, *, seconds: float | None, total_ms: float
) -> dict[str, Any]:
    return {
        "queryid": str(key.queryid),
        "calls": spent.calls,
        "calls_per_second": round(spent.calls / seconds, 3) if seconds else None,
        "total_seconds": round(spent.total_ms / 1000, 6),
        "share": round(spent.total_ms / total_ms, 4) if total_ms else 0,
        "mean_seconds": round(spent.total_ms / 1000 / spent.calls, 6),
        "rows": spent.rows,
        "read_bytes": spent.read_blocks * after.block_bytes,
        "io_seconds": round(spent.io_ms / 1000, 6) if after.measures_io else None,
        "temp_bytes": spent.temp_blocks * after.block_bytes,
        "is_nested": not key.toplevel,
    }


def _notes(before: Reading | None, after: Reading, by: By, extension: Extension) -> Iterator[str]:
    if after.hidden_statements:
        yield (
            f"{after.hidden_statements} statements of other roles are hidden, but for their share of the total;"
            " as an administrator: GRANT pg_read_all_stats to this role"
        )
    if before is not None and before.since != after.since:
        yield "the statistics were reset while they were watched: what was before is missing"
    forgotten = after.forgotten - (before.forgotten if before is not None else 0)
    if forgotten > 0:
        yield f"rare statements were forgotten {forgotten} times for want of room: raise pg_stat_statements.max"
    if by is By.IO and not after.measures_io:
        yield "the time of reads and writes is not measured (track_io_timing is off): ordered by what was read"
    if before is None and not extension.has_info:
        yield "since when it counts is known from pg_stat_statements 1.9 on (PostgreSQL 14)"
