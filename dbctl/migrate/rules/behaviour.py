"""Triggers, row security and foreign keys of new tables: brief locks, and behaviour that changes."""

from __future__ import annotations

import re
from collections.abc import Iterator

from dbctl.migrate.rules.created import keys_apart
from dbctl.migrate.rules.facts import by_identity, dropped_earlier, named, operations, shown, sql_of
from dbctl.migrate.rules.fixes import numbered, qualified
from dbctl.migrate.rules.model import Hazard, Level
from dbctl.migrate.rules.new_keys import indexes_for
from dbctl.migrate.rules.partition_indexes import default_name
from dbctl.migrate.rules.python_text import execute
from dbctl.migrate.rules.registry import Hit, Scene, hazard, rule, statement_rule
from dbctl.postgres.catalog.model import Table
from dbctl.postgres.identifiers import quote_if_needed
from dbctl.postgres.lock_modes import LockMode
from dbctl.postgres.sql.operations import (
    AddConstraint,
    Constraint,
    CreatePolicy,
    CreateTable,
    CreateTrigger,
    Drop,
    SetRowSecurity,
    ToggleTrigger,
)

_NOT_VALID = re.compile(r"\s+NOT\s+VALID\s*\Z", re.IGNORECASE)
CREATE_TABLE_FK = hazard(
    Hazard(
        id="create-table-fk",
        level=Level.CAUTION,
        effect="blocking",
        why="The foreign key of the new table lets no write to the referenced one through until the commit.",
        safe=(
            "# The table without the key, in a revision of its own.",
            (
                'op.execute("ALTER TABLE {child} ADD CONSTRAINT {child}_{column}_fkey '
                'FOREIGN KEY ({column}) REFERENCES {table} NOT VALID")'
            ),
            'op.execute("ALTER TABLE {child} VALIDATE CONSTRAINT {child}_{column}_fkey")',
        ),
        lock=LockMode.SHARE_ROW_EXCLUSIVE,
    )
)
CREATE_TRIGGER = hazard(
    Hazard(
        id="create-trigger",
        level=Level.CAUTION,
        effect="breaking code",
        why="From the commit on the trigger runs for all that running code writes, and while it is made writes wait.",
        safe=(
            (
                "# dbctl: accept create-trigger because running code is ready for what it does\n"
                'op.execute("""{statement}""")'
            ),
        ),
        lock=LockMode.SHARE_ROW_EXCLUSIVE,
    )
)
TOGGLE_TRIGGER = hazard(
    Hazard(
        id="toggle-trigger",
        level=Level.CAUTION,
        effect="breaking code",
        why="Until it is switched back, no row that anybody writes gets what the trigger did (keys, audit, totals).",
        safe=(
            (
                "# dbctl: accept toggle-trigger because nobody relies on it any more\n"
                'op.execute("""{statement}""")'
            ),
        ),
        lock=LockMode.SHARE_ROW_EXCLUSIVE,
    )
)
DROP_TRIGGER = hazard(
    Hazard(
        id="drop-trigger",
        level=Level.CAUTION,
        effect="breaking code",
        why="What running code leaves to the trigger is not done any more; reads and writes wait while it goes.",
        safe=(
            (
                "# dbctl: accept drop-trigger because no running code relies on it\n"
                'op.execute("DROP {kind} IF EXISTS {trigger} ON {table}")'
            ),
        ),
        lock=LockMode.ACCESS_EXCLUSIVE,
    )
)
RLS_ENABLE = hazard(
    Hazard(
        id="rls-enable",
        level=Level.DANGER,
        effect="breaking code",
        why="Rows that no policy lets through vanish for every role but the owner and superusers, without an error.",
        safe=(
            'op.execute("CREATE POLICY all_rows ON {table} USING (true) WITH CHECK (true)")',
            (
                "# dbctl: accept rls-enable because a permissive policy lets every row through for now\n"
                'op.execute("ALTER TABLE {table} ENABLE ROW LEVEL SECURITY")'
            ),
        ),
        lock=LockMode.ACCESS_EXCLUSIVE,
    )
)


@rule(CREATE_TABLE_FK, CreateTable, AddConstraint)
def create_table_fk(operation: CreateTable | AddConstraint, scene: Scene) -> Iterator[Hit]:
    """A table made in this revision that refers to one that was there."""
    if isinstance(operation, AddConstraint):
        keys: tuple[Constraint, ...] = () if scene.table(operation.table) else (operation.constraint,)
    else:
        keys = (*operation.constraints, *(c for column in operation.columns for c in column.constraints))
    for key in keys:
        parent = scene.table(key.references) if key.references else None
        if parent is not None:
            yield Hit(shown([parent]), fix=_apart(operation, key, scene))


def _apart(operation: CreateTable | AddConstraint, key: Constraint, scene: Scene) -> str:
    """The table first, with an index for the key, then the key: each lock is short."""
    if isinstance(operation, CreateTable):
        indexes = "".join(f"\n{each}" for each in indexes_for(operation, scene))
        return keys_apart(sql_of(operation, scene), lambda name: scene.table(name) is not None, indexes)
    table = qualified(operation.table)
    name = quote_if_needed(key.name or default_name(operation.table.name, key.columns, "fkey"))
    after = f"# In revisions after the one that makes {operation.table}."
    add = _NOT_VALID.sub("", sql_of(operation, scene).rstrip("; \n"))
    validate = execute(f"ALTER TABLE {table} VALIDATE CONSTRAINT {name}")
    return numbered([f"{after}\n{execute(f'{add} NOT VALID')}", validate])


@rule(CREATE_TRIGGER, CreateTrigger)
def create_trigger(operation: CreateTrigger, scene: Scene) -> Iterator[Hit]:
    """A trigger or a rule of a table that was there."""
    table = scene.table(operation.table)
    is_again = operation.is_rule and dropped_earlier(scene, "rule", operation.name)
    if table is not None and not is_again:
        why = "A rule writes queries of the table anew before they are planned." if operation.is_rule else ""
        yield Hit(shown([table]), named(table, statement=sql_of(operation, scene)), why)


@rule(TOGGLE_TRIGGER, ToggleTrigger)
def toggle_trigger(operation: ToggleTrigger, scene: Scene) -> Iterator[Hit]:
    """ENABLE or DISABLE TRIGGER on a table that was there."""
    table = scene.table(operation.table)
    if table is not None:
        why = "Rows written while it was off stay as they are." if operation.enabled else ""
        yield Hit(shown([table]), named(table, statement=sql_of(operation, scene)), why)


@statement_rule(DROP_TRIGGER)
def triggers_of_a_function(scene: Scene) -> Iterator[Hit]:
    """Triggers that go with their function: DROP FUNCTION … CASCADE."""
    locked = by_identity(scene.statement)
    for gone in scene.statement.dropped:
        trigger, _, table = gone.removeprefix("trigger ").rpartition(" on ")
        if gone.startswith("trigger ") and table in locked:
            shown_name = locked[table].shown
            names = {"table": shown_name, "trigger": trigger, "kind": "TRIGGER"}
            yield Hit((shown_name,), names, f"CASCADE takes {trigger} along.")


@rule(DROP_TRIGGER, Drop)
def drop_trigger(operation: Drop, scene: Scene) -> Iterator[Hit]:
    """A trigger or rule that was there, and that the same transaction does not make again."""
    if operation.kind not in {"trigger", "rule"} or not operation.tables:
        return
    table, trigger = scene.table(operation.tables[0]), operation.names[0].name
    if table is None or not _was_there(operation, table, scene):
        return
    again = any(
        isinstance(other, CreateTrigger) and other.name == trigger
        for later in scene.later_in_transaction
        for other in operations(later)
    )
    if not again:
        names = named(table, trigger=trigger, kind=operation.kind.upper())
        yield Hit(shown([table]), names)


def _was_there(operation: Drop, table: Table, scene: Scene) -> bool:
    """Whether what is dropped was there; of rules the catalog's facts have no list, but one that goes needs the lock."""
    if operation.kind == "trigger":
        return operation.names[0].name in table.triggers
    return not operation.if_exists or scene.lock(table) is LockMode.ACCESS_EXCLUSIVE


@rule(RLS_ENABLE, Drop)
def policy_dropped(operation: Drop, scene: Scene) -> Iterator[Hit]:
    """A policy that goes where row security is on, and that the same transaction does not make again."""
    table = scene.table(operation.tables[0]) if operation.kind == "policy" and operation.tables else None
    if table is None or not table.row_security:
        return
    policy = operation.names[0].name
    again = any(
        isinstance(other, CreatePolicy) and other.name == policy
        for later in scene.later_in_transaction
        for other in operations(later)
    )
    if policy in table.policies and not again:
        why = f"Without {policy} other rows are seen at once; without any policy, none."
        yield Hit(shown([table]), named(table), why, Level.CAUTION)


@rule(RLS_ENABLE, SetRowSecurity, CreatePolicy)
def rls_enable(operation: SetRowSecurity | CreatePolicy, scene: Scene) -> Iterator[Hit]:
    """Row security switched on, or a policy added or changed where it is on already."""
    table = scene.table(operation.table)
    if table is None:
        return
    if isinstance(operation, CreatePolicy):
        if table.row_security:
            why = f"Policy {operation.name} changes at once which rows are seen."
            yield Hit(shown([table]), named(table), why, Level.CAUTION)
    elif operation.action in {"enable", "force"} and not (
        operation.action == "enable" and table.row_security
    ):
        why = "" if table.policies else "It has no policy: nobody else sees a row."
        if operation.action == "force":
            why = "FORCE hides them from the owner as well."
        yield Hit(shown([table]), named(table), why)
