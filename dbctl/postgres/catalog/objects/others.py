"""The queries for what belongs to the database as a whole, or is made seldom."""

from __future__ import annotations

from dbctl.postgres.catalog.objects.relations import OWN

EXTENSIONS = """
SELECT json_agg(json_build_array(
    'pg_extension', x.oid::int8, 0, 'extension', quote_ident(x.extname), NULL, NULL,
    'CREATE EXTENSION ' || quote_ident(x.extname) || ' SCHEMA ' || CAST(x.extnamespace::regnamespace AS text), NULL,
    json_build_object('version', 'ALTER EXTENSION ' || quote_ident(x.extname) || ' UPDATE TO ' || quote_literal(x.extversion))
))
  FROM pg_extension AS x WHERE x.oid >= 16384
"""
# Those whose function is in pg_catalog are ours, by which scratch sees hidden statements.
EVENT_TRIGGERS = f"""
SELECT json_agg(json_build_array(
    'pg_event_trigger', t.oid::int8, 0, 'event trigger', quote_ident(t.evtname), NULL, NULL,
    concat_ws(' ', 'CREATE EVENT TRIGGER', quote_ident(t.evtname), 'ON', t.evtevent,
              'WHEN TAG IN (' || (SELECT string_agg(quote_literal(tag), ', ' ORDER BY tag) FROM unnest(t.evttags) AS tag) || ')',
              'EXECUTE FUNCTION ' || CAST(t.evtfoid::regprocedure AS text)),
    pg_get_userbyid(t.evtowner),
    json_build_object('state', 'ALTER EVENT TRIGGER ' || quote_ident(t.evtname) || ' '
        || CASE t.evtenabled WHEN 'D' THEN 'DISABLE' WHEN 'R' THEN 'ENABLE REPLICA' WHEN 'A' THEN 'ENABLE ALWAYS' END)
))
  FROM pg_event_trigger AS t JOIN pg_proc AS p ON p.oid = t.evtfoid
 WHERE p.pronamespace <> CAST('pg_catalog' AS regnamespace) AND {OWN.format(catalog="t")}
"""  # noqa: S608 - constants of ours
PUBLICATIONS = """
SELECT json_agg(json_build_array(
    'pg_publication', p.oid::int8, 0, 'publication', quote_ident(p.pubname), NULL, NULL,
    concat_ws(' ', 'CREATE PUBLICATION', quote_ident(p.pubname), CASE WHEN p.puballtables THEN 'FOR ALL TABLES' END,
              'WITH (publish = ' || quote_literal(concat_ws(', ', CASE WHEN p.pubinsert THEN 'insert' END,
                  CASE WHEN p.pubupdate THEN 'update' END, CASE WHEN p.pubdelete THEN 'delete' END,
                  CASE WHEN p.pubtruncate THEN 'truncate' END)),
              CASE WHEN p.pubviaroot THEN ', publish_via_partition_root' END) || ')',
    pg_get_userbyid(p.pubowner),
    json_build_object('tables', 'ALTER PUBLICATION ' || quote_ident(p.pubname) || ' ADD TABLE '
        || (SELECT string_agg($published, ', ' ORDER BY r.prrelid) FROM pg_publication_rel AS r WHERE r.prpubid = p.oid),
        'schemas', $schemas)
))
  FROM pg_publication AS p
"""
PUBLISHED_BEFORE_15 = "CAST(r.prrelid::regclass AS text)"
PUBLISHED = """
concat_ws(' ', CAST(r.prrelid::regclass AS text),
    '(' || (SELECT string_agg(quote_ident(a.attname), ', ' ORDER BY a.attnum) FROM pg_attribute AS a
             WHERE a.attrelid = r.prrelid AND a.attnum = ANY (CAST(r.prattrs AS int2[]))) || ')',
    'WHERE (' || pg_get_expr(r.prqual, r.prrelid) || ')')
"""
PUBLISHED_SCHEMAS = """
'ALTER PUBLICATION ' || quote_ident(p.pubname) || ' ADD TABLES IN SCHEMA '
    || (SELECT string_agg(CAST(s.pnnspid::regnamespace AS text), ', ' ORDER BY s.pnnspid)
          FROM pg_publication_namespace AS s WHERE s.pnpubid = p.oid)
"""
SETTINGS = """
SELECT json_agg(json_build_array(
    'pg_db_role_setting', 0, 0, 'setting', COALESCE(CAST(nullif(s.setrole, 0)::regrole AS text) || ' ', '') || one, NULL, NULL,
    'ALTER ' || COALESCE('ROLE ' || CAST(nullif(s.setrole, 0)::regrole AS text) || ' IN ', '') || 'DATABASE … SET ' || one, NULL, NULL
))
  FROM pg_db_role_setting AS s CROSS JOIN unnest(s.setconfig) AS one
 WHERE s.setdatabase = (SELECT oid FROM pg_database WHERE datname = current_database())
"""
# What is made seldom, by the columns of its catalog that are no oids of their own: names of functions and types.
_SELDOM = {
    "pg_foreign_data_wrapper": ("fdwowner", "fdwhandler::regproc, f.fdwvalidator::regproc, f.fdwoptions"),
    "pg_foreign_server": ("srvowner", "srvtype, f.srvversion, f.srvoptions"),
    # Its options may be passwords, and only a superuser may read the catalog itself.
    "pg_user_mapping": ("", "srvname"),
    "pg_cast": ("", "castfunc::regprocedure, f.castcontext, f.castmethod"),
    "pg_operator": (
        "oprowner",
        "oprcode::regprocedure, f.oprcom::regoper, f.oprnegate::regoper, f.oprrest::regproc, f.oprjoin::regproc",
    ),
    "pg_opclass": ("opcowner", "opcintype::regtype, f.opckeytype::regtype, f.opcdefault"),
    "pg_opfamily": ("opfowner", "opfname"),
    "pg_collation": ("collowner", "collprovider, f.collisdeterministic, f.collcollate"),
    "pg_conversion": ("conowner", "conproc::regproc, f.condefault"),
    "pg_language": ("lanowner", "lanpltrusted, f.lanplcallfoid::regproc"),
    "pg_ts_config": ("cfgowner", "cfgparser"),
    "pg_ts_dict": ("dictowner", "dictinitoption"),
}
_SOURCES = {
    "pg_user_mapping": "(SELECT umid AS oid, CAST('pg_user_mapping' AS regclass)::oid AS tableoid, srvname FROM pg_user_mappings)"
}


def _seldom(catalog: str, owner: str, facts: str) -> str:
    owned = f"pg_get_userbyid(f.{owner})" if owner else "NULL"
    return f"""
    SELECT '{catalog}', f.oid::int8, i.type, i.identity, {owned}, concat_ws(' ', f.{facts})
      FROM {_SOURCES.get(catalog, catalog)} AS f CROSS JOIN LATERAL pg_identify_object(f.tableoid, f.oid, 0) AS i
     WHERE f.oid >= 16384 AND {OWN.format(catalog="f")}
       AND NOT EXISTS (SELECT FROM pg_depend AS d WHERE d.classid = f.tableoid AND d.objid = f.oid AND d.deptype = 'i')"""  # noqa: S608


SELDOM = f"""
SELECT json_agg(json_build_array(catalog, oid, 0, kind, name, NULL, NULL, 'CREATE ' || upper(kind) || ' ' || name || ' ' || facts,
                                 owner, NULL))
  FROM ({" UNION ALL ".join(_seldom(catalog, owner, facts) for catalog, (owner, facts) in _SELDOM.items())}
  ) AS f (catalog, oid, kind, name, owner, facts)
"""  # noqa: S608

# [catalog, oid, sub-id, comment]; the oid of the schema public is older than any database.
COMMENTS = """
SELECT json_agg(json_build_array(CAST(CAST(d.classoid AS regclass) AS text), d.objoid::int8, d.objsubid, d.description))
  FROM pg_description AS d
 WHERE d.objoid >= 16384 OR d.classoid = CAST('pg_namespace' AS regclass)
"""
# [catalog, oid, sub-id, verb, grantee, privileges, with grant option]: what differs from what the owner's defaults are.
GRANTS = """
WITH acl (catalog, oid, sub, given, usual) AS (
    SELECT 'pg_class', c.oid, 0, c.relacl, acldefault(CASE c.relkind WHEN 'S' THEN CAST('s' AS "char") ELSE CAST('r' AS "char") END, c.relowner)
      FROM pg_class AS c JOIN ns ON ns.oid = c.relnamespace WHERE c.relacl IS NOT NULL
    UNION ALL
    SELECT 'pg_class', c.oid, a.attnum, a.attacl, acldefault('c', c.relowner)
      FROM pg_attribute AS a JOIN pg_class AS c ON c.oid = a.attrelid JOIN ns ON ns.oid = c.relnamespace WHERE a.attacl IS NOT NULL
    UNION ALL
    SELECT 'pg_proc', p.oid, 0, p.proacl, acldefault('f', p.proowner)
      FROM pg_proc AS p JOIN ns ON ns.oid = p.pronamespace WHERE p.proacl IS NOT NULL
    UNION ALL
    SELECT 'pg_type', t.oid, 0, t.typacl, acldefault('T', t.typowner)
      FROM pg_type AS t JOIN ns ON ns.oid = t.typnamespace WHERE t.typacl IS NOT NULL
    UNION ALL
    SELECT 'pg_namespace', n.oid, 0, n.nspacl, acldefault('n', n.nspowner)
      FROM pg_namespace AS n JOIN ns ON ns.oid = n.oid WHERE n.nspacl IS NOT NULL
    UNION ALL
    SELECT 'pg_foreign_server', s.oid, 0, s.srvacl, acldefault('S', s.srvowner) FROM pg_foreign_server AS s WHERE s.srvacl IS NOT NULL
    UNION ALL
    SELECT 'pg_foreign_data_wrapper', w.oid, 0, w.fdwacl, acldefault('F', w.fdwowner)
      FROM pg_foreign_data_wrapper AS w WHERE w.fdwacl IS NOT NULL
), one AS (
    SELECT 'GRANT' AS verb, f.* FROM (
        SELECT catalog, oid, sub, x.grantee, x.privilege_type, x.is_grantable FROM acl CROSS JOIN LATERAL aclexplode(given) AS x
        EXCEPT
        SELECT catalog, oid, sub, x.grantee, x.privilege_type, x.is_grantable FROM acl CROSS JOIN LATERAL aclexplode(usual) AS x) AS f
    UNION ALL
    SELECT 'REVOKE', f.* FROM (
        SELECT catalog, oid, sub, x.grantee, x.privilege_type, x.is_grantable FROM acl CROSS JOIN LATERAL aclexplode(usual) AS x
        EXCEPT
        SELECT catalog, oid, sub, x.grantee, x.privilege_type, x.is_grantable FROM acl CROSS JOIN LATERAL aclexplode(given) AS x) AS f
), summed AS (
    SELECT catalog, oid, sub, verb, grantee, is_grantable, string_agg(privilege_type, ', ' ORDER BY privilege_type) AS privileges
      FROM one GROUP BY 1, 2, 3, 4, 5, 6
)
SELECT json_agg(json_build_array(
    catalog, oid::int8, sub, verb, CASE grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(grantee)) END, privileges, is_grantable
)) FROM summed
"""
DEFAULT_PRIVILEGES = """
WITH one AS (
    SELECT d.oid, concat_ws(' ', 'ALTER DEFAULT PRIVILEGES FOR ROLE', quote_ident(pg_get_userbyid(d.defaclrole)),
                     'IN SCHEMA ' || CAST(nullif(d.defaclnamespace, 0)::regnamespace AS text)) AS head,
           CASE d.defaclobjtype WHEN 'r' THEN 'TABLES' WHEN 'S' THEN 'SEQUENCES' WHEN 'f' THEN 'FUNCTIONS'
                                WHEN 'T' THEN 'TYPES' WHEN 'n' THEN 'SCHEMAS' ELSE 'LARGE OBJECTS' END AS on_what,
           CASE x.grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(x.grantee)) END AS grantee,
           x.is_grantable, string_agg(x.privilege_type, ', ' ORDER BY x.privilege_type) AS privileges
      FROM pg_default_acl AS d CROSS JOIN LATERAL aclexplode(d.defaclacl) AS x
     GROUP BY d.oid, x.grantee, x.is_grantable
)
SELECT json_agg(json_build_array(
    'pg_default_acl', oid::int8, 0, 'default privileges', concat_ws(' ', head, on_what, grantee, is_grantable), NULL, NULL,
    head || ' GRANT ' || privileges || ' ON ' || on_what || ' TO ' || grantee
        || CASE WHEN is_grantable THEN ' WITH GRANT OPTION' ELSE '' END,
    NULL, NULL
)) FROM one
"""
