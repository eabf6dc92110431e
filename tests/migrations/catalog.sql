-- Everything that somebody made in this database, as (kind, description).
WITH made AS (
    SELECT oid FROM pg_namespace
    WHERE nspname NOT IN ('pg_catalog', 'information_schema') AND nspname !~ '^pg_toast|^pg_temp'
), relations AS (
    SELECT c.* FROM pg_class c WHERE c.relnamespace IN (SELECT oid FROM made) AND c.relname !~ '^alembic_version'
)
SELECT 'relation', concat_ws(' ', c.relkind, c.relname, c.relpersistence, c.reloptions, c.relacl,
                             pg_get_indexdef(i.indexrelid), i.indisvalid, i.indisunique)
FROM relations c LEFT JOIN pg_index i ON i.indexrelid = c.oid
UNION ALL
SELECT 'column', concat_ws(' ', c.relname, a.attnum, a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull,
                           a.attidentity, a.attgenerated, o.collname, pg_get_expr(d.adbin, d.adrelid))
FROM relations c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
LEFT JOIN pg_attrdef d ON d.adrelid = c.oid AND d.adnum = a.attnum
LEFT JOIN pg_collation o ON o.oid = a.attcollation
UNION ALL
SELECT 'constraint', concat_ws(' ', c.relname, k.conname, k.convalidated, pg_get_constraintdef(k.oid))
FROM relations c JOIN pg_constraint k ON k.conrelid = c.oid
UNION ALL
SELECT 'trigger', concat_ws(' ', t.tgenabled, pg_get_triggerdef(t.oid))
FROM relations c JOIN pg_trigger t ON t.tgrelid = c.oid
-- Those of a foreign key have a number in their name; the key itself is among the constraints.
WHERE NOT t.tgisinternal
UNION ALL
SELECT 'function', concat_ws(' ', p.oid::regprocedure, p.prosrc, p.provolatile, p.proacl)
FROM pg_proc p WHERE p.pronamespace IN (SELECT oid FROM made)
UNION ALL
SELECT 'type', t.typname FROM pg_type t
WHERE t.typnamespace IN (SELECT oid FROM made) AND t.typname !~ '^_?alembic_version'
UNION ALL
SELECT 'operator', opfname::text FROM pg_opfamily WHERE opfnamespace IN (SELECT oid FROM made)
UNION ALL
SELECT 'operator', oid::regoperator::text FROM pg_operator WHERE oprnamespace IN (SELECT oid FROM made)
UNION ALL
SELECT 'extension', concat_ws(' ', extname, extversion) FROM pg_extension
UNION ALL
SELECT 'schema', concat_ws(' ', nspname, nspacl) FROM pg_namespace WHERE oid IN (SELECT oid FROM made)
UNION ALL
SELECT 'comment', concat_ws(' ', pg_describe_object(d.classoid, d.objoid, d.objsubid), d.description)
FROM pg_description d WHERE d.objoid >= 16384
