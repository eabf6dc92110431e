"""The queries behind `read`: one row with one JSON document each, so that every driver reads them alike."""

from __future__ import annotations

from dataclasses import dataclass

# FirstNormalObjectId: what has a smaller oid was there from initdb on.
FIRST_OID = 16384

# What users made: no TOAST tables, whose schema has this oid.
_IS_RELATION = f"""
c.oid >= {FIRST_OID} AND c.relkind IN ('r', 'p', 'v', 'm', 'S', 'i', 'I', 'f') AND c.relnamespace <> 99
"""
RELATIONS = f"""
SELECT json_agg(json_build_array(
    c.oid::int8, n.nspname, c.relname, c.relkind, c.relfilenode::int8, i.indrelid::int8, c.relpersistence
))::text
FROM pg_class c
JOIN pg_namespace n ON n.oid = c.relnamespace
LEFT JOIN pg_index i ON i.indexrelid = c.oid
WHERE {_IS_RELATION}
"""  # noqa: S608 - constants of ours
COUNT_RELATIONS = f"SELECT count(*) FROM pg_class c WHERE {_IS_RELATION} AND c.relpersistence <> 't'"  # noqa: S608


@dataclass(frozen=True, slots=True)
class Part:
    """Something told of a table ``c`` (a row of pg_class): an SQL expression, worth its cost only ``when`` another holds."""

    key: str
    sql: str
    when: str = "true"
    otherwise: str = "'[]'::json"


# pg_partition_tree() would keep its locks. Of what references a table, only pg_depend has an index.
PARTS = (
    Part(
        "columns",
        """COALESCE((
            SELECT json_agg(json_build_array(
                a.attnum, a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull,
                pg_get_expr(d.adbin, d.adrelid), a.attgenerated, a.attidentity <> '',
                t.typtype = 'd' AND (t.typnotnull OR EXISTS (
                    SELECT FROM pg_constraint k WHERE k.contypid IN (t.oid, t.typbasetype)
                ))
            ) ORDER BY a.attnum)
            FROM pg_attribute a
            JOIN pg_type t ON t.oid = a.atttypid
            LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
            WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
        ), '[]')""",
    ),
    Part(
        "constraints",
        """COALESCE((
            SELECT json_agg(json_build_array(
                k.conname, k.contype, k.conkey, pg_get_constraintdef(k.oid), k.convalidated, k.condeferrable,
                k.condeferred,
                (SELECT json_build_array(pn.nspname, p.relname)
                 FROM pg_class p JOIN pg_namespace pn ON pn.oid = p.relnamespace WHERE p.oid = k.confrelid),
                (SELECT json_agg(a.attname ORDER BY u.place)
                 FROM unnest(k.confkey) WITH ORDINALITY u (number, place)
                 JOIN pg_attribute a ON a.attrelid = k.confrelid AND a.attnum = u.number),
                (SELECT ic.relname FROM pg_class ic WHERE ic.oid = k.conindid AND k.contype <> 'f')
            ) ORDER BY k.conname)
            FROM pg_constraint k
            WHERE k.conrelid = c.oid AND k.contype IN ('c', 'f', 'p', 'u', 'x', 'n')
        ), '[]')""",
    ),
    Part(
        "indexes",
        """COALESCE((
            SELECT json_agg(json_build_array(
                ic.relname, i.indkey::int2[], i.indnkeyatts, i.indisunique, i.indisprimary, i.indisvalid,
                i.indpred IS NOT NULL, i.indisreplident, am.amname, pg_get_indexdef(i.indexrelid)
            ) ORDER BY ic.relname)
            FROM pg_index i
            JOIN pg_class ic ON ic.oid = i.indexrelid
            JOIN pg_am am ON am.oid = ic.relam
            WHERE i.indrelid = c.oid
        ), '[]')""",
        when="c.relhasindex",
    ),
    Part(
        "references",
        """COALESCE((
            SELECT json_agg(json_build_array(
                k.conname,
                (SELECT json_build_array(pn.nspname, p.relname)
                 FROM pg_class p JOIN pg_namespace pn ON pn.oid = p.relnamespace WHERE p.oid = k.conrelid),
                (SELECT json_agg(a.attname ORDER BY u.place)
                 FROM unnest(k.conkey) WITH ORDINALITY u (number, place)
                 JOIN pg_attribute a ON a.attrelid = k.conrelid AND a.attnum = u.number),
                pg_get_constraintdef(k.oid), k.convalidated, k.condeferrable, k.condeferred, k.confkey
            ) ORDER BY k.conname)
            FROM pg_constraint k
            WHERE k.confrelid = c.oid AND k.contype = 'f' AND k.oid IN (
                SELECT d.objid FROM pg_depend d
                WHERE d.refclassid = 'pg_class'::regclass AND d.refobjid = c.oid
                  AND d.classid = 'pg_constraint'::regclass
            )
        ), '[]')""",
    ),
    Part(
        "views",
        """COALESCE((
            SELECT json_agg(json_build_array(d.refobjsubid, vn.nspname, v.relname) ORDER BY vn.nspname, v.relname)
            FROM pg_depend d
            JOIN pg_rewrite r ON r.oid = d.objid
            JOIN pg_class v ON v.oid = r.ev_class
            JOIN pg_namespace vn ON vn.oid = v.relnamespace
            WHERE d.refclassid = 'pg_class'::regclass AND d.refobjid = c.oid AND d.refobjsubid > 0
              AND d.classid = 'pg_rewrite'::regclass AND r.ev_class <> c.oid
        ), '[]')""",
    ),
    Part(
        "triggers",
        """COALESCE((
            SELECT json_agg(t.tgname ORDER BY t.tgname)
            FROM pg_trigger t WHERE t.tgrelid = c.oid AND NOT t.tgisinternal
        ), '[]')""",
        when="c.relhastriggers",
    ),
    Part(
        "policies",
        """COALESCE((
            SELECT json_agg(p.polname ORDER BY p.polname) FROM pg_policy p WHERE p.polrelid = c.oid
        ), '[]')""",
    ),
    Part(
        "publications",
        """COALESCE((
            SELECT json_agg(p.pubname ORDER BY p.pubname)
            FROM pg_publication p
            WHERE c.relkind IN ('r', 'p') AND (
                p.puballtables
                OR EXISTS (SELECT FROM pg_publication_rel r WHERE r.prpubid = p.oid AND r.prrelid = c.oid)
                OR EXISTS (SELECT FROM pg_get_publication_tables(p.pubname) g WHERE g.relid = c.oid)
            )
        ), '[]')""",
    ),
    Part(
        "partition_of",
        """(
            SELECT json_build_array(pn.nspname, p.relname)
            FROM pg_inherits h
            JOIN pg_class p ON p.oid = h.inhparent
            JOIN pg_namespace pn ON pn.oid = p.relnamespace
            WHERE h.inhrelid = c.oid
        )""",
        when="c.relispartition",
        otherwise="NULL::json",
    ),
    Part(
        "partitions",
        """COALESCE((
            SELECT json_agg(json_build_array(pn.nspname, p.relname) ORDER BY pn.nspname, p.relname)
            FROM pg_inherits h
            JOIN pg_class p ON p.oid = h.inhrelid
            JOIN pg_namespace pn ON pn.oid = p.relnamespace
            WHERE h.inhparent = c.oid
        ), '[]')""",
        when="c.relkind = 'p'",
    ),
    Part(
        "default_partition",
        """(
            SELECT json_build_array(pn.nspname, p.relname)
            FROM pg_partitioned_table pt
            JOIN pg_class p ON p.oid = pt.partdefid
            JOIN pg_namespace pn ON pn.oid = p.relnamespace
            WHERE pt.partrelid = c.oid
        )""",
        when="c.relkind = 'p'",
        otherwise="NULL::json",
    ),
    Part(
        "has_rows",
        """EXISTS (
            WITH RECURSIVE part (oid) AS (
                SELECT h.inhrelid FROM pg_inherits h WHERE h.inhparent = c.oid
                UNION ALL
                SELECT h.inhrelid FROM part JOIN pg_inherits h ON h.inhparent = part.oid
            )
            SELECT FROM part WHERE pg_relation_size(part.oid) > 0
        )""",
        when="c.relkind = 'p'",
        otherwise="c.relkind IN ('r', 'm') AND pg_relation_size(c.oid) > 0",
    ),
)
FLAGS = """json_build_object(
    'oid', c.oid::int8, 'schema', c.nspname, 'name', c.relname, 'kind', c.relkind,
    'replica_identity', c.relreplident, 'row_security', c.relrowsecurity
)"""
# `{oids}` is an SQL expression of type oid[].
TABLE_ROWS = """
SELECT r.*, n.nspname
FROM pg_class r
JOIN pg_namespace n ON n.oid = r.relnamespace
WHERE r.oid = ANY ({oids}) AND r.relkind IN ('r', 'p', 'v', 'm', 'f')
"""
_VALUES = ", ".join(f"CASE WHEN {part.when} THEN {part.sql} ELSE {part.otherwise} END" for part in PARTS)
# A pair for each table: what its row in pg_class says, and the parts in their order.
TABLES = (
    f"SELECT json_agg(json_build_array({FLAGS}, json_build_array({_VALUES})))::text FROM ({TABLE_ROWS}) c"  # noqa: S608
)
