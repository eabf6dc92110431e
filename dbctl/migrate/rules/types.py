"""Changes of a column's type, of a generated column's expression; views that are in the way."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace

from dbctl.migrate.rules import recipes
from dbctl.migrate.rules.altered import affected, are_new, ran, reads, rewrites, spelled
from dbctl.migrate.rules.drop_fixes import column_drop
from dbctl.migrate.rules.facts import found, named, operations, shown, sql_of
from dbctl.migrate.rules.fixes import fill
from dbctl.migrate.rules.model import Hazard, Level
from dbctl.migrate.rules.python_text import execute
from dbctl.migrate.rules.registry import Hit, Scene, hazard, rule
from dbctl.migrate.rules.widths import catalog_type, is_narrower, is_read_from_text
from dbctl.postgres.catalog.model import Constraint, Table
from dbctl.postgres.identifiers import quote_identifier, quote_if_needed
from dbctl.postgres.lock_modes import LockMode
from dbctl.postgres.sql.builtin_types import BUILT_IN
from dbctl.postgres.sql.operations import AlterType, Drop, DropColumn, SetExpression, SetVariable

_NEW_COLUMN = (recipes.ADD_NEW_COLUMN, recipes.COPY_TO_NEW_COLUMN)

TYPE_REWRITE = hazard(
    Hazard(
        id="alter-type-rewrite",
        level=Level.DANGER,
        effect="blocking",
        why=(
            "The new type is stored in another way: the whole table and all its indexes are written anew while "
            "every query on it waits."
        ),
        safe=_NEW_COLUMN,
        lock=LockMode.ACCESS_EXCLUSIVE,
    )
)
_FITS_AS_TEXT = (
    (
        "# It refuses from now on what can't be read as the type, and nobody waits for it.\n"
        'op.execute("""ALTER TABLE {table} ADD CONSTRAINT {column}_fits\n'
        '    CHECK ({column} IS NULL OR ({value}) IS NOT NULL) NOT VALID""")'
    ),
    'op.execute("ALTER TABLE {table} VALIDATE CONSTRAINT {column}_fits")',
)
TYPE_NARROWING = hazard(
    Hazard(
        id="alter-type-narrowing",
        level=Level.DANGER,
        effect="losing data",
        why="Values that do not fit the new type make the revision fail, or are cut or rounded for good.",
        safe=(
            (
                "# As strict as the type, and nobody waits for it.\n"
                'op.execute("""ALTER TABLE {table} ADD CONSTRAINT {column}_fits\n'
                '    CHECK ({column} = CAST({column} AS {type})) NOT VALID""")'
            ),
            'op.execute("ALTER TABLE {table} VALIDATE CONSTRAINT {column}_fits")',
        ),
        lock=LockMode.ACCESS_EXCLUSIVE,
    )
)
TYPE_REINDEX = hazard(
    Hazard(
        id="alter-type-reindex",
        level=Level.DANGER,
        effect="blocking",
        why=(
            "The values stay as they are, but another order means that the column's indexes are built anew while "
            "every query on the table waits."
        ),
        safe=(
            *_NEW_COLUMN,
            (
                "with op.get_context().autocommit_block():\n"
                '    op.execute("""CREATE INDEX CONCURRENTLY {column}_new_idx ON {table} ({column}_new)""")'
            ),
        ),
        lock=LockMode.ACCESS_EXCLUSIVE,
    )
)
TYPE_RECHECK = hazard(
    Hazard(
        id="alter-type-recheck",
        level=Level.DANGER,
        effect="blocking",
        why=(
            "The change itself would be free, but PostgreSQL tests the column's CHECK again on every row while "
            "every query on the table waits."
        ),
        safe=(
            (
                'op.execute("""ALTER TABLE {table} DROP CONSTRAINT {constraint},\n'
                '    ALTER COLUMN {column} TYPE {type};""")\n'
                'op.execute("""ALTER TABLE {table} ADD CONSTRAINT {constraint} {definition} NOT VALID""")'
            ),
            'op.execute("ALTER TABLE {table} VALIDATE CONSTRAINT {constraint}")',
        ),
        lock=LockMode.ACCESS_EXCLUSIVE,
    )
)
DEPENDENT_VIEW = hazard(
    Hazard(
        id="dependent-view",
        level=Level.DANGER,
        effect="failing",
        why="A view or a rule uses the column, so PostgreSQL refuses to change or drop it (0A000, 2BP01): the revision fails.",
        safe=(recipes.VIEWS_ASIDE,),
        lock=LockMode.ACCESS_EXCLUSIVE,
    )
)
_ALTER_UNDER_RULE = (
    "rule = op.get_bind().scalar(sa.text(\n"
    "    \"SELECT pg_get_ruledef(oid) FROM pg_rewrite WHERE rulename = '{rule}' \"\n"
    "    \"AND ev_class = CAST('{table}' AS regclass)\"\n"
    "))\n"
    'op.execute("DROP RULE {rule} ON {table}")\n'
    'op.execute("""{statement};""")\n'
    "# A colon would begin a parameter.\n"
    'op.execute(rule.replace(":", r"\\:"))'
)
_DROP_UNDER_RULE = (
    'op.execute("DROP RULE {rule} ON {table}")\n'
    "# dbctl: accept drop-column because no running code has mapped it for a release\n"
    'op.execute("""{statement};""")\n'
    "# Make the rule again without {column}, if it is still wanted."
)
SET_EXPRESSION = hazard(
    Hazard(
        id="set-expression",
        level=Level.DANGER,
        effect="blocking",
        why=(
            "A stored column is worked out anew for every row: the whole table is written again while every query "
            "on it waits."
        ),
        safe=(recipes.ADD_NEW_COLUMN, recipes.COPY_TO_NEW_COLUMN),
        lock=LockMode.ACCESS_EXCLUSIVE,
        versions="17-18",
    )
)


_OF_VALUES = {"timezone", "datestyle", "intervalstyle", "extra_float_digits", "bytea_output"}
_ADD_BASE = (
    "# The domain's own type: to test the domain, a column of it would have the whole table written anew.\n"
    "base = op.get_bind().scalar(sa.text(\n"
    "    \"SELECT format_type(typbasetype, typtypmod) FROM pg_type WHERE oid = CAST('{type}' AS regtype)\"\n"
    "))\n"
    'op.execute("ALTER TABLE {table} ADD COLUMN {column}_new " + base)'
)
_CHECK_DOMAIN = (
    "# The cast tests what the domain demands.\n"
    'op.execute("""ALTER TABLE {table} ADD CONSTRAINT {column}_domain\n'
    '    CHECK ({column}_new IS NULL OR CAST({column}_new AS {type}) IS NOT NULL) NOT VALID""")'
)
_VALIDATE_DOMAIN = 'op.execute("ALTER TABLE {table} VALIDATE CONSTRAINT {column}_domain")'
# The rule's name stands bare in the server's detail, the table's with its schema where the path lacks that.
_RULE = re.compile(r"DETAIL: +rule (?P<rule>.+) on table (?P<table>\S+) depends on column")


@rule(TYPE_REWRITE, AlterType)
def type_rewrite(operation: AlterType, scene: Scene) -> Iterator[Hit]:
    """A type change for which the server wrote the table anew."""
    table = scene.table(operation.table)
    if table and rewrites(scene, table, "type"):
        found_ = _hit(operation, scene, table)
        way: tuple[str, ...] = (recipes.ADD_NEW_COLUMN, recipes.copy_under(_settings_of_values(scene)))
        if _is_domain(operation, table):
            way = (_ADD_BASE, _CHECK_DOMAIN, way[1], _VALIDATE_DOMAIN)
        yield replace(found_, fix=fill(way, found_))


@rule(TYPE_NARROWING, AlterType)
def type_narrowing(operation: AlterType, scene: Scene) -> Iterator[Hit]:
    """A type into which not all values of the old one fit."""
    table = scene.table(operation.table)
    column = table.columns.get(operation.column) if table else None
    if table is None or column is None or are_new(scene, table, [column.name]) or not ran(scene):
        return
    old = catalog_type(column.type)
    if is_narrower(operation.type, old):
        why = f"{column.name} was {column.type}."
        found_ = _hit(operation, scene, table, why=why)
        # A text equals no number: what counts is that the cast passes.
        yield (
            replace(found_, fix=fill(_FITS_AS_TEXT, found_))
            if is_read_from_text(operation.type, old)
            else found_
        )


@rule(TYPE_REINDEX, AlterType)
def type_reindex(operation: AlterType, scene: Scene) -> Iterator[Hit]:
    """A type change for which the server built indexes, but no table."""
    table = scene.table(operation.table)
    if table is None or rewrites(scene, table, "type"):
        return
    tables = {table.relation.shown, *table.partitions}
    built = [index.name for index in scene.statement.rebuilt if index.table in tables]
    if built:
        yield _hit(operation, scene, table, why=f"Built anew: {', '.join(built)}.")


@rule(TYPE_RECHECK, AlterType)
def type_recheck(operation: AlterType, scene: Scene) -> Iterator[Hit]:
    """A type change for which the server only read the table, because of a CHECK."""
    table = scene.table(operation.table)
    if table is None or rewrites(scene, table, "type") or not reads(scene, table, "23514"):
        return
    check = next(_checks(table, operation.column), None)
    if check:
        yield _hit(operation, scene, table, constraint=check.name, definition=check.definition)


@rule(DEPENDENT_VIEW, AlterType, DropColumn)
def dependent_view(operation: AlterType | DropColumn, scene: Scene) -> Iterator[Hit]:
    """A column that a view uses, and that the server therefore refused to touch."""
    table = scene.table(operation.table)
    failure = scene.statement.failure
    if table is None or failure is None or failure.sqlstate not in {"0A000", "2BP01"}:
        return
    views = table.dependent_views.get(operation.column, ())
    rule_ = _RULE.search(failure.message)
    if rule_ and not views:
        yield _rule_hit(rule_, operation, scene, table)
    elif views:
        listed_ = ", ".join(_as_literal(each) for each in views)
        fix = column_drop(operation, table, scene) if isinstance(operation, DropColumn) else ""
        names = named(table, views=listed_, statement=sql_of(operation, scene))
        yield Hit((table.relation.shown,), names, f"{', '.join(views)} uses {operation.column}.", fix=fix)


def _rule_hit(match: re.Match[str], operation: AlterType | DropColumn, scene: Scene, table: Table) -> Hit:
    """The statement with the rule out of its way, and where it still can be, back as it was."""
    names = named(
        table,
        rule=match["rule"],
        column=operation.column,
        statement=scene.statement.sql,
    )
    why = f"It is the rule {match['rule']} of {match['table']} that uses {operation.column}."
    found = Hit((table.relation.shown,), names | {"table": match["table"]}, why)
    way = _ALTER_UNDER_RULE if isinstance(operation, AlterType) else _DROP_UNDER_RULE
    return replace(found, fix=fill((way,), found))


@rule(DEPENDENT_VIEW, Drop)
def view_of_dropped_table(operation: Drop, scene: Scene) -> Iterator[Hit]:
    """A table that a view reads, and that the server therefore did not drop."""
    failure = scene.statement.failure
    if operation.kind != "table" or failure is None or failure.sqlstate != "2BP01":
        return
    for table in found(scene, operation.names):
        views = sorted({view for used in table.dependent_views.values() for view in used})
        if views:
            drops = [execute(f"DROP VIEW {view}") for view in views]
            fix = "\n".join(
                [
                    f"# dbctl: accept {each} because no running code has read it for a release"
                    for each in ("drop-view", "drop-table")
                ]
                + [*drops, execute(f"{scene.statement.sql};")]
            )
            yield Hit(shown([table]), why=f"{', '.join(views)} reads it.", fix=fix)


@rule(SET_EXPRESSION, SetExpression)
def set_expression(operation: SetExpression, scene: Scene) -> Iterator[Hit]:
    """Another expression of a stored column."""
    table = scene.table(operation.table)
    column = table.columns.get(operation.column) if table else None
    if table and column and rewrites(scene, table, "default"):
        names = named(table, column=column.name, type=column.type, value=operation.expression.sql)
        yield Hit(affected(scene, table), names)


def _as_literal(shown: str) -> str:
    """A relation's name as a text of SQL, which is read as a name."""
    quoted = ".".join(map(quote_if_needed, shown.split(".", 1)))
    return "'{}'".format(quoted.replace("'", "''"))


def _is_domain(operation: AlterType, table: Table) -> bool:
    """Whether a built-in type becomes one of the users' without USING: no other type of theirs has a cast for that."""
    column = table.columns.get(operation.column)
    if column is None or operation.using or operation.type.is_array or operation.type.name in BUILT_IN:
        return False
    return catalog_type(column.type).name in BUILT_IN


def _settings_of_values(scene: Scene) -> dict[str, str]:
    """What earlier statements of the revision set that decides what a cast gives: TimeZone above all."""
    return {
        operation.name.lower(): operation.value
        for earlier in scene.earlier
        for operation in operations(earlier)
        if isinstance(operation, SetVariable) and operation.value and operation.name.lower() in _OF_VALUES
    }


def _checks(table: Table, column: str) -> Iterator[Constraint]:
    for constraint in table.constraints:
        if constraint.kind == "check" and constraint.validated and column in constraint.columns:
            yield constraint


def _hit(operation: AlterType, scene: Scene, table: Table, *, why: str = "", **names: str) -> Hit:
    type_ = spelled(operation.type)
    collation = f" COLLATE {quote_identifier(operation.collation)}" if operation.collation else ""
    value = (
        operation.using.sql if operation.using else f"CAST({quote_if_needed(operation.column)} AS {type_})"
    )
    given = named(table, column=operation.column, type=type_ + collation, value=value, **names)
    found = Hit(affected(scene, table), given, why)
    under = _settings_of_values(scene)
    return (
        replace(found, fix=fill((recipes.ADD_NEW_COLUMN, recipes.copy_under(under)), found))
        if under
        else found
    )
