"""Migrations: is the database where the code says it should be."""

from __future__ import annotations

from collections.abc import Sequence

from dbctl.health.facts import Facts
from dbctl.health.model import CheckResult, Revisions, Status
from dbctl.health.registry import check
from dbctl.postgres.alembic_version import VersionTable


@check
def migrations(facts: Facts) -> CheckResult:
    """The version tables of the database against the heads of the revision files."""
    revisions = facts.migrations.revisions
    if revisions is None:
        return _not_read(facts.migrations.problem)
    tables = _of_project(facts.version_tables, revisions)
    unreadable = [f"{table.schema}.{table.name}" for table in tables if table.revisions is None]
    if unreadable:
        fix = f"as its owner: GRANT SELECT ON {unreadable[0]} TO {facts.role}"
        return CheckResult("migrations", Status.UNKNOWN, f"may not read {unreadable[0]}", fix=fix)
    return _compare(sorted({revision for table in tables for revision in table.revisions or ()}), revisions)


def _of_project(tables: Sequence[VersionTable], revisions: Revisions) -> Sequence[VersionTable]:
    """The tables that hold a revision of this project, else all: those of Alembic's own name where there are any."""
    named = [one for one in tables if one.name == "alembic_version"] or tables
    known = [
        one for one in named if one.revisions and set(one.revisions) - set(revisions.unknown(one.revisions))
    ]
    return known or named


def _not_read(problem: str) -> CheckResult:
    if not problem:
        return CheckResult(
            "migrations", Status.SKIPPED, "not an Alembic project: migrate.config is not there"
        )
    return CheckResult("migrations", Status.UNKNOWN, problem, fix="see `dbctl migrate history`")


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
