"""Uses of indexes that other servers have counted: an index that only reports on a standby read is not unused."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from sqlalchemy.ext.asyncio import AsyncConnection

from dbctl.activity.reading import bounded
from dbctl.postgres.catalog.indexes import IndexFacts, StatisticsWindow, read_indexes, read_window


@dataclass(frozen=True, slots=True)
class Elsewhere:
    """What one standby has counted; ``window`` None: it could not be asked, for the reason ``why``."""

    name: str
    indexes: tuple[IndexFacts, ...] = ()
    window: StatisticsWindow | None = None
    why: str = ""


async def read_elsewhere(connection: AsyncConnection, name: str) -> Elsewhere:
    """A standby's own counters, from pg_stat_user_indexes there."""
    async with bounded(connection):
        window = await read_window(connection)
        if not window.is_standby:
            return Elsewhere(name, why="it is no standby")
        return Elsewhere(name, await read_indexes(connection), window)


def with_uses(indexes: Sequence[IndexFacts], others: Sequence[Elsewhere]) -> tuple[IndexFacts, ...]:
    """The same indexes with the uses of all servers; they are known by their names."""
    scans = {one.qualified: one.scans for one in indexes}
    last = {one.qualified: one.last_scan for one in indexes}
    for one in (index for other in others for index in other.indexes):
        if one.qualified in scans:
            scans[one.qualified] += one.scans
            times = [time for time in (last[one.qualified], one.last_scan) if time is not None]
            last[one.qualified] = max(times, default=None)
    return tuple(replace(one, scans=scans[one.qualified], last_scan=last[one.qualified]) for one in indexes)


def joint_window(window: StatisticsWindow, others: Sequence[Elsewhere]) -> StatisticsWindow:
    """The time in which all of them have counted; standbys that were asked need not be asked any more."""
    windows = [window, *(other.window for other in others if other.window is not None)]
    since = [one.since for one in windows]
    known = [one for one in since if one is not None]
    return replace(
        window,
        since=max(known) if len(known) == len(since) else None,
        standbys=max(window.standbys - len(windows) + 1, 0),
    )
