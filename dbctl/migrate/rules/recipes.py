"""Safe ways that several hazards share: bodies of ``upgrade()`` with {table}, {column} … to be filled in."""

from __future__ import annotations

from collections.abc import Mapping

from dbctl.migrate.rules.python_text import execute
from dbctl.postgres.sql.operations import Constraint

# A type may end with a quote, which would meet Python's own.
ADD_COLUMN = 'op.execute("""ALTER TABLE {table} ADD COLUMN {column} {type};""")'

# The default is worked out anew for each row, 5,000 rows a transaction.
FILL_WITH_DEFAULT = '''\
with op.get_context().autocommit_block():
    batch = sa.text("""UPDATE {table} SET {column} = DEFAULT WHERE ctid = ANY (ARRAY(
        SELECT ctid FROM {table} WHERE {column} IS NULL LIMIT 5000))""")
    while op.get_bind().execute(batch).rowcount:
        pass'''

SET_DEFAULT = 'op.execute("""ALTER TABLE {table} ALTER COLUMN {column} SET DEFAULT {default}""")'

COPY_TO_NEW_COLUMN = '''\
# The code writes both columns since its last release.
with op.get_context().autocommit_block():
    batch = sa.text("""UPDATE {table} SET {column}_new = {value} WHERE ctid = ANY (ARRAY(
        SELECT ctid FROM {table} WHERE {column}_new IS NULL AND ({value}) IS NOT NULL LIMIT 5000))""")
    while op.get_bind().execute(batch).rowcount:
        pass'''


def copy_under(settings: Mapping[str, str]) -> str:
    """The copy under what the revision has set for itself, which ends with its transaction."""
    block = "autocommit_block():\n"
    lines = [f"SET {name} TO '{value.replace(chr(39), chr(39) * 2)}'" for name, value in settings.items()]
    given = "".join(f"    {execute(line)}\n" for line in lines)
    back = "".join(f"\n    {execute(f'RESET {name}')}" for name in settings)
    return COPY_TO_NEW_COLUMN.replace(block, block + given) + back


ADD_NEW_COLUMN = 'op.execute("""ALTER TABLE {table} ADD COLUMN {column}_new {type};""")'

NOT_NULL = (
    'op.execute("""ALTER TABLE {table} ADD CONSTRAINT {column}_not_null CHECK ({column} IS NOT NULL) NOT VALID""")',
    'op.execute("ALTER TABLE {table} VALIDATE CONSTRAINT {column}_not_null")',
    (
        'op.execute("ALTER TABLE {table} ALTER COLUMN {column} SET NOT NULL")\n'
        'op.execute("ALTER TABLE {table} DROP CONSTRAINT {column}_not_null")'
    ),
)

CREATE_INDEX = """\
with op.get_context().autocommit_block():
    op.execute("CREATE INDEX CONCURRENTLY {index} ON {table} ({columns})")"""

_NO_DUPLICATES = """\
twice = op.get_bind().execute(sa.text(
    "SELECT {columns} FROM {table} WHERE ({columns}) IS NOT NULL GROUP BY {columns} HAVING count(*) > 1 LIMIT 1"
))
assert twice.first() is None
"""

UNIQUE_INDEX = (
    _NO_DUPLICATES
    + """\
with op.get_context().autocommit_block():
    op.execute("CREATE UNIQUE INDEX CONCURRENTLY {index} ON {table} ({columns})")"""
)

UNIQUE = (UNIQUE_INDEX, 'op.execute("ALTER TABLE {table} ADD CONSTRAINT {index} UNIQUE USING INDEX {index}")')


def no_duplicates(constraint: Constraint) -> str:
    """A look at {table} for rows that the key would refuse."""
    if constraint.nulls_not_distinct:
        return _NO_DUPLICATES.replace(" WHERE ({columns}) IS NOT NULL", "")
    return _NO_DUPLICATES


def unique(constraint: Constraint) -> tuple[str, ...]:
    """The safe way to a UNIQUE that says more of NULLs, or of when it is checked, than most."""
    index, using = UNIQUE
    if constraint.nulls_not_distinct:
        index = index.replace(" WHERE ({columns}) IS NOT NULL", "")
        index = index.replace('({columns})")', '({columns}) NULLS NOT DISTINCT")')
    return index, _deferrable(using, constraint)


PRIMARY_KEY = (
    UNIQUE_INDEX,
    'op.execute("ALTER TABLE {table} ADD CONSTRAINT {index} PRIMARY KEY USING INDEX {index}")',
)


def primary_key(constraint: Constraint) -> tuple[str, ...]:
    """The same of a PRIMARY KEY, whose columns are NOT NULL already."""
    index, using = PRIMARY_KEY
    return index, _deferrable(using, constraint)


def _deferrable(using: str, constraint: Constraint) -> str:
    if not constraint.deferrable:
        return using
    when = " INITIALLY DEFERRED" if constraint.initially_deferred else ""
    return using.replace('INDEX {index}")', f'INDEX {{index}} DEFERRABLE{when}")')


FOREIGN_KEY = (
    (
        'op.execute("""ALTER TABLE {table} ADD CONSTRAINT {constraint}\n'
        '    FOREIGN KEY ({columns}) REFERENCES {parent} ({parent_columns}){options} NOT VALID""")'
    ),
    'op.execute("ALTER TABLE {table} VALIDATE CONSTRAINT {constraint}")',
)

CHECK = (
    'op.execute("""ALTER TABLE {table} ADD CONSTRAINT {constraint} CHECK ({check}) NOT VALID""")',
    'op.execute("ALTER TABLE {table} VALIDATE CONSTRAINT {constraint}")',
)

# What a view was given is put down with it: options, indexes, a comment, privileges.
VIEWS_ASIDE = '''\
views = op.get_bind().execute(sa.text("""
    WITH RECURSIVE above (view, height) AS (
        SELECT CAST(name AS regclass), 0 FROM unnest(ARRAY[{views}]) AS name
        UNION ALL
        SELECT CAST(r.ev_class AS regclass), height + 1 FROM above
        JOIN pg_depend d ON d.refobjid = view AND d.classid = CAST('pg_rewrite' AS regclass)
        JOIN pg_rewrite r ON r.oid = d.objid AND r.ev_class <> view
    )
    SELECT CASE relkind WHEN 'm' THEN 'MATERIALIZED VIEW' ELSE 'VIEW' END, CAST(view AS text),
        coalesce('WITH (' || array_to_string(reloptions, ', ') || ')', ''), pg_get_viewdef(view),
        ARRAY(SELECT pg_get_indexdef(indexrelid) FROM pg_index WHERE indrelid = view) || ARRAY(
            SELECT format('COMMENT ON %s %s IS %L', CASE relkind WHEN 'm' THEN 'MATERIALIZED VIEW' ELSE 'VIEW' END,
                view, obj_description(view, 'pg_class')) WHERE obj_description(view, 'pg_class') IS NOT NULL
        ) || ARRAY(
            SELECT format('GRANT %s ON %s TO %s', privilege_type, view,
                CASE grantee WHEN 0 THEN 'PUBLIC' ELSE CAST(CAST(grantee AS regrole) AS text) END)
            FROM aclexplode(relacl)
        )
    FROM above JOIN pg_class ON oid = view GROUP BY view, relkind, reloptions, relacl ORDER BY max(height)
""")).all()
def run(sql):
    op.get_bind().exec_driver_sql(sql, execution_options={"no_parameters": True})

for kind, view, *_ in reversed(views):
    run("DROP " + kind + " " + view)
op.execute("""{statement};""")
for kind, view, options, query, more in views:
    for sql in (" ".join(("CREATE", kind, view, options, "AS", query)), *more):
        run(sql)'''
