"""The queries for what belongs to tables: constraints, indexes, triggers, rules, policies, statistics."""

from __future__ import annotations

from dbctl.postgres.catalog.objects.relations import OWN

# NOT NULL is said of its column, unless it is not validated; what is inherited is said of the parent.
CONSTRAINTS = """
SELECT json_agg(json_build_array(
    'pg_constraint', k.oid::int8, 0, 'constraint', quote_ident(k.conname) || ' ON ' || r.name, r.kind, r.name,
    'ALTER ' || upper(r.kind) || ' ' || r.name || ' ADD CONSTRAINT ' || quote_ident(k.conname) || ' ' || pg_get_constraintdef(k.oid),
    NULL,
    json_build_object(
        'clustering', CASE WHEN i.indisclustered THEN 'ALTER TABLE ' || r.name || ' CLUSTER ON ' || quote_ident(k.conname) END,
        'replica identity', CASE WHEN i.indisreplident
            THEN 'ALTER TABLE ' || r.name || ' REPLICA IDENTITY USING INDEX ' || quote_ident(k.conname) END,
        'tablespace', (SELECT 'ALTER INDEX ' || quote_ident(k.conname) || ' SET TABLESPACE ' || quote_ident(s.spcname)
                         FROM pg_tablespace AS s WHERE s.oid = x.reltablespace),
        'index', CASE WHEN NOT i.indisvalid THEN '-- the index of ' || quote_ident(k.conname) || ' is INVALID' END)
))
  FROM pg_constraint AS k
  JOIN relation AS r ON r.oid = k.conrelid
  LEFT JOIN pg_index AS i ON i.indexrelid = k.conindid AND k.contype IN ('p', 'u', 'x')
  LEFT JOIN pg_class AS x ON x.oid = i.indexrelid
 WHERE k.conparentid = 0 AND k.conislocal AND k.contype <> 't' AND (k.contype <> 'n' OR NOT k.convalidated)
"""
INDEXES = """
SELECT json_agg(json_build_array(
    'pg_class', x.oid::int8, 0, 'index', ns.name || '.' || quote_ident(x.relname), r.kind, r.name,
    pg_get_indexdef(x.oid), NULL,
    json_build_object(
        'validity', CASE WHEN NOT i.indisvalid THEN '-- ' || quote_ident(x.relname) || ' is INVALID' END,
        'clustering', CASE WHEN i.indisclustered THEN 'ALTER TABLE ' || r.name || ' CLUSTER ON ' || quote_ident(x.relname) END,
        'replica identity', CASE WHEN i.indisreplident
            THEN 'ALTER TABLE ' || r.name || ' REPLICA IDENTITY USING INDEX ' || quote_ident(x.relname) END,
        'tablespace', (SELECT 'ALTER INDEX ' || quote_ident(x.relname) || ' SET TABLESPACE ' || quote_ident(s.spcname)
                         FROM pg_tablespace AS s WHERE s.oid = x.reltablespace),
        'statistics', (SELECT string_agg('ALTER INDEX ' || quote_ident(x.relname) || ' ALTER COLUMN ' || a.attnum
                                         || ' SET STATISTICS ' || a.attstattarget, '; ' ORDER BY a.attnum)
                         FROM pg_attribute AS a WHERE a.attrelid = x.oid AND a.attstattarget >= 0))
))
  FROM pg_index AS i
  JOIN pg_class AS x ON x.oid = i.indexrelid
  JOIN relation AS r ON r.oid = i.indrelid
  JOIN ns ON ns.oid = x.relnamespace
 WHERE NOT x.relispartition
   AND NOT EXISTS (SELECT FROM pg_depend AS d WHERE d.classid = x.tableoid AND d.objid = x.oid AND d.deptype = 'i'
                      AND d.refclassid = CAST('pg_constraint' AS regclass))
"""
_ENABLED = """CASE {state} WHEN 'D' THEN {alter} || ' DISABLE {word} ' || {name} WHEN 'R' THEN {alter} || ' ENABLE REPLICA {word} ' || {name}
                           WHEN 'A' THEN {alter} || ' ENABLE ALWAYS {word} ' || {name} END"""
_TABLE = "'ALTER TABLE ' || r.name"
TRIGGERS = f"""
SELECT json_agg(json_build_array(
    'pg_trigger', t.oid::int8, 0, 'trigger', quote_ident(t.tgname) || ' ON ' || r.name, r.kind, r.name,
    pg_get_triggerdef(t.oid), NULL,
    json_build_object('state', {_ENABLED.format(state="t.tgenabled", alter=_TABLE, word="TRIGGER", name="quote_ident(t.tgname)")})
))
  FROM pg_trigger AS t JOIN relation AS r ON r.oid = t.tgrelid
 WHERE NOT t.tgisinternal AND t.tgparentid = 0
"""  # noqa: S608
RULES = f"""
SELECT json_agg(json_build_array(
    'pg_rewrite', u.oid::int8, 0, 'rule', quote_ident(u.rulename) || ' ON ' || r.name, r.kind, r.name,
    pg_get_ruledef(u.oid), NULL,
    json_build_object('state', {_ENABLED.format(state="u.ev_enabled", alter=_TABLE, word="RULE", name="quote_ident(u.rulename)")})
))
  FROM pg_rewrite AS u JOIN relation AS r ON r.oid = u.ev_class
 WHERE u.rulename <> '_RETURN'
"""  # noqa: S608
POLICIES = """
SELECT json_agg(json_build_array(
    'pg_policy', p.oid::int8, 0, 'policy', quote_ident(p.polname) || ' ON ' || r.name, r.kind, r.name,
    concat_ws(' ', 'CREATE POLICY', quote_ident(p.polname), 'ON', r.name, CASE WHEN NOT p.polpermissive THEN 'AS RESTRICTIVE' END,
        CASE p.polcmd WHEN 'r' THEN 'FOR SELECT' WHEN 'a' THEN 'FOR INSERT' WHEN 'w' THEN 'FOR UPDATE' WHEN 'd' THEN 'FOR DELETE' END,
        'TO ' || (SELECT string_agg(CASE one WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(one)) END, ', '
                                    ORDER BY pg_get_userbyid(one)) FROM unnest(p.polroles) AS one),
        'USING (' || pg_get_expr(p.polqual, p.polrelid) || ')',
        'WITH CHECK (' || pg_get_expr(p.polwithcheck, p.polrelid) || ')'),
    NULL, NULL
))
  FROM pg_policy AS p JOIN relation AS r ON r.oid = p.polrelid
"""
STATISTICS = f"""
SELECT json_agg(json_build_array(
    'pg_statistic_ext', s.oid::int8, 0, 'statistics', ns.name || '.' || quote_ident(s.stxname), r.kind, r.name,
    pg_get_statisticsobjdef(s.oid), pg_get_userbyid(s.stxowner),
    json_build_object('target', CASE WHEN s.stxstattarget >= 0
        THEN 'ALTER STATISTICS ' || ns.name || '.' || quote_ident(s.stxname) || ' SET STATISTICS ' || s.stxstattarget END)
))
  FROM pg_statistic_ext AS s JOIN relation AS r ON r.oid = s.stxrelid JOIN ns ON ns.oid = s.stxnamespace
 WHERE {OWN.format(catalog="s")}
"""  # noqa: S608
