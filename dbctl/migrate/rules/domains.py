"""Columns of a domain that are added: what the domain tests, and what it gives each row."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from dbctl.migrate.rules import recipes
from dbctl.migrate.rules.altered import rewrites
from dbctl.migrate.rules.columns import VOLATILE_DEFAULT, added, hit, is_volatile, whole
from dbctl.migrate.rules.fixes import fill
from dbctl.migrate.rules.model import Hazard, Level
from dbctl.migrate.rules.registry import Hit, Scene, hazard, rule
from dbctl.postgres.lock_modes import LockMode
from dbctl.postgres.sql.builtin_types import BUILT_IN
from dbctl.postgres.sql.operations import AddColumn, Column

# An explicit NULL keeps the domain's default from the rows that are there; dropped, new rows get it.
_ADD_EMPTY = (
    'op.execute("ALTER TABLE {table} ADD COLUMN {column} {type} DEFAULT NULL")\n'
    'op.execute("ALTER TABLE {table} ALTER COLUMN {column} DROP DEFAULT")'
)

CONSTRAINED_DOMAIN = hazard(
    Hazard(
        id="add-col-constrained-domain",
        level=Level.DANGER,
        effect="blocking",
        why=(
            "A column of a domain with a constraint makes PostgreSQL write the whole table anew to test it, while "
            "every query on the table waits."
        ),
        safe=(
            (
                "base = op.get_bind().scalar(sa.text(\n"
                "    \"SELECT format_type(typbasetype, typtypmod) FROM pg_type WHERE oid = CAST('{type}' AS regtype)\"\n"
                "))\n"
                'op.execute("ALTER TABLE {table} ADD COLUMN {column} " + base)'
            ),
            (
                "# The cast tests what the domain demands.\n"
                'op.execute("""ALTER TABLE {table} ADD CONSTRAINT {column}_domain\n'
                '    CHECK ({column} IS NULL OR CAST({column} AS {type}) IS NOT NULL) NOT VALID""")'
            ),
            'op.execute("ALTER TABLE {table} VALIDATE CONSTRAINT {column}_domain")',
        ),
        lock=LockMode.ACCESS_EXCLUSIVE,
    )
)


@rule(CONSTRAINED_DOMAIN, AddColumn)
def constrained_domain(operation: AddColumn, scene: Scene) -> Iterator[Hit]:
    """A rewrite that only the column's type explains."""
    table = added(operation, scene)
    column = operation.column
    failure = scene.statement.failure
    # Its NOT NULL is tested on the rows that are there, and they get NULL.
    fails = failure is not None and failure.sqlstate == "23502" and failure.message.startswith("domain ")
    if table is None or column.type.name in BUILT_IN or not (fails or rewrites(scene, table, "default")):
        return
    if not (column.generated or column.identity or is_volatile(column)) and _tests(column, scene):
        found = hit(operation, scene, table)
        if fails:
            found = replace(
                found, why="The domain allows no NULL: over rows it fails with 23502.", fails=True
            )
        add, *checks = CONSTRAINED_DOMAIN.safe
        yield replace(found, fix=fill(whole(column, *checks, add=add), found))


@rule(VOLATILE_DEFAULT, AddColumn)
def volatile_default_of_a_domain(operation: AddColumn, scene: Scene) -> Iterator[Hit]:
    """A rewrite for the default of a domain that tests nothing."""
    table = added(operation, scene)
    column = operation.column
    domain = scene.statement.domains.get(column.type.name)
    if table is None or domain is None or column.default or not rewrites(scene, table, "default"):
        return
    if domain.default and not _tests(column, scene):
        promised = recipes.NOT_NULL if column.not_null else ()
        found = hit(operation, scene, table, default=domain.default)
        fix = fill((_ADD_EMPTY, recipes.FILL_WITH_DEFAULT, *promised), found)
        yield replace(found, why=f"The default is the domain's: {domain.default}.", fix=fix)


def _tests(column: Column, scene: Scene) -> bool:
    """Whether the domain has a constraint, or may have one: nobody asked."""
    domain = scene.statement.domains.get(column.type.name)
    return domain is None or domain.is_constrained
