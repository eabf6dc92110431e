"""Backups: is there one to come back to, and was one proven to restore. From the storage alone."""

from __future__ import annotations

from dbctl.health.look import Look
from dbctl.health.model import CheckResult, Status
from dbctl.health.registry import check
from dbctl.health.results import skipped, unknown, warning


@check(profiles=("oncall", "deploy"), reads=("the manifests in backup.target",), scope="database")
async def backups(look: Look) -> CheckResult:
    """The age of the newest good backup, and of the newest proof that one restores, against the limits in [backup].

    A backup that failed, is damaged or holds a part of the database counts for nothing.
    """
    facts = look.outside.backups()
    if facts is None:
        return skipped("no backup.target that this command can see")
    if facts.problem:
        return unknown(facts.problem, fix="`dbctl backup status` says more")
    if not facts.number and not facts.expected:
        return skipped(f"dbctl has made no backups in {facts.place}: `dbctl backup --prove` makes one")
    if not facts.number:
        message = f"a protected environment, and no backup in {facts.place}"
        return warning(message, fix="dbctl backup --prove")
    return CheckResult(
        facts.status,
        facts.message,
        value=None if facts.age_seconds is None else round(facts.age_seconds),
        unit="s",
        warning=facts.limit_seconds,
        fix="" if facts.status is Status.OK else "dbctl backup --prove",
    )
