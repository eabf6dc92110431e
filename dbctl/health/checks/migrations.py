"""Migrations: is the database where the code says it should be."""

from __future__ import annotations

from collections.abc import Sequence

from dbctl.health.facts import Facts
from dbctl.health.model import CheckResult, Revisions, Status
from dbctl.health.registry import check


@check
def migrations(facts: Facts) -> CheckResult:
    """The version tables of the database against the heads of the revision files."""
    revisions = facts.migrations.revisions
    if revisions is None:
        return CheckResult("migrations", Status.SKIPPED, facts.migrations.problem)
    unreadable = [f"{table.schema}.{table.name}" for table in facts.version_tables if table.revisions is None]
    if unreadable:
        fix = f"GRANT SELECT ON {unreadable[0]} TO CURRENT_USER, as its owner"
        return CheckResult("migrations", Status.UNKNOWN, "may not read the version table", fix=fix)
    applied = sorted({revision for table in facts.version_tables for revision in table.revisions or ()})
    return _compare(applied, revisions)


def _compare(applied: Sequence[str], revisions: Revisions) -> CheckResult:
    value, heads = ", ".join(applied) or "base", ", ".join(revisions.heads)
    # By what is lacking, not by the heads: a revision that another depends on leaves the version table.
    pending, unknown = revisions.pending(applied), revisions.unknown(applied)
    status, message, fix = Status.WARNING, "", ""
    if unknown:
        message = f"the database has revisions that the code does not: {', '.join(unknown)}"
        fix = "deploy the code that has them, or see `dbctl migrate status`"
    elif pending:
        message, fix = f"at {value}, {len(pending)} to apply up to {heads}", "dbctl migrate up"
    else:
        status, message = Status.OK, f"at head: {value}"
    return CheckResult("migrations", status, message, value=value, threshold=heads, fix=fix)
