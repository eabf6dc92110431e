"""How long a statement is likely to take and what room it needs: the target's bytes and rows at scratch's rates."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from dbctl.migrate.plan.model import Estimate, Rates, Work

# The disk, the cache and the WAL of the target are not scratch's: how far off an estimate may be, either way.
UNCERTAINTY = 3.0
_BRIEF_SECONDS = 0.1
# The sample's indexes when its rows were updated, and the heap itself: each index takes about as long.
_PLACES_UPDATED = 3
# An index entry beside its key: a header, a line pointer, alignment; pages are filled to nine tenths.
_ENTRY_BYTES, _FILL = 12, 0.9
_NUMBER_KEY_BYTES, _TEXT_KEY_BYTES = 8, 24

BRIEF = Estimate(0, 0, 0, is_brief=True)


def estimate(works: Sequence[Work], rates: Rates | None) -> Estimate:
    """For all that a statement does; brief where nothing grows with a table, not known where a size is not."""
    if not works:
        return BRIEF
    seconds = [work_seconds(work, rates) if rates else None for work in works]
    if None in seconds:
        return Estimate(None)
    total = sum(one or 0 for one in seconds)
    if total < _BRIEF_SECONDS:
        return Estimate(total, total / UNCERTAINTY, total * UNCERTAINTY, is_brief=True)
    return Estimate(total, total / UNCERTAINTY, total * UNCERTAINTY)


def work_seconds(work: Work, rates: Rates) -> float | None:
    """One pass over one table."""
    if work.bytes is None:
        return None
    scan = work.bytes / rates.scan_bytes_per_second
    if work.kind == "scan":
        return scan
    if work.rows is None:
        return None
    index_rate = rates.text_index_rows_per_second if work.of_text else rates.number_index_rows_per_second
    if work.kind == "index":
        return scan + work.rows / index_rate
    if work.kind == "write":
        return work.rows / rates.update_rows_per_second * (1 + work.indexes) / _PLACES_UPDATED
    rebuilt = work.indexes * work.rows / rates.number_index_rows_per_second
    return work.bytes / rates.rewrite_bytes_per_second + rebuilt


def disk_bytes(works: Iterable[Work]) -> int | None:
    """What is needed beside what is there, until the transaction ends: new files before the old ones go."""
    needed = [_disk(work) for work in works]
    return None if None in needed else sum(one or 0 for one in needed)


def peak_bytes(revisions: Iterable[Sequence[Work]]) -> int | None:
    """The most that is needed at a time: what a rewrite replaces goes with its revision's commit, the rest stays."""
    peak = stays = 0
    for works in revisions:
        needed, kept = disk_bytes(works), disk_bytes(work for work in works if work.kind != "rewrite")
        if needed is None or kept is None:
            return None
        peak, stays = max(peak, stays + needed), stays + kept
    return peak


def _disk(work: Work) -> int | None:
    if work.kind == "scan":
        return 0
    if work.kind == "index":
        key = _TEXT_KEY_BYTES if work.of_text else _NUMBER_KEY_BYTES
        known = work.index_bytes or None
        return known or (None if work.rows is None else int(work.rows * (_ENTRY_BYTES + key) / _FILL))
    # A rewrite writes table and indexes anew; an UPDATE of all rows adds a version of each.
    return None if work.bytes is None or work.index_bytes is None else work.bytes + work.index_bytes


def together(estimates: Iterable[Estimate]) -> float | None:
    """The seconds of several; None where one is not known."""
    seconds = [one.seconds for one in estimates]
    return None if None in seconds else sum(one or 0 for one in seconds)
