"""Vacuum: how near the ids' wraparound is, and which tables vacuum and ANALYZE do not keep up with."""

from __future__ import annotations

from collections.abc import Sequence

from dbctl.health.look import Look
from dbctl.health.model import CheckResult, Findings, Item, Status
from dbctl.health.registry import check
from dbctl.health.results import findings, grade, judged, not_enough_data, ok
from dbctl.health.samples import Row
from dbctl.health.words import lasting

# Of the 2^31 transactions that an id can tell apart.
_IDS = 2_147_483_648
_TIME_SECONDS = 600

_AGES = """
    SELECT datname AS name, age(datfrozenxid) AS transactions, mxid_age(datminmxid) AS multixacts
    FROM pg_database
    ORDER BY greatest(age(datfrozenxid), mxid_age(datminmxid)) DESC
    LIMIT 1
"""

# How many transactions there have been, for how many more there may be a day.
_ASSIGNED = """
SELECT 1 AS one, pg_snapshot_xmax(pg_current_snapshot())::text::bigint AS transactions
"""

_OLDEST_TABLES = """
    SELECT format('%I.%I', n.nspname, c.relname) AS name
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE c.relkind IN ('r', 'm', 't')
    ORDER BY greatest(age(c.relfrozenxid), mxid_age(c.relminmxid)) DESC
    LIMIT 5
"""

# A crash forgets the counters as well, and is told by those of the server from then on.
_RESET = """
SELECT extract(epoch FROM clock_timestamp() - greatest(d.stats_reset, b.stats_reset))::float8 AS seconds
  FROM pg_stat_database AS d, pg_stat_bgwriter AS b WHERE d.datname = current_database()
"""
# A table's own options count before the server's, as they do for autovacuum.
_UPKEEP = """
    SELECT format('%I.%I', n.nspname, c.relname) AS name,
           coalesce(o.enabled, true) AS enabled,
           pg_stat_get_dead_tuples(c.oid) AS dead,
           pg_stat_get_live_tuples(c.oid) AS live,
           pg_stat_get_mod_since_analyze(c.oid) AS changed,
           coalesce(o.vacuum_base, g.vacuum_base)
             + coalesce(o.vacuum_scale, g.vacuum_scale) * greatest(c.reltuples, 0) AS vacuum_due,
           coalesce(o.analyze_base, g.analyze_base)
             + coalesce(o.analyze_scale, g.analyze_scale) * greatest(c.reltuples, 0) AS analyze_due,
           greatest(pg_stat_get_last_vacuum_time(c.oid), pg_stat_get_last_autovacuum_time(c.oid)) AS vacuumed,
           greatest(pg_stat_get_last_analyze_time(c.oid), pg_stat_get_last_autoanalyze_time(c.oid)) AS analyzed,
           EXISTS (SELECT FROM pg_stat_progress_vacuum p WHERE p.relid = c.oid) AS in_progress
    FROM pg_class c
    JOIN pg_namespace n ON n.oid = c.relnamespace
    CROSS JOIN (
        SELECT current_setting('autovacuum_vacuum_threshold')::float8 AS vacuum_base,
               current_setting('autovacuum_vacuum_scale_factor')::float8 AS vacuum_scale,
               current_setting('autovacuum_analyze_threshold')::float8 AS analyze_base,
               current_setting('autovacuum_analyze_scale_factor')::float8 AS analyze_scale
    ) g
    LEFT JOIN LATERAL (
        SELECT max(option_value) FILTER (WHERE option_name = 'autovacuum_vacuum_threshold')::float8 AS vacuum_base,
               max(option_value) FILTER (WHERE option_name = 'autovacuum_vacuum_scale_factor')::float8
                 AS vacuum_scale,
               max(option_value) FILTER (WHERE option_name = 'autovacuum_analyze_threshold')::float8
                 AS analyze_base,
               max(option_value) FILTER (WHERE option_name = 'autovacuum_analyze_scale_factor')::float8
                 AS analyze_scale,
               bool_and(option_value::bool) FILTER (WHERE option_name = 'autovacuum_enabled') AS enabled
        FROM pg_options_to_table(c.reloptions)
    ) o ON c.reloptions IS NOT NULL
    WHERE c.relkind IN ('r', 'm') AND c.relpersistence <> 't'
      AND (pg_stat_get_dead_tuples(c.oid) >= :rows OR pg_stat_get_mod_since_analyze(c.oid) >= :rows
           OR NOT coalesce(o.enabled, true))
    ORDER BY pg_stat_get_dead_tuples(c.oid) DESC, 1
"""


@check(profiles=("oncall", "deploy"), reads=("pg_database", "pg_class"))
async def wraparound(look: Look) -> CheckResult:
    """How much of the 2^31 transaction and multixact ids the oldest rows of any database have used up.

    At the end of them the server takes no more writes. autovacuum begins to freeze at autovacuum_freeze_max_age
    (200 million), so a share that goes on growing means that it can't: something holds old rows, or it is off.
    """
    limits = look.settings.vacuum
    oldest = await look.one(_AGES)
    share = max(oldest["transactions"], oldest["multixacts"]) / _IDS
    kind = "multixact" if oldest["multixacts"] > oldest["transactions"] else "transaction"
    tables: tuple[str, ...] = ()
    fix = f'connect to "{oldest["name"]}" and run: VACUUM (FREEZE)'
    if (
        grade(share, warning=limits.wraparound_warning) is not Status.OK
        and oldest["name"] == look.server.database
    ):
        tables = tuple(row["name"] for row in await look.rows(_OLDEST_TABLES))
        fix = f"VACUUM (FREEZE) {tables[0]}; first end what `dbctl health xmin_horizon` names"
    return judged(
        round(share * 100, 1),
        f"database {oldest['name']} has used {share:.0%} of the {kind} ids{await _forecast(look, share)}",
        unit="%",
        warning=limits.wraparound_warning * 100,
        critical=limits.wraparound_critical * 100,
        objects=tables,
        fix=fix,
    )


async def _forecast(look: Look, share: float) -> str:
    """How long the rest lasts if nothing is frozen and all goes on as between two samples; else nothing."""
    moved = await look.change(_ASSIGNED, ("one",))
    rate = next((one.rate("transactions") for one in moved or ()), None)
    return f"; the rest lasts {lasting((1 - share) * _IDS / rate)} at the present rate" if rate else ""


@check(
    reads=("pg_class.reloptions", "pg_stat_get_dead_tuples()", "pg_stat_progress_vacuum"),
    scope="database",
    where="primary",
)
async def dead_rows(look: Look) -> Findings:
    """Tables in which far more rows are dead than autovacuum lets be: scans read them, and the table grows.

    Measured against each table's own threshold, and only from `dead_rows` rows on.
    """
    limits = look.settings.vacuum
    upkeep = await _upkeep(look)
    items = [_dead(row) for row in upkeep if _is_full_of_dead(row, limits.dead_rows, limits.dead_share)]
    return findings(
        items,
        ("table that vacuum does not keep up with", "tables that vacuum does not keep up with"),
        otherwise=await _counted(look, "no table has more dead rows than its autovacuum threshold allows"),
        unit="rows",
        warning=limits.dead_rows,
    )


@check(reads=("pg_class.reloptions",), scope="database")
async def autovacuum_of_tables(look: Look) -> Findings:
    """Tables with autovacuum_enabled = false: nobody removes their dead rows, and wraparound still comes."""
    items = [
        Item(
            row["name"],
            Status.WARNING,
            f"{row['dead']:,} dead rows",
            fix=f"ALTER TABLE {row['name']} RESET (autovacuum_enabled)",
        )
        for row in await _upkeep(look)
        if not row["enabled"]
    ]
    return findings(
        items,
        ("table has autovacuum off", "tables have autovacuum off"),
        otherwise=ok("no table has autovacuum off"),
    )


@check(reads=("pg_stat_get_mod_since_analyze()", "pg_class.reltuples"), scope="database", where="primary")
async def stale_statistics(look: Look) -> Findings:
    """Tables that changed a lot since the last ANALYZE, or never had one: their queries are planned blindly.

    Not one of a few rows, however often these change: any plan for it is a good one.
    """
    factor, least = look.settings.vacuum.stale_factor, look.settings.vacuum.stale_rows
    items = [
        Item(row["name"], Status.WARNING, _staleness(row), row["changed"], fix=f"ANALYZE {row['name']}")
        for row in await _upkeep(look)
        if row["live"] + row["dead"] >= least
        and row["changed"] >= max(least, factor * row["analyze_due"])
        and _had_its_time(row, look)
    ]
    return findings(
        sorted(items, key=lambda item: -float(item.value or 0)),
        ("table has stale statistics", "tables have stale statistics"),
        otherwise=await _counted(look, "the planner's statistics are fresh"),
        unit="rows",
        warning=least,
    )


async def _counted(look: Look, message: str) -> CheckResult:
    """Well, unless the counters that say so have only just begun."""
    seconds = (await look.one(_RESET))["seconds"]
    if seconds is None or seconds >= _TIME_SECONDS:
        return ok(message)
    return not_enough_data(f"changes are counted for {lasting(seconds)} only: since a reset, or a crash")


async def _upkeep(look: Look) -> Sequence[Row]:
    return await look.rows(_UPKEEP, rows=min(look.settings.vacuum.dead_rows, look.settings.vacuum.stale_rows))


def _is_full_of_dead(row: Row, least: int, share: float) -> bool:
    """Far over its threshold, as one that has just been crossed is autovacuum's daily work."""
    return bool(
        row["dead"] >= max(least, 2 * row["vacuum_due"])
        and row["dead"] >= share * (row["dead"] + row["live"])
        and not row["in_progress"]
    )


def _dead(row: Row) -> Item:
    share = row["dead"] / (row["dead"] + row["live"])
    off = "" if row["enabled"] else ", its autovacuum is off"
    fix = f"VACUUM (ANALYZE) {row['name']}"
    if not row["enabled"]:
        fix += f"; ALTER TABLE {row['name']} RESET (autovacuum_enabled)"
    return Item(
        row["name"],
        Status.WARNING,
        f"{row['dead']:,} dead rows, {share:.0%}{off}",
        row["dead"],
        row["vacuumed"],
        fix,
    )


def _had_its_time(row: Row, look: Look) -> bool:
    """Whether autovacuum could have analyzed it since; what one session changed is counted after its ANALYZE even."""
    analyzed = row["analyzed"]
    return analyzed is None or (look.now - analyzed).total_seconds() > _TIME_SECONDS


def _staleness(row: Row) -> str:
    changed = f"{row['changed']:,} changed rows"
    return f"{changed}, never analyzed" if row["analyzed"] is None else f"{changed} since the last ANALYZE"
