"""Partitions by time: is the next one there before the last one ends."""

from __future__ import annotations

from dbctl.health.look import Look
from dbctl.health.model import CheckResult, Findings, Item, Status
from dbctl.health.registry import check
from dbctl.health.results import findings, ok, skipped
from dbctl.health.samples import Row
from dbctl.health.words import lasting

# Ranges over one column that is a date or a time. The bound is printed from the catalog alone: without the relation's
# number, no table is opened for it. What is made next is as wide as the last one, of months if that is of whole months.
_RANGES = """
SELECT p.partrelid::regclass::text AS name, p.partdefid <> 0 AS has_default, b.endless, b.upper::timestamptz AS last,
       extract(epoch FROM b.upper::timestamptz - now())::float8 AS left_seconds,
       extract(epoch FROM b.upper::timestamptz - b.lower::timestamptz)::float8 AS width_seconds,
       format('CREATE TABLE %I.%I PARTITION OF %s FOR VALUES FROM (%L) TO (%L)', n.nspname,
              c.relname || coalesce(to_char(b.upper::timestamp, '_YYYYMMDD'), ''), p.partrelid::regclass, b.upper,
              CASE a.atttypid WHEN 'date'::regtype THEN u.until::date::text
                              WHEN 'timestamptz'::regtype THEN u.until::timestamptz::text ELSE u.until::text END) AS fix
  FROM pg_partitioned_table AS p
  JOIN pg_class AS c ON c.oid = p.partrelid
  JOIN pg_namespace AS n ON n.oid = c.relnamespace
  JOIN pg_attribute AS a ON a.attrelid = p.partrelid AND a.attnum = p.partattrs[0]
 CROSS JOIN LATERAL (
       SELECT (array_agg(r.upper ORDER BY r.upper::timestamptz DESC NULLS LAST))[1] AS upper,
              (array_agg(r.lower ORDER BY r.upper::timestamptz DESC NULLS LAST))[1] AS lower,
              bool_or(r.endless) AS endless
         FROM (SELECT nullif(substring(e.bound FROM 'TO \\(''([^'']+)''\\)$'), 'infinity') AS upper,
                      nullif(substring(e.bound FROM 'FROM \\(''([^'']+)''\\)'), '-infinity') AS lower,
                      e.bound LIKE ANY (ARRAY['%TO (MAXVALUE)', '%TO (''infinity'')']) AS endless
                 FROM pg_inherits AS i
                 JOIN pg_class AS c ON c.oid = i.inhrelid
                CROSS JOIN LATERAL (SELECT pg_get_expr(c.relpartbound, 0) AS bound) AS e
                WHERE i.inhparent = p.partrelid) AS r) AS b
 CROSS JOIN LATERAL (
       SELECT b.upper::timestamp AS til, coalesce(b.lower::timestamp, b.upper::timestamp - interval '1 month') AS since) AS t
 CROSS JOIN LATERAL (
       SELECT t.til + CASE WHEN date_trunc('month', t.til) = t.til AND date_trunc('month', t.since) = t.since
                           THEN age(t.til, t.since) ELSE t.til - t.since END AS until) AS u
 WHERE p.partstrat = 'r' AND p.partnatts = 1
   AND a.atttypid IN ('date'::regtype, 'timestamp'::regtype, 'timestamptz'::regtype)
   AND (b.upper IS NOT NULL OR b.endless)
 ORDER BY 4, 1
"""


@check(reads=("pg_partitioned_table", "pg_class.relpartbound"), scope="database", where="primary")
async def partitions_ahead(look: Look) -> CheckResult | Findings:
    """Tables partitioned by time whose last partition ends soon: from that moment on every INSERT fails.

    Or fills the DEFAULT partition, which then stands in the way of the right one. A table whose last one ended long ago
    is taken to be written no more.
    """
    limits, rows = look.settings.partitions, await look.rows(_RANGES)
    if not rows:
        return skipped("no table is partitioned by time")
    items = [
        Item(
            row["name"],
            _status(row),
            _note(row),
            round(row["left_seconds"]),
            row["last"] if row["left_seconds"] <= 0 else None,
            fix=row["fix"],
        )
        for row in rows
        if not row["endless"] and -limits.retired <= row["left_seconds"] < _ahead(row, limits.ahead)
    ]
    return findings(
        items,
        ("table runs out of partitions", "tables run out of partitions"),
        otherwise=ok(f"{len(rows):,} tables have partitions for {lasting(limits.ahead)} to come"),
        unit="s",
        warning=limits.ahead,
        critical=0,
    )


def _ahead(row: Row, seconds: float) -> float:
    """Who makes a partition a day has the next one there a day before, not a week."""
    return min(seconds, row["width_seconds"] or seconds)


def _status(row: Row) -> Status:
    return Status.CRITICAL if row["left_seconds"] <= 0 and not row["has_default"] else Status.WARNING


def _note(row: Row) -> str:
    where = "go to the DEFAULT partition" if row["has_default"] else "fail"
    if row["left_seconds"] <= 0:
        return f"the last one ended {lasting(-row['left_seconds'])} ago: rows {where}"
    return f"the last one ends in {lasting(row['left_seconds'])}: then rows {where}"
