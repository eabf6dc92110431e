"""Whether there is a backup that one can rely on, from what lies in the storage alone."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from dbctl.backup.model import Backup, Freshness, FreshnessReport, Level
from dbctl.backup.repository import Repository
from dbctl.errors import Failed

_TOLERANCE_SECONDS = 3600
# Below these a smaller unit says it better.
_FEW_MINUTES_SECONDS, _FEW_HOURS, _FEW_DAYS_HOURS = 120, 2, 72


def check_all(
    repositories: Sequence[Repository],
    environment: str,
    now: datetime,
    *,
    max_age: float,
    max_unproven: float,
) -> FreshnessReport:
    """`check_freshness` of each; one of several that can't be asked is critical, as if nothing were in it."""
    if len(repositories) == 1:
        return check_freshness(repositories[0], environment, now, max_age=max_age, max_unproven=max_unproven)
    reports: dict[str, FreshnessReport] = {}
    for one in repositories:
        try:
            found = check_freshness(one, environment, now, max_age=max_age, max_unproven=max_unproven)
        except Failed as error:
            found = FreshnessReport(environment, Level.CRITICAL, str(error), ())
        reports[one.place] = found
    problems = [f"{place}: {one.message}" for place, one in reports.items() if one.level is not Level.OK]
    return FreshnessReport(
        environment,
        max((one.level for one in reports.values()), key=lambda one: one.severity),
        "; ".join(problems) or "all is well",
        tuple(database for one in reports.values() for database in one.databases),
    )


def check_freshness(
    repository: Repository, environment: str, now: datetime, *, max_age: float, max_unproven: float
) -> FreshnessReport:
    """The environment's newest good and newest proven backup of each database; seconds, 0 sets no limit.

    Asks no database: a run that never happened is seen as well. Without any backup that is critical.
    """
    groups: dict[tuple[str, str], list[Backup]] = defaultdict(list)
    unreadable = 0
    for one in repository.backups():
        unreadable += one.manifest is None
        if one.manifest and one.manifest.environment == environment:
            groups[one.manifest.host, one.manifest.database].append(one)
    checks = [
        replace(
            _check(host, database, group, now, max_age=max_age, max_unproven=max_unproven),
            target=repository.place,
        )
        for (host, database), group in sorted(groups.items())
    ]
    problems = [one.problem for one in checks if one.problem]
    level = max((one.level for one in checks), key=lambda one: one.severity, default=Level.CRITICAL)
    nothing = f"no backup of {environment} at all" + (f", {unreadable} can't be read" if unreadable else "")
    message = "; ".join(problems) or ("all is well" if checks else nothing)
    return FreshnessReport(environment, level, message, tuple(checks))


def _check(
    host: str, database: str, group: list[Backup], now: datetime, *, max_age: float, max_unproven: float
) -> Freshness:
    good = [one for one in group if one.counts]
    proven = max((one.proven_at for one in good if one.proven_at), default=None)
    newest = good[0].manifest if good else None
    age = (now - newest.created_at).total_seconds() if newest else None
    unproven = (now - proven).total_seconds() if proven else None
    level, problem = Level.OK, ""
    if age is None:
        level, problem = Level.CRITICAL, f"{database}: no good backup"
    elif max_age and age > max_age:
        level, problem = Level.CRITICAL, f"{database}: the newest good backup is {_span(age)} old"
    elif max_unproven and unproven is None:
        level, problem = Level.CRITICAL, f"{database}: no backup was ever proven to restore"
    elif max_unproven and unproven is not None and unproven > max_unproven:
        level, problem = Level.CRITICAL, f"{database}: the last proof is {_span(unproven)} old"
    elif age < -_TOLERANCE_SECONDS:
        level, problem = Level.WARNING, f"{database}: the newest backup is from the future: a clock is wrong"
    elif bad := sum(
        not one.counts and one.manifest is not None and not one.manifest.selection for one in group
    ):
        level, problem = Level.WARNING, f"{database}: {bad} backups are not good: `dbctl backup list`"
    return Freshness(
        database=database,
        host=host,
        level=level,
        problem=problem,
        newest_id=newest.id if newest else None,
        age_seconds=age,
        proven_seconds_ago=unproven,
        size_bytes=newest.size_bytes if newest else None,
        good=len(good),
    )


def _span(seconds: float) -> str:
    hours = seconds / 3600
    if hours < _FEW_HOURS:
        # A limit may be minutes: "0 h old" would not say what it exceeds.
        return f"{seconds:.0f} s" if seconds < _FEW_MINUTES_SECONDS else f"{seconds / 60:.0f} min"
    return f"{hours:.0f} h" if hours < _FEW_DAYS_HOURS else f"{hours / 24:.0f} d"
