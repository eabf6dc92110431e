"""CHECK, UNIQUE, PRIMARY KEY, EXCLUDE: what is read or built under their lock, and what goes with them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace

from dbctl.migrate.rules import recipes
from dbctl.migrate.rules.altered import affected, are_new, new_column, ran, reads
from dbctl.migrate.rules.columns import default_of, whole
from dbctl.migrate.rules.facts import named, operations, stored
from dbctl.migrate.rules.fixes import fill, listed, numbered
from dbctl.migrate.rules.model import Hazard, Level
from dbctl.migrate.rules.new_columns import (
    ADD_CHECKED_COLUMN,
    ADD_PRIMARY_KEY_COLUMN,
    ADD_UNIQUE_COLUMN,
    primary_key_of,
)
from dbctl.migrate.rules.partition_indexes import is_parted, key_by_parts
from dbctl.migrate.rules.registry import Hit, Scene, hazard, rule
from dbctl.postgres.catalog.model import Table
from dbctl.postgres.lock_modes import LockMode
from dbctl.postgres.sql.operations import (
    AddConstraint,
    AddDomainConstraint,
    DropConstraint,
)
from dbctl.postgres.sql.operations import Constraint as AddedConstraint

_EXCLUDE = re.compile(r"\bEXCLUDE\b.*", re.IGNORECASE | re.DOTALL)

ADD_CHECK = hazard(
    Hazard(
        id="add-check",
        level=Level.DANGER,
        effect="blocking",
        why="Every row is read for the CHECK while every query on the table waits.",
        safe=recipes.CHECK,
        lock=LockMode.ACCESS_EXCLUSIVE,
    )
)
ADD_UNIQUE = hazard(
    Hazard(
        id="add-unique",
        level=Level.DANGER,
        effect="blocking",
        why="The index behind UNIQUE is built over the whole table while every query on it waits.",
        safe=recipes.UNIQUE,
        lock=LockMode.ACCESS_EXCLUSIVE,
    )
)
ADD_PK = hazard(
    Hazard(
        id="add-pk",
        level=Level.DANGER,
        effect="blocking",
        why=(
            "The primary key's index is built over the whole table, and its columns are read for NULL, while every "
            "query on it waits."
        ),
        safe=(*recipes.NOT_NULL, *recipes.PRIMARY_KEY),
        lock=LockMode.ACCESS_EXCLUSIVE,
    )
)
ADD_EXCLUDE = hazard(
    Hazard(
        id="add-exclude",
        level=Level.DANGER,
        effect="blocking",
        why=(
            "The index behind EXCLUDE is built over the whole table while every query on it waits, and no index "
            "that was built before can be used for it."
        ),
        safe=(
            (
                "# There is no way on a table in use: make one beside it, copy in batches, swap the names.\n"
                'op.execute("""CREATE TABLE {table}_new (LIKE {table} INCLUDING ALL, {definition})""")'
            ),
        ),
        lock=LockMode.ACCESS_EXCLUSIVE,
    )
)
DROP_CONSTRAINT = hazard(
    Hazard(
        id="drop-constraint",
        level=Level.CAUTION,
        effect="breaking code",
        why=(
            "A foreign key goes with a lock against reads and writes on both its tables, a UNIQUE with its index: "
            "INSERT … ON CONFLICT over its columns fails."
        ),
        safe=(
            (
                "# Alone in its revision, so that its locks are short.\n"
                "# dbctl: accept drop-constraint because no running code relies on {constraint}\n"
                'op.execute("ALTER TABLE {table} DROP CONSTRAINT {constraint}")'
            ),
        ),
        lock=LockMode.ACCESS_EXCLUSIVE,
    )
)
DOMAIN_CONSTRAINT = hazard(
    Hazard(
        id="domain-add-constraint",
        level=Level.DANGER,
        effect="blocking",
        why="Every table with a column of the domain is read in full, and none of them can be written meanwhile.",
        safe=(
            'op.execute("""ALTER DOMAIN {domain} ADD CONSTRAINT {constraint} CHECK ({check}) NOT VALID""")',
            (
                "# New values are checked from now on. Writes to the domain's tables wait while VALIDATE reads them:\n"
                "# PostgreSQL has no lighter way, so do it at a quiet time, or leave it.\n"
                'op.execute("ALTER DOMAIN {domain} VALIDATE CONSTRAINT {constraint}")'
            ),
        ),
        lock=LockMode.SHARE,
    )
)


@rule(ADD_CHECK, AddConstraint)
def add_check(operation: AddConstraint, scene: Scene) -> Iterator[Hit]:
    """A CHECK for which the server read the rows, over columns that were there."""
    table = _checked(operation, scene)
    if table and not are_new(scene, table, operation.constraint.columns):
        yield _check_hit(operation, scene, table)


@rule(ADD_CHECKED_COLUMN, AddConstraint)
def check_of_new_column(operation: AddConstraint, scene: Scene) -> Iterator[Hit]:
    """The same over columns that the revision added."""
    table = _checked(operation, scene)
    if table and are_new(scene, table, operation.constraint.columns):
        found = _check_hit(operation, scene, table)
        column = new_column(scene, table, found.names["column"])
        found = replace(found, names={**found.names, **default_of(column)})
        yield replace(found, fix=fill(whole(column, *recipes.CHECK), found))


@rule(ADD_UNIQUE, AddConstraint)
def add_unique(operation: AddConstraint, scene: Scene) -> Iterator[Hit]:
    """UNIQUE that builds its index."""
    yield from _built(operation, scene, "unique", new=False)


@rule(ADD_UNIQUE_COLUMN, AddConstraint)
def unique_of_new_column(operation: AddConstraint, scene: Scene) -> Iterator[Hit]:
    """The same over columns that the revision added: what Alembic makes of unique=True."""
    yield from _built(operation, scene, "unique", new=True)


@rule(ADD_PK, AddConstraint)
def add_pk(operation: AddConstraint, scene: Scene) -> Iterator[Hit]:
    """PRIMARY KEY that builds its index."""
    yield from _built(operation, scene, "primary key", new=False)


@rule(ADD_PRIMARY_KEY_COLUMN, AddConstraint)
def pk_of_new_column(operation: AddConstraint, scene: Scene) -> Iterator[Hit]:
    """The same over columns that the revision added."""
    yield from _built(operation, scene, "primary key", new=True)


@rule(ADD_EXCLUDE, AddConstraint)
def add_exclude(operation: AddConstraint, scene: Scene) -> Iterator[Hit]:
    """EXCLUDE on a table that was there."""
    table = scene.table(operation.table)
    if table and operation.constraint.kind == "exclude" and ran(scene):
        written = _EXCLUDE.search(scene.statement.sql)
        definition = written[0].rstrip("; \n") if written else "EXCLUDE USING gist (…)"
        yield Hit((table.relation.shown,), named(table, definition=definition))


@rule(DROP_CONSTRAINT, DropConstraint)
def drop_constraint(operation: DropConstraint, scene: Scene) -> Iterator[Hit]:
    """A foreign key or a UNIQUE that was there; a CHECK costs nobody anything."""
    table = scene.table(operation.table)
    constraint = table.constraint(operation.name) if table else None
    if table is None or constraint is None or constraint.kind not in {"foreign key", "unique"}:
        return
    if _was_added(scene, table, operation.name) or not ran(scene):
        return
    tables = dict.fromkeys((table.relation.shown, constraint.references or table.relation.shown))
    yield Hit(tuple(tables), named(table, constraint=operation.name))


@rule(DROP_CONSTRAINT, DropConstraint)
def foreign_keys_of_a_key(operation: DropConstraint, scene: Scene) -> Iterator[Hit]:
    """Foreign keys that go with the key that they refer to: DROP CONSTRAINT … CASCADE."""
    table = scene.table(operation.table)
    for gone in scene.statement.dropped if table else ():
        name, _, child = gone.removeprefix("table constraint ").rpartition(" on ")
        key = next((c for c in table.references_to_it if c.name == name), None) if table else None
        if table and key and gone.startswith("table constraint ") and child.endswith(key.references):
            tables = tuple(dict.fromkeys((key.references, table.relation.shown)))
            names = {"table": key.references, "constraint": name}
            yield Hit(tables, names, f"CASCADE takes {name} of {key.references} along.")


@rule(DOMAIN_CONSTRAINT, AddDomainConstraint)
def domain_constraint(operation: AddDomainConstraint, scene: Scene) -> Iterator[Hit]:
    """A domain's constraint for which the server locked tables."""
    if not operation.valid:
        return
    locks = scene.statement.locks
    tables = dict.fromkeys(
        lock.relation.shown for lock in locks if lock.mode >= LockMode.SHARE and stored(lock.relation)
    )
    failure = scene.statement.failure
    if not tables and (failure is None or failure.sqlstate not in {"23502", "23514"}):
        return
    domain = str(operation.domain)
    condition = operation.expression.sql if operation.expression else "VALUE IS NOT NULL"
    names = {
        "domain": domain,
        "constraint": operation.name or f"{operation.domain.name}_check",
        "check": condition,
    }
    yield Hit(tuple(tables), names, f"The domain is {domain}.")


def _checked(operation: AddConstraint, scene: Scene) -> Table | None:
    constraint = operation.constraint
    table = scene.table(operation.table)
    if table is None or constraint.kind != "check" or not (constraint.valid and constraint.enforced):
        return None
    return table if reads(scene, table, "23514") else None


def _check_hit(operation: AddConstraint, scene: Scene, table: Table) -> Hit:
    constraint = operation.constraint
    column = constraint.columns[0] if constraint.columns else ""
    type_ = table.columns[column].type if column in table.columns else "text"
    names = named(
        table,
        constraint=constraint.name or f"{table.relation.name}_{column}_check",
        check=constraint.expression.sql if constraint.expression else "true",
        column=column,
        type=type_,
    )
    return Hit(affected(scene, table), names)


def _built(operation: AddConstraint, scene: Scene, kind: str, *, new: bool) -> Iterator[Hit]:
    """An index that a constraint builds, over columns that are ``new`` or not."""
    constraint = operation.constraint
    table = scene.table(operation.table)
    if table is None or constraint.kind != kind or constraint.using_index or not ran(scene):
        return
    if is_parted(table) and operation.table.only:
        return
    if are_new(scene, table, constraint.columns) is not new:
        return
    column = constraint.columns[0] if constraint.columns else ""
    suffix = "pkey" if kind == "primary key" else "key"
    stem = f"{table.relation.name}_{'_'.join(constraint.columns)}"
    names = named(
        table,
        column=column,
        columns=listed(constraint.columns),
        type=table.columns[column].type if column in table.columns else "bigint",
        index=constraint.name or f"{stem}_{suffix}",
        sequence=f"{stem}_seq",
    )
    added = new_column(scene, table, column) if new else None
    found = Hit(affected(scene, table), names | default_of(added))
    if added:
        unique = whole(added, *recipes.unique(constraint))
        found = replace(found, fix=fill(unique if kind == "unique" else primary_key_of(added), found))
    else:
        found = replace(found, fix=_key_fix(constraint, table, scene, found))
    yield found


def _key_fix(constraint: AddedConstraint, table: Table, scene: Scene, found: Hit) -> str:
    """The safe way to a key over columns that were there: each made NOT NULL before, where the key wants it."""
    wanting = constraint.columns if constraint.kind == "primary key" else ()
    nullable = [name for name in wanting if name in table.columns and not table.columns[name].not_null]
    given = [replace(found, names={**found.names, "column": name}) for name in nullable]
    bodies = [fill((step,), each) for each in given for step in recipes.NOT_NULL]
    if is_parted(table):
        twice = recipes.no_duplicates(constraint)
        return key_by_parts(
            constraint,
            table,
            scene,
            lambda part: fill((twice,), Hit((part,), {**found.names, "table": part})),
            bodies,
        )
    way = recipes.unique(constraint) if constraint.kind == "unique" else recipes.primary_key(constraint)
    return numbered([*bodies, *(fill((step,), found) for step in way)])


def _was_added(scene: Scene, table: Table, name: str) -> bool:
    """Whether the revision itself added the constraint."""
    return any(
        isinstance(earlier, AddConstraint)
        and earlier.constraint.name == name
        and statement.names.get(str(earlier.table)) == table.relation.oid
        for statement in scene.earlier
        for earlier in operations(statement)
    )
