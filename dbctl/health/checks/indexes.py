"""Indexes: those that are broken or do nothing, and those that are lacking. `dbctl indexes` writes the statements."""

from __future__ import annotations

from dbctl.health.look import Look, made_by
from dbctl.health.model import CheckResult, Findings, Item, Status
from dbctl.health.registry import check
from dbctl.health.results import findings, ok, skipped
from dbctl.health.words import sized
from dbctl.postgres.catalog import index_faults as faults
from dbctl.postgres.catalog.indexes import IndexFacts, read_foreign_keys, read_indexes, read_window

_DAY_SECONDS = 86_400


@check(
    profiles=("oncall", "deploy"),
    reads=("pg_index", "pg_stat_progress_create_index", "pg_locks"),
    scope="database",
)
async def invalid_indexes(look: Look) -> CheckResult | Findings:
    """Indexes that a failed CREATE or REINDEX CONCURRENTLY left: every write keeps them up, no query uses them.

    Not those that are being built, nor a partitioned table's that waits for its partitions.
    """
    indexes = await look.facts(read_indexes)
    items = [
        Item(
            one.qualified,
            Status.WARNING,
            f"on {one.qualified_table}{made_by(look, one.name)}",
            fix=_repair(one),
        )
        for one in faults.invalid_indexes(indexes)
    ]
    return findings(items, ("invalid index", "invalid indexes"), otherwise=_none(indexes, "is invalid"))


@check(reads=("pg_index",), scope="database")
async def superfluous_indexes(look: Look) -> CheckResult | Findings:
    """Indexes whose work another one does as well: every write pays for both."""
    indexes = await look.facts(read_indexes)
    items = [
        Item(
            one.index.qualified,
            Status.WARNING,
            f"{'the same as' if one.is_duplicate else 'begins'} {one.by.qualified}, {sized(one.index.size_bytes)}",
            one.index.size_bytes,
            fix=_drop(one.index),
        )
        for one in faults.superfluous_indexes(indexes)
    ]
    return findings(
        items,
        ("superfluous index", "superfluous indexes"),
        otherwise=_none(indexes, "does what another one does"),
        unit="bytes",
    )


@check(reads=("pg_stat_get_numscans()", "pg_stat_database.stats_reset"), scope="database")
async def unused_indexes(look: Look) -> CheckResult | Findings:
    """Large indexes that no query has used for weeks; those that enforce something do their work unseen.

    A standby counts its own: an index that only a standby uses is unused here.
    """
    limits, window = look.settings.indexes, await look.facts(read_window)
    if window.seconds < limits.unused_days * _DAY_SECONDS:
        return skipped(
            f"uses are counted for less than {limits.unused_days:g} days, or nobody knows since when"
        )
    indexes = await look.facts(read_indexes)
    idle = faults.unused_indexes(indexes, window, for_seconds=limits.unused_days * _DAY_SECONDS)
    elsewhere = f"; ask the {window.standbys} standbys first" if window.standbys else ""
    items = [
        Item(one.qualified, Status.WARNING, sized(one.size_bytes), one.size_bytes, fix=_drop(one) + elsewhere)
        for one in idle
        if one.size_bytes >= limits.unused_bytes
    ]
    return findings(
        items,
        ("unused index", "unused indexes"),
        otherwise=_none(indexes, f"of {sized(limits.unused_bytes)} is unused"),
        unit="bytes",
        warning=limits.unused_bytes,
    )


@check(reads=("pg_constraint", "pg_index"), scope="database")
async def foreign_keys_without_index(look: Look) -> CheckResult | Findings:
    """Foreign keys by whose columns no index finds the rows: each DELETE in the other table reads all of this one.

    The columns may stand in any order, but first; a partial or invalid index is none.
    """
    keys = await look.facts(read_foreign_keys)
    if not keys:
        return skipped("no foreign keys")
    items = [
        Item(
            f"{key.name} on {key.qualified_table}",
            Status.WARNING,
            ", ".join(key.columns),
            fix="`dbctl indexes missing-fk` prints the index, CONCURRENTLY and as a revision",
        )
        for key in faults.uncovered_foreign_keys(keys, await look.facts(read_indexes))
    ]
    return findings(
        items,
        ("foreign key has no index", "foreign keys have no index"),
        otherwise=ok(f"each of {len(keys):,} foreign keys has its index", 0),
    )


def _none(indexes: tuple[IndexFacts, ...], what: str) -> CheckResult:
    return ok(f"none of {len(indexes):,} indexes {what}", 0) if indexes else skipped("no indexes")


def _repair(one: IndexFacts) -> str:
    """A copy that REINDEX left is dropped, as the index itself is well; any other is built anew."""
    copied = one.name.rstrip("0123456789").endswith(("_ccnew", "_ccold"))
    return _drop(one) if copied else f"REINDEX INDEX CONCURRENTLY {one.qualified}, or {_drop(one)}"


def _drop(one: IndexFacts) -> str:
    if one.constraint_name:
        return f"ALTER TABLE {one.qualified_table} DROP CONSTRAINT {one.constraint_name}"
    concurrently = "" if one.is_partitioned else "CONCURRENTLY "
    return f"DROP INDEX {concurrently}{one.qualified}"
