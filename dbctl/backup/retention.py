"""Which backups to keep: worked out from their manifests alone, with a reason for each."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from dbctl.backup.model import Backup, Status, Verdict

# Two machines' clocks never agree; further ahead than this, one of them is wrong.
_TOLERANCE = timedelta(hours=1)
_PERIODS: Mapping[str, Callable[[datetime], object]] = {
    "hourly": lambda moment: (moment.date(), moment.hour),
    "daily": lambda moment: moment.date(),
    "weekly": lambda moment: moment.isocalendar()[:2],
    "monthly": lambda moment: (moment.year, moment.month),
    "yearly": lambda moment: moment.year,
}


@dataclass(frozen=True, slots=True)
class Keep:
    """How many backups of each kind to keep; ``within_seconds`` counts back from the newest."""

    last: int = 0
    hourly: int = 0
    daily: int = 0
    weekly: int = 0
    monthly: int = 0
    yearly: int = 0
    within_seconds: float = 0

    @property
    def empty(self) -> bool:
        """Whether that would keep nothing."""
        return not any((self.last, *(getattr(self, name) for name in _PERIODS), self.within_seconds))


def judge(backups: Iterable[Backup], keep: Keep, now: datetime) -> tuple[Verdict, ...]:
    """A verdict for each backup, the newest first.

    Each environment, server and database by itself. Only good backups of whole databases are counted, and
    only these are ever removed; the newest of them, the newest proven one, and any from the future stay
    whatever ``keep`` says.
    """
    groups: dict[tuple[str, str, str], list[Backup]] = defaultdict(list)
    reasons: dict[str, list[str]] = {}
    listed = list(backups)
    for one in listed:
        if one.counts and one.manifest:
            groups[one.manifest.environment, one.manifest.host, one.manifest.database].append(one)
        else:
            reasons[one.id] = [f"not counted: {_why_not(one)}"]
    for group in groups.values():
        reasons |= _reasons(sorted(group, key=_made, reverse=True), keep, now)
    ordered = sorted(listed, key=lambda one: one.id, reverse=True)
    return tuple(_verdict(one, reasons[one.id]) for one in ordered)


def _reasons(group: Sequence[Backup], keep: Keep, now: datetime) -> dict[str, list[str]]:
    """Why to keep each of one database's backups, the newest of which comes first."""
    found: dict[str, list[str]] = {one.id: [] for one in group}
    future = [one for one in group if _made(one) > now + _TOLERANCE]
    for one in future:
        found[one.id].append("from the future: a clock was wrong")
    # These take nobody's place: what a jumping clock made must not push out what is real.
    real = group[len(future) :]
    for one, reason in _kept(real, keep):
        found[one.id].append(reason)
    proven = [one for one in group if one.proven_at]
    pillars = {"the newest good one": real[:1] or group[:1], "the newest proven one": proven[:1]}
    for why, newest in pillars.items():
        for one in newest:
            found[one.id].append(why)
    return found


def _kept(group: Sequence[Backup], keep: Keep) -> Iterator[tuple[Backup, str]]:
    for number, one in enumerate(group[: keep.last], 1):
        yield one, f"last {number} of {keep.last}"
    for name, period in _PERIODS.items():
        newest: dict[object, Backup] = {}
        for one in group:
            newest.setdefault(period(_made(one)), one)
        wanted = getattr(keep, name)
        for number, one in enumerate(list(newest.values())[:wanted], 1):
            yield one, f"{name} {number} of {wanted}"
    if keep.within_seconds and group:
        # From the newest, not from now: when backups fail for a month, the old ones stay.
        oldest = _made(group[0]).timestamp() - keep.within_seconds
        for one in group:
            if _made(one).timestamp() >= oldest:
                yield one, "within the time"


def _verdict(backup: Backup, reasons: Sequence[str]) -> Verdict:
    known = backup.manifest
    return Verdict(
        id=backup.id,
        keep=bool(reasons),
        reasons=tuple(reasons),
        environment=known.environment if known else None,
        database=known.database if known else None,
        size_bytes=sum(one.size_bytes for one in known.members) if known else None,
        removed=False,
        path=backup.path,
    )


def _why_not(backup: Backup) -> str:
    return "partial" if backup.status is Status.GOOD else str(backup.status)


def _made(backup: Backup) -> datetime:
    return backup.manifest.created_at.astimezone(UTC) if backup.manifest else datetime.min.replace(tzinfo=UTC)
