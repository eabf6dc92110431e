"""Constraints that are added NOT VALID and validated under the lock that added them."""

from __future__ import annotations

import re
from collections.abc import Iterator

from dbctl.migrate.rules.facts import named, operations, sql_of
from dbctl.migrate.rules.model import Hazard, Level
from dbctl.migrate.rules.registry import Hit, Scene, hazard, rule
from dbctl.postgres.catalog.model import Table
from dbctl.postgres.lock_modes import LockMode
from dbctl.postgres.sql.operations import AddConstraint, ValidateConstraint

_DECLARED = re.compile(
    r"""ADD\s+CONSTRAINT\s+(?:\w+|"[^"]+")\s+(.+?)\s+NOT\s+VALID""", re.IGNORECASE | re.DOTALL
)
VALIDATE_SAME_TXN = hazard(
    Hazard(
        id="validate-same-txn",
        level=Level.DANGER,
        effect="blocking",
        why=(
            "VALIDATE reads the whole table, and the lock of the ADD CONSTRAINT before it is held until both are "
            "committed: NOT VALID has gained nothing."
        ),
        safe=(
            'op.execute("""ALTER TABLE {table} ADD CONSTRAINT {constraint} {definition} NOT VALID""")',
            'op.execute("ALTER TABLE {table} VALIDATE CONSTRAINT {constraint}")',
        ),
        lock=LockMode.ACCESS_EXCLUSIVE,
    )
)


@rule(VALIDATE_SAME_TXN, ValidateConstraint)
def validate_same_transaction(operation: ValidateConstraint, scene: Scene) -> Iterator[Hit]:
    """VALIDATE of a constraint that the same transaction added."""
    table = scene.table(operation.table)
    constraint = table.constraint(operation.name) if table else None
    if table is None or not _added_before(operation, scene, table):
        return
    definition = (
        constraint.definition.replace(" NOT VALID", "") if constraint else _declared(operation, scene)
    )
    tables = [table.relation.shown]
    if constraint and constraint.references and constraint.references not in tables:
        tables.append(constraint.references)
    names = named(table, constraint=operation.name, definition=definition)
    yield Hit(tuple(tables), names, of_transaction=True)


def _added_before(operation: ValidateConstraint, scene: Scene, table: Table) -> bool:
    """Whether the transaction added the constraint before, or in the same statement; without a name it got one."""
    return any(
        isinstance(earlier, AddConstraint)
        and not earlier.constraint.valid
        and earlier.constraint.name in {operation.name, ""}
        and statement.names.get(str(earlier.table)) == table.relation.oid
        for statement in (*scene.same_transaction, scene.statement)
        for earlier in operations(statement)
    )


def _declared(operation: ValidateConstraint, scene: Scene) -> str:
    """The constraint as the same statement declares it: a block that does both has no state in between."""
    adds = (each for each in operations(scene.statement) if isinstance(each, AddConstraint))
    texts = (sql_of(each, scene) for each in adds if each.constraint.name == operation.name)
    found = next(filter(None, map(_DECLARED.search, texts)), None)
    return found[1] if found else "CHECK (…)"
