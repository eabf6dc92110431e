"""The queries for schemas, functions and types."""

from __future__ import annotations

from dbctl.postgres.catalog.objects.relations import OWN

NAMESPACES = f"""
SELECT json_agg(json_build_array(
    'pg_namespace', n.oid::int8, 0, 'schema', ns.name, NULL, NULL, 'CREATE SCHEMA ' || ns.name, pg_get_userbyid(n.nspowner), NULL
))
  FROM ns JOIN pg_namespace AS n ON n.oid = ns.oid
 WHERE {OWN.format(catalog="n")}
"""  # noqa: S608 - constants of ours
_AGGREGATE = """(
    SELECT 'CREATE AGGREGATE ' || ns.name || '.' || quote_ident(p.proname) || '(' || pg_get_function_arguments(p.oid) || ') ('
           || concat_ws(', ', 'SFUNC = ' || CAST(a.aggtransfn AS text), 'STYPE = ' || format_type(a.aggtranstype, NULL),
                'SSPACE = ' || nullif(a.aggtransspace, 0), 'FINALFUNC = ' || nullif(CAST(a.aggfinalfn AS text), '-'),
                'COMBINEFUNC = ' || nullif(CAST(a.aggcombinefn AS text), '-'),
                'SERIALFUNC = ' || nullif(CAST(a.aggserialfn AS text), '-'),
                'DESERIALFUNC = ' || nullif(CAST(a.aggdeserialfn AS text), '-'),
                'MSFUNC = ' || nullif(CAST(a.aggmtransfn AS text), '-'),
                'MINVFUNC = ' || nullif(CAST(a.aggminvtransfn AS text), '-'),
                'INITCOND = ' || quote_literal(a.agginitval), 'MINITCOND = ' || quote_literal(a.aggminitval),
                'SORTOP = ' || nullif(CAST(a.aggsortop AS int8), 0), 'PARALLEL = ' || CAST(p.proparallel AS text)) || ')'
      FROM pg_aggregate AS a WHERE a.aggfnoid = p.oid)"""
FUNCTIONS = f"""
SELECT json_agg(json_build_array(
    'pg_proc', p.oid::int8, 0, CASE p.prokind WHEN 'p' THEN 'procedure' WHEN 'a' THEN 'aggregate' ELSE 'function' END,
    ns.name || '.' || quote_ident(p.proname) || '(' || pg_get_function_identity_arguments(p.oid) || ')', NULL, NULL,
    CASE p.prokind WHEN 'a' THEN {_AGGREGATE} ELSE pg_get_functiondef(p.oid) END, pg_get_userbyid(p.proowner), NULL
))
  FROM pg_proc AS p JOIN ns ON ns.oid = p.pronamespace
 WHERE {OWN.format(catalog="p")}
   -- The constructors of a range type come and go with it.
   AND NOT EXISTS (SELECT FROM pg_depend AS d WHERE d.classid = p.tableoid AND d.objid = p.oid AND d.deptype = 'i')
"""  # noqa: S608
_NAME = "ns.name || '.' || quote_ident(t.typname)"
_MADE = f"""
CASE t.typtype
    WHEN 'e' THEN 'CREATE TYPE ' || {_NAME} || ' AS ENUM (' || COALESCE((
        SELECT string_agg(quote_literal(e.enumlabel), ', ' ORDER BY e.enumsortorder) FROM pg_enum AS e
         WHERE e.enumtypid = t.oid), '') || ')'
    WHEN 'd' THEN concat_ws(' ', 'CREATE DOMAIN', {_NAME}, 'AS', format_type(t.typbasetype, t.typtypmod),
        (SELECT 'COLLATE ' || quote_ident(o.collname) FROM pg_collation AS o JOIN pg_type AS b ON b.oid = t.typbasetype
          WHERE o.oid = t.typcollation AND t.typcollation <> b.typcollation),
        'DEFAULT ' || t.typdefault, CASE WHEN t.typnotnull THEN 'NOT NULL' END)
    WHEN 'c' THEN 'CREATE TYPE ' || {_NAME} || ' AS (' || COALESCE((
        SELECT string_agg(quote_ident(a.attname) || ' ' || format_type(a.atttypid, a.atttypmod), ', ' ORDER BY a.attnum)
          FROM pg_attribute AS a WHERE a.attrelid = t.typrelid AND a.attnum > 0 AND NOT a.attisdropped), '') || ')'
    WHEN 'r' THEN (
        SELECT 'CREATE TYPE ' || {_NAME} || ' AS RANGE (' || concat_ws(', ', 'SUBTYPE = ' || format_type(g.rngsubtype, NULL),
                   'SUBTYPE_OPCLASS = ' || (SELECT quote_ident(o.opcname) FROM pg_opclass AS o WHERE o.oid = g.rngsubopc),
                   'CANONICAL = ' || nullif(CAST(g.rngcanonical AS text), '-'),
                   'SUBTYPE_DIFF = ' || nullif(CAST(g.rngsubdiff AS text), '-')) || ')'
          FROM pg_range AS g WHERE g.rngtypid = t.oid)
    WHEN 'b' THEN 'CREATE TYPE ' || {_NAME} || ' (INPUT = ' || CAST(t.typinput AS text) || ', OUTPUT = ' || CAST(t.typoutput AS text) || ')'
    ELSE 'CREATE TYPE ' || {_NAME}
END
"""  # noqa: S608
# A table has a type of its own, and each type one for its arrays: neither is made by a statement.
TYPES = f"""
SELECT json_agg(json_build_array(
    'pg_type', t.oid::int8, 0, CASE t.typtype WHEN 'd' THEN 'domain' ELSE 'type' END, {_NAME}, NULL, NULL,
    {_MADE}, pg_get_userbyid(t.typowner), NULL
))
  FROM pg_type AS t JOIN ns ON ns.oid = t.typnamespace
  LEFT JOIN pg_class AS c ON c.oid = t.typrelid
 WHERE t.typtype IN ('e', 'd', 'c', 'r', 'b', 'p') AND (c.oid IS NULL OR c.relkind = 'c')
   AND NOT EXISTS (SELECT FROM pg_type AS own WHERE own.typarray = t.oid) AND {OWN.format(catalog="t")}
"""  # noqa: S608
DOMAIN_CONSTRAINTS = f"""
SELECT json_agg(json_build_array(
    'pg_constraint', k.oid::int8, 0, 'constraint', quote_ident(k.conname) || ' ON DOMAIN ' || {_NAME}, 'domain', {_NAME},
    'ALTER DOMAIN ' || {_NAME} || ' ADD CONSTRAINT ' || quote_ident(k.conname) || ' ' || pg_get_constraintdef(k.oid), NULL, NULL
))
  FROM pg_constraint AS k JOIN pg_type AS t ON t.oid = k.contypid JOIN ns ON ns.oid = t.typnamespace
 WHERE k.contype = 'c'
"""  # noqa: S608
