"""Subscriptions: whether what was published arrives here, is applied, and all tables are copied."""

from __future__ import annotations

from dbctl.health.look import Look
from dbctl.health.model import CheckResult, Findings, Item, Status
from dbctl.health.registry import check
from dbctl.health.results import findings, grade, not_enough_data, ok, skipped
from dbctl.health.samples import Row
from dbctl.health.streaming import receiver_limit
from dbctl.health.words import counted, lasting

# pg_stat_subscription has a row for each table that is being copied (relid), and from 16 on for parallel workers.
_SUBSCRIPTIONS = """
SELECT format('%s in %s', quote_ident(s.subname), quote_ident(d.datname)) AS name, quote_ident(s.subname) AS quoted,
       quote_ident(d.datname) AS database, s.subenabled AS enabled, w.pid, w.last_msg_receipt_time AS heard_at,
       extract(epoch FROM clock_timestamp() - w.last_msg_receipt_time)::float8 AS silent_seconds
  FROM pg_subscription AS s JOIN pg_database AS d ON d.oid = s.subdbid
       LEFT JOIN pg_stat_subscription AS w
         ON w.subid = s.oid AND w.relid IS NULL AND (to_jsonb(w) ->> 'leader_pid') IS NULL
 ORDER BY 1
"""
_ERRORS = """
SELECT format('%s in %s', quote_ident(s.subname), quote_ident(d.datname)) AS name, quote_ident(s.subname) AS quoted,
       quote_ident(d.datname) AS database, e.*
  FROM pg_stat_subscription_stats AS e JOIN pg_subscription AS s ON s.oid = e.subid
       JOIN pg_database AS d ON d.oid = s.subdbid
"""
_TABLES = """
SELECT r.srrelid::regclass::text AS name, r.srsubstate::text AS state, quote_ident(s.subname) AS subscription,
       EXISTS (SELECT FROM pg_stat_subscription AS w WHERE w.subid = s.oid AND w.relid = r.srrelid AND w.pid IS NOT NULL)
         AS working,
       (SELECT count(*) FROM pg_stat_subscription AS w WHERE w.subid = s.oid AND w.relid IS NOT NULL AND w.pid IS NOT NULL)
         AS workers
  FROM pg_subscription_rel AS r JOIN pg_subscription AS s ON s.oid = r.srsubid
 WHERE r.srsubstate <> 'r'
 ORDER BY 1
"""
_STATES = {
    "i": "not begun",
    "d": "being copied",
    "f": "copied, not yet caught up",
    "s": "caught up, not yet joined",
}
_OURS = "SELECT count(*) AS number FROM pg_subscription_rel"


@check(
    profiles=("oncall", "deploy"),
    reads=("pg_subscription.subenabled", "pg_stat_subscription"),
    where="primary",
)
async def subscription_workers(look: Look) -> Findings | CheckResult:
    """Subscriptions that are switched off, whose worker does not run, or that took nothing from the publisher for long.

    A worker that meets an error ends, and begins again five seconds later, for ever; one that waits for a lock takes nothing.
    The publisher keeps its log for either, and how much that is its own `dbctl health standby_lag` tells.
    """
    found = await look.rows(_SUBSCRIPTIONS)
    if not found:
        return skipped("this server subscribes to nothing")
    limit = await receiver_limit(look)
    waiting = frozenset(row["pid"] for row in await look.activity() if row["wait_event_type"] == "Lock")
    return findings(
        [_state(row, row["pid"] in waiting, look, limit) for row in found],
        ("subscription does not run as it should", "subscriptions do not run as they should"),
        otherwise=ok(f"{counted(len(found), ('subscription', 'subscriptions'))}, all at work", len(found)),
        unit="s",
        warning=look.settings.replication.silent_warning,
    )


@check(
    profiles=("oncall", "deploy"),
    reads=("pg_stat_subscription_stats",),
    since=150000,
    where="primary",
    delta=True,
)
async def subscription_errors(look: Look) -> Findings | CheckResult:
    """Errors, and from 18 on conflicts, that subscriptions met between two samples: a row that is there already, a table
    or a column that is not. The same change is tried again and again, and nothing after it is applied.
    """
    if not await look.rows(_SUBSCRIPTIONS):
        return skipped("this server subscribes to nothing")
    moved = await look.change(_ERRORS, ("name", "quoted", "database"))
    if moved is None:
        return not_enough_data()
    items = []
    for one in moved:
        failed = {name: one.delta(name) or 0 for name in ("apply_error_count", "sync_error_count")}
        conflicts = {name: one.delta(name) or 0 for name in one.now if name.startswith("confl_")}
        total = sum(failed.values())
        if not total and not any(conflicts.values()):
            continue
        said = [
            f"{number:.0f} x {name.removesuffix('_count').replace('_', ' ')}"
            for name, number in {**failed, **conflicts}.items()
            if number
        ]
        items.append(
            Item(
                one.now["name"],
                Status.CRITICAL if total else Status.WARNING,
                f"{', '.join(said)} in {lasting(one.seconds)}",
                total,
                fix="this server's log names the row: mend it or, with the LSN from there, in database "
                f"{one.now['database']}: ALTER SUBSCRIPTION {one.now['quoted']} SKIP (lsn = '…')",
            )
        )
    return findings(
        items,
        ("subscription meets errors", "subscriptions meet errors"),
        otherwise=ok("no subscription met an error", 0),
    )


@check(reads=("pg_subscription_rel.srsubstate", "pg_stat_subscription"), where="primary", scope="database")
async def subscribed_tables(look: Look) -> Findings | CheckResult:
    """Tables whose first copy is not done and at which nobody works: they show part of the rows, or none, and stay so."""
    number = (await look.one(_OURS))["number"]
    if not number:
        return skipped("no table of this database is subscribed to")
    waiting = await look.rows(_TABLES)
    items = [
        Item(
            row["name"],
            Status.WARNING,
            f"{_STATES.get(row['state'], row['state'])}, subscription {row['subscription']}",
            fix=f"this server's log says why; then ALTER SUBSCRIPTION {row['subscription']} REFRESH PUBLICATION",
        )
        for row in waiting
        # Only so many are copied at once: the others wait for their turn.
        if not row["working"] and not row["workers"]
    ]
    copying = f", {len(waiting)} still being copied" if waiting else ""
    return findings(
        items,
        ("table is not copied", "tables are not copied"),
        otherwise=ok(f"{counted(number, ('table', 'tables'))} subscribed to{copying}", number),
    )


def _state(row: Row, blocked: bool, look: Look, limit: float | None) -> Item:
    there = f"in database {row['database']}: "
    if not row["enabled"]:
        fix = f"{there}ALTER SUBSCRIPTION {row['quoted']} ENABLE"
        return Item(row["name"], Status.WARNING, "disabled", fix=fix)
    if row["pid"] is None:
        fix = "this server's log says why it ends; `dbctl health subscription_errors --sample 10s` whether it goes on"
        return Item(row["name"], Status.CRITICAL, "no worker runs", fix=fix)
    silent = row["silent_seconds"] or 0.0
    # Who waits for a lock does not ask whether the publisher is still there.
    allowed = look.settings.replication.silent_warning if blocked else limit
    fix = (
        "`dbctl locks` names whom it waits for"
        if blocked
        else "see whether the publisher answers, and the network to it"
    )
    note = f"took nothing for {lasting(silent)}{', as it waits for a lock' if blocked else ''}"
    return Item(row["name"], grade(silent, warning=allowed), note, round(silent, 1), row["heard_at"], fix)
