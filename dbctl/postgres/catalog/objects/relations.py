"""The queries for tables, views, sequences and columns: a JSON array each, parts of one question.

A thing is ``[catalog, oid, sub-id, kind, name, kind and name of what it belongs to, sql, owner, parts]``. No
percent sign and no parameter stands in a query, so that every driver sends it as it is.
"""

from __future__ import annotations

# What is neither PostgreSQL's, nor a session's own, nor made by us on scratch.
SCHEMAS = """
ns AS MATERIALIZED (
    SELECT oid, quote_ident(nspname) AS name FROM pg_namespace
     WHERE nspname !~ '^pg_' AND nspname NOT IN ('information_schema', 'dbctl_scratch')
)
"""
OWN = """NOT EXISTS (SELECT FROM pg_depend AS e
                      WHERE e.deptype = 'e' AND e.classid = {catalog}.tableoid AND e.objid = {catalog}.oid)"""
KIND = """CASE c.relkind WHEN 'r' THEN 'table' WHEN 'p' THEN 'table' WHEN 'v' THEN 'view' WHEN 'm' THEN 'materialized view'
             WHEN 'f' THEN 'foreign table' WHEN 'S' THEN 'sequence' WHEN 'c' THEN 'type' END"""
RELATION = f"""
relation AS MATERIALIZED (
    SELECT c.oid, c.tableoid, c.relkind, c.relname, ns.name || '.' || quote_ident(c.relname) AS name, {KIND} AS kind
      FROM pg_class AS c JOIN ns ON ns.oid = c.relnamespace
     WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S', 'c') AND c.relpersistence <> 't' AND {OWN.format(catalog="c")}
)
"""  # noqa: S608 - constants of ours

_MADE = """
CASE c.relkind
    WHEN 'v' THEN 'CREATE VIEW ' || r.name || ' AS ' || pg_get_viewdef(c.oid)
    WHEN 'm' THEN 'CREATE MATERIALIZED VIEW ' || r.name || ' AS ' || pg_get_viewdef(c.oid)
    WHEN 'f' THEN (SELECT concat_ws(' ', 'CREATE FOREIGN TABLE', r.name, 'SERVER', quote_ident(s.srvname),
                                    'OPTIONS ' || CAST(f.ftoptions AS text))
                     FROM pg_foreign_table AS f JOIN pg_foreign_server AS s ON s.oid = f.ftserver WHERE f.ftrelid = c.oid)
    ELSE concat_ws(' ', CASE c.relpersistence WHEN 'u' THEN 'CREATE UNLOGGED TABLE' ELSE 'CREATE TABLE' END, r.name,
        CASE WHEN c.reloftype <> 0 THEN 'OF ' || format_type(c.reloftype, NULL) END,
        (SELECT CASE WHEN c.relispartition THEN 'PARTITION OF ' ELSE 'INHERITS ' END
                || string_agg(CAST(CAST(i.inhparent AS regclass) AS text), ', ' ORDER BY i.inhseqno)
           FROM pg_inherits AS i WHERE i.inhrelid = c.oid),
        pg_get_expr(c.relpartbound, c.oid),
        CASE c.relkind WHEN 'p' THEN 'PARTITION BY ' || pg_get_partkeydef(c.oid) END)
END
"""
_ALTER = "'ALTER ' || upper(r.kind) || ' ' || r.name"
RELATIONS = f"""
SELECT json_agg(json_build_array(
    'pg_class', c.oid::int8, 0, r.kind, r.name, NULL, NULL, {_MADE}, pg_get_userbyid(c.relowner),
    json_build_object(
        'storage parameters', {_ALTER} || ' SET (' || array_to_string(c.reloptions, ', ') || ')',
        'TOAST storage parameters', (SELECT {_ALTER} || ' SET (toast.' || array_to_string(t.reloptions, ', toast.') || ')'
                                       FROM pg_class AS t WHERE t.oid = c.reltoastrelid AND t.reloptions IS NOT NULL),
        'tablespace', (SELECT {_ALTER} || ' SET TABLESPACE ' || quote_ident(s.spcname)
                         FROM pg_tablespace AS s WHERE s.oid = c.reltablespace),
        'access method', (SELECT {_ALTER} || ' SET ACCESS METHOD ' || quote_ident(m.amname)
                            FROM pg_am AS m WHERE m.oid = c.relam AND m.amname <> 'heap'),
        'replica identity', CASE WHEN c.relkind NOT IN ('r', 'p') THEN NULL WHEN c.relreplident = 'f' THEN {_ALTER} || ' REPLICA IDENTITY FULL'
                                 WHEN c.relreplident = 'n' THEN {_ALTER} || ' REPLICA IDENTITY NOTHING' END,
        'row security', CASE WHEN c.relrowsecurity THEN {_ALTER} || ' ENABLE ROW LEVEL SECURITY' END,
        'forced row security', CASE WHEN c.relforcerowsecurity THEN {_ALTER} || ' FORCE ROW LEVEL SECURITY' END,
        'contents', CASE WHEN NOT c.relispopulated THEN {_ALTER} || ' WITH NO DATA' END),
    CASE WHEN c.relkind IN ('r', 'p', 'f') THEN
        (SELECT json_agg(a.attname ORDER BY a.attnum) FROM pg_attribute AS a
          WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped) END
))
  FROM relation AS r JOIN pg_class AS c ON c.oid = r.oid
 WHERE r.relkind NOT IN ('S', 'c')
"""  # noqa: S608

# A sequence of an identity column is part of that column.
_SEQUENCE = """
concat_ws(' ', 'AS ' || format_type(s.seqtypid, NULL), 'START', s.seqstart, 'INCREMENT', s.seqincrement,
          'MINVALUE', s.seqmin, 'MAXVALUE', s.seqmax, 'CACHE', s.seqcache, CASE WHEN s.seqcycle THEN 'CYCLE' END)
"""
SEQUENCES = f"""
SELECT json_agg(json_build_array(
    'pg_class', r.oid::int8, 0, r.kind, r.name, NULL, NULL, 'CREATE SEQUENCE ' || r.name || ' ' || {_SEQUENCE},
    pg_get_userbyid(c.relowner),
    json_build_object(
        'persistence', CASE c.relpersistence WHEN 'u' THEN 'ALTER SEQUENCE ' || r.name || ' SET UNLOGGED' END,
        'owned by', (SELECT 'ALTER SEQUENCE ' || r.name || ' OWNED BY ' || CAST(d.refobjid::regclass AS text) || '.'
                            || quote_ident(a.attname)
                       FROM pg_depend AS d JOIN pg_attribute AS a ON (a.attrelid, a.attnum) = (d.refobjid, d.refobjsubid)
                      WHERE d.classid = r.tableoid AND d.objid = r.oid AND d.deptype = 'a' AND d.refclassid = r.tableoid))
))
  FROM relation AS r JOIN pg_class AS c ON c.oid = r.oid JOIN pg_sequence AS s ON s.seqrelid = r.oid
 WHERE NOT EXISTS (SELECT FROM pg_depend AS d
                    WHERE d.classid = r.tableoid AND d.objid = r.oid AND d.deptype = 'i')
"""  # noqa: S608

_TYPE = """
format_type(a.atttypid, a.atttypmod) || COALESCE((
    SELECT ' COLLATE ' || quote_ident(o.collname) FROM pg_collation AS o
     WHERE o.oid = a.attcollation AND a.attcollation <> t.typcollation), '')
"""
_COLUMN = "'ALTER ' || upper(r.kind) || ' ' || r.name || ' ALTER COLUMN ' || quote_ident(a.attname)"
_IDENTITY_SEQUENCE = f"""
COALESCE((SELECT ' (' || {_SEQUENCE} || ')'
            FROM pg_depend AS p JOIN pg_sequence AS s ON s.seqrelid = p.objid
           WHERE p.refclassid = r.tableoid AND p.refobjid = r.oid AND p.refobjsubid = a.attnum AND p.classid = r.tableoid
             AND p.deptype = 'i'), '')
"""  # noqa: S608
# PostgreSQL 15.20 keeps a number of its own there, another one for each column that is made.
_OPTIONS = (
    "(SELECT string_agg(o, ', ') FROM unnest(a.attoptions) AS o WHERE NOT starts_with(o, 'pg_attver='))"
)
# What a column inherits is said of its parent. `$…` differs between versions.
COLUMNS = f"""
SELECT json_agg(json_build_array(
    'pg_class', r.oid::int8, a.attnum, 'column', r.name || '.' || quote_ident(a.attname), r.kind, r.name,
    'ALTER ' || upper(r.kind) || ' ' || r.name || ' ADD COLUMN ' || quote_ident(a.attname) || ' ' || {_TYPE}, NULL,
    json_build_object(
        'type', CASE WHEN a.attislocal THEN {_COLUMN} || ' TYPE ' || {_TYPE} END,
        'not null', CASE WHEN a.attnotnull AND a.attislocal THEN {_COLUMN} || ' SET NOT NULL' END,
        'default', CASE WHEN a.attgenerated = '' THEN {_COLUMN} || ' SET DEFAULT ' || pg_get_expr(d.adbin, d.adrelid)
                        ELSE {_COLUMN} || ' ADD GENERATED ALWAYS AS (' || pg_get_expr(d.adbin, d.adrelid) || ')'
                             || CASE a.attgenerated WHEN 's' THEN ' STORED' ELSE ' VIRTUAL' END END,
        'identity', CASE WHEN a.attidentity <> '' THEN {_COLUMN} || ' ADD GENERATED '
                         || CASE a.attidentity WHEN 'a' THEN 'ALWAYS' ELSE 'BY DEFAULT' END || ' AS IDENTITY'
                         || {_IDENTITY_SEQUENCE} END,
        'storage', CASE WHEN a.attstorage <> t.typstorage THEN {_COLUMN} || ' SET STORAGE '
                        || CASE a.attstorage WHEN 'p' THEN 'PLAIN' WHEN 'e' THEN 'EXTERNAL' WHEN 'm' THEN 'MAIN'
                                             ELSE 'EXTENDED' END END,
        'compression', $compression,
        'statistics', CASE WHEN a.attstattarget >= 0 THEN {_COLUMN} || ' SET STATISTICS ' || a.attstattarget END,
        'options', {_COLUMN} || ' SET (' || {_OPTIONS} || ')',
        'foreign options', {_COLUMN} || ' OPTIONS (' || array_to_string(a.attfdwoptions, ', ') || ')')
))
  FROM relation AS r
  JOIN pg_attribute AS a ON a.attrelid = r.oid AND a.attnum > 0 AND NOT a.attisdropped
  JOIN pg_type AS t ON t.oid = a.atttypid
  LEFT JOIN pg_attrdef AS d ON (d.adrelid, d.adnum) = (a.attrelid, a.attnum)
 WHERE r.relkind IN ('r', 'p', 'f')
"""  # noqa: S608
COMPRESSION = f"""CASE a.attcompression WHEN 'p' THEN {_COLUMN} || ' SET COMPRESSION pglz'
                                         WHEN 'l' THEN {_COLUMN} || ' SET COMPRESSION lz4' END"""
# A view's columns have defaults, a composite type's comments; their names and types are in its definition.
OTHER_COLUMNS = f"""
SELECT json_agg(json_build_array(
    'pg_class', r.oid::int8, a.attnum, 'column', r.name || '.' || quote_ident(a.attname), r.kind, r.name,
    NULL, NULL,
    json_build_object(
        'default', {_COLUMN} || ' SET DEFAULT ' || pg_get_expr(d.adbin, d.adrelid),
        'statistics', CASE WHEN a.attstattarget >= 0 THEN {_COLUMN} || ' SET STATISTICS ' || a.attstattarget END)
))
  FROM relation AS r
  JOIN pg_attribute AS a ON a.attrelid = r.oid AND a.attnum > 0 AND NOT a.attisdropped
  LEFT JOIN pg_attrdef AS d ON (d.adrelid, d.adnum) = (a.attrelid, a.attnum)
 WHERE r.relkind IN ('v', 'm', 'c')
"""  # noqa: S608
