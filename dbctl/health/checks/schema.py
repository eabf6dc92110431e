"""The schema: what makes rows hard to find, hard to keep apart, or not there after a crash."""

from __future__ import annotations

from dbctl.health.look import Look, made_by
from dbctl.health.model import Findings, Item, Status
from dbctl.health.registry import check
from dbctl.health.results import findings, ok

# Tables that somebody made here: none of an extension's, none of the system's.
_OURS = """
    n.nspname NOT IN ('pg_catalog', 'information_schema') AND n.nspname !~ '^pg_(toast|temp)'
    AND NOT EXISTS (SELECT FROM pg_depend AS e
                     WHERE e.classid = 'pg_class'::regclass AND e.objid = c.oid AND e.deptype = 'e')
"""
_WITHOUT_KEY = f"""
SELECT c.oid::regclass::text AS name,
       EXISTS (SELECT FROM pg_publication_rel AS p WHERE p.prrelid = c.oid)
         OR EXISTS (SELECT FROM pg_publication AS p WHERE p.puballtables AND (p.pubupdate OR p.pubdelete)) AS published
  FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
 WHERE c.relkind IN ('r', 'p') AND NOT c.relispartition AND c.relpersistence = 'p' AND {_OURS}
   AND NOT EXISTS (SELECT FROM pg_constraint AS k WHERE k.conrelid = c.oid AND k.contype = 'p')
   AND NOT EXISTS (SELECT FROM pg_index AS x WHERE x.indrelid = c.oid AND x.indisreplident)
 ORDER BY published DESC, c.reltuples DESC, 1
"""  # noqa: S608 - a constant
# conenforced is new in 18: what is not enforced is not validated either, and is meant so.
_NOT_VALID = """
SELECT k.conrelid::regclass::text AS "table", quote_ident(k.conname) AS name, k.conname::text AS bare
  FROM pg_constraint AS k
 WHERE NOT k.convalidated AND k.conparentid = 0 AND k.conrelid <> 0
   AND coalesce((to_jsonb(k) ->> 'conenforced')::bool, true)
 ORDER BY 1, 2
"""
_DISABLED = """
SELECT t.tgrelid::regclass::text AS "table", min(quote_ident(t.tgname)) AS trigger, count(*)::int AS triggers,
       bool_or(t.tgisinternal) AS internal, quote_ident(k.conname) AS "constraint"
  FROM pg_trigger AS t LEFT JOIN pg_constraint AS k ON k.oid = t.tgconstraint
 WHERE t.tgenabled = 'D' AND t.tgparentid = 0
 GROUP BY t.tgrelid, k.conname, CASE WHEN t.tgisinternal THEN 0 ELSE t.oid END
 ORDER BY 1, 2
"""
_UNLOGGED = f"""
SELECT c.oid::regclass::text AS name
  FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
 WHERE c.relkind IN ('r', 'p') AND c.relpersistence = 'u' AND {_OURS}
 ORDER BY c.reltuples DESC, 1
"""  # noqa: S608 - a constant
_MISMATCHED = """
SELECT k.conrelid::regclass::text AS "table", quote_ident(k.conname) AS name,
       quote_ident(a.attname) AS "column", format_type(a.atttypid, NULL) AS "type",
       k.confrelid::regclass::text || '.' || quote_ident(b.attname) AS target, format_type(b.atttypid, NULL) AS target_type
  FROM pg_constraint AS k
 CROSS JOIN LATERAL unnest(k.conkey, k.confkey) AS pair(ours, theirs)
  JOIN pg_attribute AS a ON a.attrelid = k.conrelid AND a.attnum = pair.ours
  JOIN pg_attribute AS b ON b.attrelid = k.confrelid AND b.attnum = pair.theirs
 WHERE k.contype = 'f' AND k.conparentid = 0 AND a.atttypid <> b.atttypid
 ORDER BY 1, 2
"""
_STRAY = """
SELECT p.partrelid::regclass::text AS "table", d.oid::regclass::text AS name,
       greatest(d.reltuples, pg_stat_get_live_tuples(d.oid))::bigint AS "rows"
  FROM pg_partitioned_table AS p JOIN pg_class AS d ON d.oid = p.partdefid
 WHERE greatest(d.reltuples, pg_stat_get_live_tuples(d.oid)) > 0
 ORDER BY 3 DESC, 1
"""


@check(reads=("pg_class", "pg_constraint"), scope="database")
async def primary_keys(look: Look) -> Findings:
    """Tables without a primary key: no row can be named, and no update or delete of them can be replicated."""
    items = [
        Item(
            row["name"],
            Status.WARNING,
            "its updates and deletes fail, as it is published" if row["published"] else "",
            fix=f"ALTER TABLE {row['name']} ADD COLUMN id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY"
            " rewrites it; on a large table build a UNIQUE index CONCURRENTLY on a column that is NOT NULL,"
            " then ADD PRIMARY KEY USING INDEX",
        )
        for row in await look.rows(_WITHOUT_KEY)
    ]
    return findings(
        items,
        ("table has no primary key", "tables have no primary key"),
        otherwise=ok("every table has a primary key"),
    )


@check(profiles=("oncall", "deploy"), reads=("pg_constraint.convalidated",), scope="database")
async def constraints_not_valid(look: Look) -> Findings:
    """Constraints that were added NOT VALID and never validated: old rows may break them, and no plan relies on them.

    What is NOT ENFORCED (18) is meant so, and is no finding.
    """
    items = [
        Item(
            f"{row['name']} on {row['table']}",
            Status.WARNING,
            made_by(look, row["bare"]).strip(),
            fix=f"ALTER TABLE {row['table']} VALIDATE CONSTRAINT {row['name']}",
        )
        for row in await look.rows(_NOT_VALID)
    ]
    return findings(
        items,
        ("constraint is NOT VALID", "constraints are NOT VALID"),
        otherwise=ok("every constraint is validated"),
    )


@check(reads=("pg_trigger.tgenabled",), scope="database")
async def disabled_triggers(look: Look) -> Findings:
    """Triggers that were switched off; those behind a foreign key let rows in that refer to nothing."""
    items = [
        Item(
            f"{row['constraint'] if row['internal'] and row['constraint'] else row['trigger']} on {row['table']}",
            Status.CRITICAL if row["internal"] else Status.WARNING,
            "its foreign key is not checked" if row["internal"] else "",
            fix=f"ALTER TABLE {row['table']} ENABLE TRIGGER {'ALL' if row['internal'] else row['trigger']}"
            + ("; then look for rows that refer to nothing" if row["internal"] else ""),
        )
        for row in await look.rows(_DISABLED)
    ]
    return findings(
        items,
        ("trigger is disabled", "triggers are disabled"),
        otherwise=ok("no trigger is disabled"),
    )


@check(reads=("pg_class.relpersistence",), scope="database")
async def unlogged_tables(look: Look) -> Findings:
    """Unlogged tables: empty after a crash, and on no standby and in no base backup."""
    items = [
        Item(row["name"], Status.WARNING, fix=f"ALTER TABLE {row['name']} SET LOGGED")
        for row in await look.rows(_UNLOGGED)
    ]
    return findings(
        items,
        ("table is unlogged: a crash empties it", "tables are unlogged: a crash empties them"),
        otherwise=ok("no table is unlogged"),
    )


@check(reads=("pg_constraint", "pg_attribute.atttypid"), scope="database")
async def foreign_key_types(look: Look) -> Findings:
    """Foreign keys whose column has another type than what it refers to: an integer that follows a bigint overflows."""
    items = [
        Item(
            f"{row['name']} on {row['table']}",
            Status.WARNING,
            f"{row['column']} is {row['type']}, {row['target']} is {row['target_type']}",
            fix=f"make {row['table']}.{row['column']} {row['target_type']} in a migration",
        )
        for row in await look.rows(_MISMATCHED)
    ]
    return findings(
        items,
        ("foreign key joins two types", "foreign keys join two types"),
        otherwise=ok("the columns of every foreign key have one type"),
    )


@check(reads=("pg_partitioned_table.partdefid", "pg_stat_get_live_tuples()"), scope="database")
async def default_partitions(look: Look) -> Findings:
    """Rows in a DEFAULT partition: those for which nobody made a partition in time, and which now block making it."""
    items = [
        Item(
            row["name"],
            Status.WARNING,
            f"about {row['rows']:,} rows of {row['table']}",
            row["rows"],
            fix=f"make the partitions of {row['table']} that they belong to, and move them",
        )
        for row in await look.rows(_STRAY)
    ]
    return findings(
        items,
        ("default partition holds rows", "default partitions hold rows"),
        otherwise=ok("no default partition holds rows"),
        unit="rows",
    )
