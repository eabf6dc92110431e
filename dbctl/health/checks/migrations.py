"""Migrations: is the database where the code says it should be."""

from __future__ import annotations

from collections.abc import Sequence

from dbctl.health.look import Look
from dbctl.health.model import CheckResult, Findings, Item, MigrationFacts, Revisions, Status
from dbctl.health.registry import check
from dbctl.health.results import critical, findings, ok, skipped, unknown, warning
from dbctl.postgres.alembic_version import of_project, read_versions


@check(profiles=("oncall", "deploy"), reads=("alembic_version", "the revision files"), scope="database")
async def migrations(look: Look) -> CheckResult:
    """The version tables of the database against the heads of the revision files."""
    facts = look.outside.migrations()
    if facts.revisions is None:
        return _not_read(facts)
    tables = of_project(await read_versions(look.connection), facts.revisions.unknown)
    unreadable = [f"{table.schema}.{table.name}" for table in tables if table.revisions is None]
    if unreadable:
        grant = f"GRANT SELECT ON {unreadable[0]} TO {look.server.quoted_role}"
        return unknown(f"may not read {unreadable[0]}", grant=grant)
    return _compare(
        sorted({revision for table in tables for revision in table.revisions or ()}), facts.revisions
    )


@check(profiles=(), reads=("the catalog", "the revision files, run on a scratch server"), scope="database")
async def drift(look: Look) -> CheckResult | Findings:
    """What somebody changed by hand: whatever the database has otherwise than its own revisions make it.

    The next revision may fail on it, and what is built from the revisions (tests, a new environment) lacks it. They are
    run on a throw-away server, once, which takes its time, beside the budget: by night, or when asked for by name.
    """
    facts = look.outside.drift
    if facts is None:
        return skipped("nobody compared: this is no Alembic project")
    if facts.problem:
        return unknown(facts.problem, fix="`dbctl migrate check` says more")
    items = [
        Item(name, Status.WARNING, fix="`dbctl migrate check` shows both sides as SQL: write a revision")
        for name in facts.objects
    ]
    return findings(
        items,
        ("thing is not as the migrations make it", "things are not as the migrations make them"),
        otherwise=ok("all is as the migrations make it", 0),
    )


def _not_read(facts: MigrationFacts) -> CheckResult:
    if not facts.problem:
        return skipped("not an Alembic project: migrate.config is not there")
    return unknown(facts.problem, fix="see `dbctl migrate history`")


def _compare(applied: Sequence[str], revisions: Revisions) -> CheckResult:
    value, heads = ", ".join(applied) or "base", ", ".join(revisions.heads)
    if len(revisions.heads) > 1:
        message = f"the code has {len(revisions.heads)} heads: {heads}"
        return warning(message, value, warning=1, fix="alembic merge heads")
    # By what is lacking, not by the heads: a revision that another depends on leaves the version table.
    pending, unknown_ones = revisions.pending(applied), revisions.unknown(applied)
    if unknown_ones:
        message = f"the database has revisions that the code does not: {', '.join(unknown_ones)}"
        fix = "deploy the code that has them, or see `dbctl migrate status`"
        return warning(message, value, warning=heads, fix=fix)
    if pending:
        message = f"at {value}, {len(pending)} to apply up to {heads}"
        return warning(message, value, warning=heads, fix="dbctl migrate up")
    if extra := [one for one in applied if one not in revisions.heads]:
        table = "the version table has several rows"
        message = f"{table}: {value}, though {heads} is built on {', '.join(extra)}"
        fix = f"as its owner: DELETE FROM alembic_version WHERE version_num = '{extra[0]}'"  # noqa: S608 - to be read
        return critical(message, value, warning=heads, fix=fix)
    return ok(f"at head: {value}", value, warning=heads)
