"""Bloat: room in files that no row fills, which every scan reads and every cache holds."""

from __future__ import annotations

from collections.abc import Sequence

from dbctl.health.look import Look
from dbctl.health.model import CheckResult, Findings, Item, Status
from dbctl.health.registry import check
from dbctl.health.results import findings, ok, skipped, unknown
from dbctl.health.samples import Row
from dbctl.health.words import sized

# By the planner's statistics, as measuring it means reading the file: rows times their width, headers and alignment
# included, against the pages that VACUUM or ANALYZE last counted. No file is opened, so that nothing is locked.
_TABLES = """
SELECT c.oid::regclass::text AS name, c.relpages * b.size AS size_bytes, w.width IS NOT NULL AS known,
       greatest(c.relpages * b.size - ceil(c.reltuples * (28 + w.width) / (b.size - 24)) * b.size / b.filled, 0)::bigint
         AS wasted_bytes
  FROM pg_class AS c
 CROSS JOIN LATERAL (
       SELECT current_setting('block_size')::float8 AS size,
              coalesce((SELECT o.option_value FROM pg_options_to_table(c.reloptions) AS o
                         WHERE o.option_name = 'fillfactor')::float8, 100) / 100 AS filled) AS b
 CROSS JOIN LATERAL (
       SELECT ceil(sum((1 - s.null_frac) * s.avg_width) / 8) * 8 AS width
         FROM pg_stats AS s, pg_namespace AS n
        WHERE n.oid = c.relnamespace AND s.schemaname = n.nspname AND s.tablename = c.relname AND NOT s.inherited) AS w
 WHERE c.relkind IN ('r', 'm') AND c.reltuples >= 0 AND c.relpages * b.size >= :bytes
 ORDER BY 4 DESC, 1
"""
_INDEXES = """
SELECT c.oid::regclass::text AS name, c.relpages * b.size AS size_bytes, w.width IS NOT NULL AS known,
       greatest(c.relpages * b.size - ceil(c.reltuples * (16 + w.width) / (b.size - 40)) * b.size / 0.9, 0)::bigint
         AS wasted_bytes
  FROM pg_class AS c
  JOIN pg_index AS x ON x.indexrelid = c.oid
  JOIN pg_class AS t ON t.oid = x.indrelid
  JOIN pg_namespace AS n ON n.oid = t.relnamespace
  JOIN pg_am AS m ON m.oid = c.relam AND m.amname = 'btree'
 CROSS JOIN LATERAL (SELECT current_setting('block_size')::float8 AS size) AS b
 LEFT JOIN LATERAL (
       SELECT ceil(sum((1 - s.null_frac) * s.avg_width) / 8) * 8 AS width
         FROM pg_attribute AS a
         JOIN pg_stats AS s ON s.schemaname = n.nspname AND NOT s.inherited
                           AND ((s.tablename = t.relname AND s.attname = a.attname AND a.attrelid = t.oid)
                                OR (s.tablename = c.relname AND s.attname = a.attname AND a.attrelid = c.oid))
        WHERE (a.attrelid = t.oid AND a.attnum = ANY (x.indkey::int2[])) OR a.attrelid = c.oid
       HAVING count(*) >= x.indnkeyatts) AS w ON true
 WHERE c.relkind = 'i' AND x.indisvalid AND c.reltuples >= 0 AND c.relpages * b.size >= :bytes
 ORDER BY 4 DESC, 1
"""


@check(
    reads=("pg_class.relpages", "pg_stats"), scope="database", grants=("GRANT pg_read_all_data TO {role}",)
)
async def bloated_tables(look: Look) -> CheckResult | Findings:
    """Large tables most of whose pages hold no rows, an estimate: deletes left them, and only a rewrite gives them back."""
    rows = await look.rows(_TABLES, bytes=look.settings.bloat.bytes)
    return _judge(
        look,
        rows,
        ("table is mostly empty", "tables are mostly empty"),
        "pg_repack or VACUUM (FULL, ANALYZE) {}: the second locks it",
    )


@check(
    reads=("pg_class.relpages", "pg_stats"), scope="database", grants=("GRANT pg_read_all_data TO {role}",)
)
async def bloated_indexes(look: Look) -> CheckResult | Findings:
    """Large B-tree indexes most of whose pages hold no entries, an estimate."""
    rows = await look.rows(_INDEXES, bytes=look.settings.bloat.bytes)
    return _judge(
        look, rows, ("index is mostly empty", "indexes are mostly empty"), "REINDEX INDEX CONCURRENTLY {}"
    )


def _judge(look: Look, rows: Sequence[Row], kind: tuple[str, str], fix: str) -> CheckResult | Findings:
    """The objects with enough wasted room; nothing is said of those whose statistics our role may not read."""
    limits = look.settings.bloat
    wasted = [
        Item(
            row["name"],
            Status.WARNING,
            f"about {sized(row['wasted_bytes'])} of {sized(row['size_bytes'])}",
            row["wasted_bytes"],
            fix=fix.format(row["name"]),
        )
        for row in rows
        if row["known"] and row["wasted_bytes"] >= max(limits.bytes, limits.share * row["size_bytes"])
    ]
    hidden = [row["name"] for row in rows if not row["known"]]
    otherwise = ok(f"none of {len(rows)} large ones is mostly empty") if rows else skipped("none is large")
    if hidden:
        fix = f"ANALYZE; or GRANT pg_read_all_data TO {look.server.quoted_role}"
        otherwise = unknown(
            f"{len(hidden)} have no statistics that we may read", objects=tuple(hidden), fix=fix
        )
    return findings(wasted, kind, otherwise=otherwise, unit="bytes", warning=limits.bytes)
