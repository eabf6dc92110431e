"""Runs the checks and puts the worst first."""

from __future__ import annotations

import time

from dbctl.database import Target
from dbctl.errors import DbctlError, Unreachable
from dbctl.health.facts import read_facts
from dbctl.health.model import CheckResult, MigrationFacts, Report, Status
from dbctl.health.registry import chosen


async def check_health(target: Target, migrations: MigrationFacts, names: tuple[str, ...] = ()) -> Report:
    """Ask the database how it is; ``names`` limits the checks.

    A database that can't be reached gives a report too, with ``reached`` false.
    """
    settings = target.settings.settings
    checks = chosen(names, settings.health.skip)
    started = time.perf_counter()
    try:
        async with target.open() as database, database.connect() as connection:
            facts = await read_facts(connection, migrations, settings.health, settings.pool)
    except Unreachable as error:
        return _report(target, [_unreachable(error)], started, reached=False)
    return _report(target, [check(facts) for check in checks], started, reached=True)


def _unreachable(error: DbctlError) -> CheckResult:
    return CheckResult("reachable", Status.CRITICAL, str(error), value=error.kind, fix=error.hint)


def _report(target: Target, results: list[CheckResult], started: float, *, reached: bool) -> Report:
    ordered = sorted(results, key=lambda result: -result.status.severity)
    return Report(
        status=ordered[0].status if ordered else Status.SKIPPED,
        environment=target.environment,
        reached=reached,
        seconds=round(time.perf_counter() - started, 4),
        checks=tuple(ordered),
    )
