"""Migrations: is the database where the code says it should be."""

from __future__ import annotations

from dbctl.health.facts import Facts
from dbctl.health.model import CheckResult, Status
from dbctl.health.registry import check


@check
def migrations(facts: Facts) -> CheckResult:
    """The version tables of the database against the heads of the revision files."""
    if facts.migrations.problem:
        return CheckResult("migrations", Status.SKIPPED, facts.migrations.problem)
    tables = facts.version_tables
    unreadable = [f"{table.schema}.{table.name}" for table in tables if table.revisions is None]
    if unreadable:
        fix = f"GRANT SELECT ON {unreadable[0]} TO CURRENT_USER, as its owner"
        return CheckResult("migrations", Status.UNKNOWN, "may not read the version table", fix=fix)
    applied = frozenset(revision for table in tables for revision in table.revisions or ())
    return _compare(applied, facts)


def _compare(applied: frozenset[str], facts: Facts) -> CheckResult:
    heads = facts.migrations.heads
    value, threshold = ", ".join(sorted(applied)) or "base", ", ".join(sorted(heads))
    unknown = applied - facts.migrations.known
    if applied == heads:
        return CheckResult("migrations", Status.OK, f"at head: {value}", value=value, threshold=threshold)
    if unknown:
        message = f"the database has revisions that the code does not: {', '.join(sorted(unknown))}"
        fix = "deploy the code that has them, or see `dbctl migrate status`"
    else:
        message, fix = f"at {value}, the code is at {threshold}", "dbctl migrate up"
    return CheckResult("migrations", Status.WARNING, message, value=value, threshold=threshold, fix=fix)
