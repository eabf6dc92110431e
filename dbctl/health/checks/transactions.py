"""Transactions that go on for too long: what they lock stays locked, and what others delete stays on disk."""

from __future__ import annotations

from collections.abc import Iterable

from dbctl.health.look import Look
from dbctl.health.model import CheckResult, Findings, Item
from dbctl.health.registry import check
from dbctl.health.results import findings, grade, judged, ok
from dbctl.health.samples import Row
from dbctl.health.sessions import backups_at_work, named, since, told
from dbctl.health.words import lasting

_PREPARED = """
SELECT gid, quote_literal(gid) AS quoted, database::text AS database, prepared, owner::text AS owner,
       extract(epoch FROM clock_timestamp() - prepared)::float8 AS seconds
  FROM pg_prepared_xacts
 ORDER BY prepared
"""
_BUILDING = """
SELECT pid FROM pg_stat_progress_create_index UNION SELECT pid FROM pg_stat_progress_vacuum
 UNION SELECT pid FROM pg_stat_progress_cluster UNION SELECT pid FROM pg_stat_progress_analyze
"""
# All that keeps VACUUM from removing dead rows, each with the command that ends it. A standby with
# hot_standby_feedback holds it by its slot or, without one, by its walsender; a logical slot only rows of the catalogs.
_HOLDERS = """
SELECT * FROM (
    SELECT CASE WHEN a.backend_type = 'walsender' THEN 'standby ' || a.application_name || ' (hot_standby_feedback)'
                ELSE 'session ' || a.pid || coalesce(' of ' || nullif(a.application_name, ''), '') END AS holder,
           greatest(age(a.backend_xmin), age(a.backend_xid))::bigint AS transactions, a.xact_start AS since,
           CASE WHEN a.backend_type = 'walsender' THEN 'on ' || a.application_name || ': `dbctl health transactions`'
                WHEN a.application_name IN ('pg_dump', 'dbctl pg_dump', 'dbctl backup')
                THEN 'let the backup end; take the next one from a standby'
                ELSE 'SELECT pg_terminate_backend(' || a.pid || ')' END AS fix
      FROM pg_stat_activity AS a
     WHERE a.pid <> pg_backend_pid() AND coalesce(a.backend_type, '') <> 'autovacuum worker'
    UNION ALL
    SELECT 'slot ' || quote_ident(slot_name)
             || CASE WHEN xmin IS NULL THEN ' (rows of the catalogs)' ELSE ' (hot_standby_feedback)' END,
           greatest(age(xmin), age(catalog_xmin))::bigint, NULL,
           CASE WHEN NOT active THEN 'SELECT pg_drop_replication_slot(' || quote_literal(slot_name) || ')'
                WHEN xmin IS NULL THEN '`dbctl health standby_lag` says how far behind its subscriber is'
                ELSE 'on the standby at slot ' || quote_ident(slot_name) || ': `dbctl health transactions`' END
      FROM pg_replication_slots
    UNION ALL
    SELECT 'prepared transaction ' || quote_literal(gid), age(transaction)::bigint, prepared,
           'ROLLBACK PREPARED ' || quote_literal(gid)
      FROM pg_prepared_xacts) AS held
 WHERE transactions IS NOT NULL
 ORDER BY transactions DESC
 LIMIT 1
"""


@check(profiles=("oncall", "deploy"), reads=("pg_stat_activity.state",), needs="pg_read_all_stats")
async def idle_in_transaction(look: Look) -> Findings:
    """Sessions that opened a transaction and do nothing: their locks and their snapshot stay.

    Mostly an application that waits for something else in the middle of a transaction, or lost its connection. Not who
    holds the snapshot of a backup while that is at work.
    """
    limits, activity = look.settings.transactions, await look.activity()
    meant = backups_at_work(activity)
    items = [
        Item(
            named(row),
            grade(row["state_seconds"], warning=limits.idle_warning, critical=limits.idle_critical),
            f"{row['state']} for {lasting(row['state_seconds'])}, last: {told(row)}",
            round(row["state_seconds"], 1),
            row["state_change"],
            fix=f"dbctl locks kill {row['pid']}; then ALTER ROLE … SET idle_in_transaction_session_timeout",
        )
        for row in _clients(activity)
        if (row["state"] or "").startswith("idle in transaction")
        and row["state_seconds"] is not None
        and row["pid"] not in meant
    ]
    return findings(
        items,
        ("session is idle in transaction", "sessions are idle in transaction"),
        otherwise=ok(f"no session is idle in transaction for {lasting(limits.idle_warning)}"),
        unit="s",
        warning=limits.idle_warning,
        critical=limits.idle_critical,
    )


@check(
    profiles=("oncall", "deploy"),
    reads=("pg_stat_activity.xact_start", "pg_stat_progress_create_index", "pg_stat_progress_vacuum"),
    needs="pg_read_all_stats",
)
async def long_transactions(look: Look) -> Findings:
    """Statements, and transactions at work, that have run for long; replication and autovacuum are meant to.

    A backup, and the building of an index or the like, are told only from `long_critical` on.
    """
    limits, activity = look.settings.transactions, await look.activity()
    meant = backups_at_work(activity) | {row["pid"] for row in await look.rows(_BUILDING)}
    items = [
        Item(
            named(row),
            grade(
                row["xact_seconds"],
                warning=limits.long_critical if row["pid"] in meant else limits.long_warning,
                critical=None if row["pid"] in meant else limits.long_critical,
            ),
            f"for {lasting(row['xact_seconds'])}: {told(row)}",
            round(row["xact_seconds"], 1),
            row["xact_start"],
            fix=f"dbctl locks kill {row['pid']}, which cancels the statement before it ends the session",
        )
        for row in _clients(activity)
        if row["state"] == "active" and row["xact_seconds"] is not None
    ]
    return findings(
        items,
        ("transaction is long at work", "transactions are long at work"),
        otherwise=ok(f"no statement or transaction runs for {lasting(limits.long_warning)}"),
        unit="s",
        warning=limits.long_warning,
        critical=limits.long_critical,
    )


@check(profiles=("oncall", "deploy"), reads=("pg_prepared_xacts", "max_prepared_transactions"))
async def prepared_transactions(look: Look) -> Findings:
    """Prepared transactions that nobody commits or rolls back: they hold their locks for ever, without a session."""
    limits = look.settings.transactions
    items = [
        Item(
            row["gid"],
            grade(row["seconds"], warning=limits.prepared_warning, critical=limits.prepared_critical),
            f"by {row['owner']} in {row['database']}, {lasting(row['seconds'])} ago",
            round(row["seconds"], 1),
            row["prepared"],
            fix=f"ROLLBACK PREPARED {row['quoted']}",
        )
        for row in await look.rows(_PREPARED)
    ]
    return findings(
        items,
        ("prepared transaction is left", "prepared transactions are left"),
        otherwise=ok("no prepared transaction is left"),
        unit="s",
        warning=limits.prepared_warning,
        critical=limits.prepared_critical,
    )


@check(
    profiles=("oncall", "deploy"),
    reads=("pg_stat_activity.backend_xmin", "pg_replication_slots.xmin", "pg_prepared_xacts"),
    needs="pg_read_all_stats",
)
async def xmin_horizon(look: Look) -> CheckResult:
    """How many transactions ago the oldest snapshot is that anybody holds: VACUUM removes no row that died since."""
    limits = look.settings.transactions
    held = await look.rows(_HOLDERS)
    if not held:
        return ok("nobody holds old rows", 0, unit="transactions", warning=limits.horizon_warning)
    oldest = held[0]
    return judged(
        oldest["transactions"],
        f"{oldest['holder']} keeps what died in the last {oldest['transactions']:,} transactions",
        warning=limits.horizon_warning,
        critical=limits.horizon_critical,
        unit="transactions",
        since=oldest["since"],
        objects=(oldest["holder"],),
        fix=oldest["fix"],
    )


def _clients(activity: Iterable[Row]) -> list[Row]:
    """Sessions of applications and people, the oldest transaction first."""
    return sorted((row for row in activity if row["kind"] == "client backend"), key=since)
