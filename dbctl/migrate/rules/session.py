"""What a revision does to its own session: the limit it takes away, and the commits in its middle."""

from __future__ import annotations

import re
from collections.abc import Iterator

from dbctl.migrate.rules.facts import newly, operations
from dbctl.migrate.rules.model import Hazard, Level
from dbctl.migrate.rules.registry import Hit, hazard, revision_rule
from dbctl.migrate.trace.model import RevisionTrace, Statement
from dbctl.postgres.lock_modes import LockMode
from dbctl.postgres.sql.operations import (
    AddColumn,
    AddConstraint,
    AddDomainConstraint,
    AddEnumValue,
    AttachPartition,
    CreateEnum,
    CreateExtension,
    CreateIndex,
    CreateMaterializedView,
    CreatePolicy,
    CreateSequence,
    CreateTable,
    CreateTrigger,
    CreateView,
    DetachPartition,
    Drop,
    DropColumn,
    DropConstraint,
    Operation,
    Rename,
    SetSchema,
    SetVariable,
)

# What fails, or is done twice, when it is run again.
_ONCE = (
    AddColumn,
    AddConstraint,
    AddDomainConstraint,
    AddEnumValue,
    AttachPartition,
    CreateEnum,
    CreateExtension,
    CreateIndex,
    CreateMaterializedView,
    CreatePolicy,
    CreateSequence,
    CreateTable,
    CreateTrigger,
    CreateView,
    DetachPartition,
    Drop,
    DropColumn,
    DropConstraint,
    Rename,
    SetSchema,
)
_NOTHING = re.compile(r"\s*0*(\.0*)?\s*(us|ms|s|min|h|d)?\s*", re.IGNORECASE)

NO_LOCK_TIMEOUT = hazard(
    Hazard(
        id="no-lock-timeout",
        level=Level.DANGER,
        effect="blocking",
        why=(
            "The revision takes lock_timeout away: behind one long transaction (a pg_dump, a session left idle) "
            "the statement waits for ever, and all reads and writes of the table queue behind it."
        ),
        safe=(
            (
                "op.execute(\"SET LOCAL lock_timeout = '5s'\")\n"
                'op.execute("ALTER TABLE {table} ADD COLUMN {column} integer")'
            ),
        ),
        lock=LockMode.ACCESS_EXCLUSIVE,
    )
)
NOT_IDEMPOTENT = hazard(
    Hazard(
        id="not-idempotent",
        level=Level.NOTICE,
        effect="style",
        why=(
            "The revision commits in its middle: if a later statement fails, this one is done, the revision is not "
            "stamped, and the next run meets it again."
        ),
        safe=(
            'op.execute("ALTER TABLE {table} ADD COLUMN IF NOT EXISTS {column} integer")',
            (
                "with op.get_context().autocommit_block():\n"
                '    op.execute("CREATE INDEX CONCURRENTLY {table}_{column}_idx ON {table} ({column})")'
            ),
        ),
    )
)


@revision_rule(NO_LOCK_TIMEOUT)
def no_lock_timeout(revision: RevisionTrace) -> Iterator[tuple[Statement, Hit]]:
    """The first strong lock on a table that was there after SET lock_timeout = 0, or RESET of it."""
    taken: tuple[Statement, bool] | None = None
    for statement in revision.statements:
        if taken is not None and taken[1] and taken[0].transaction != statement.transaction:
            taken = None
        for operation in operations(statement):
            if isinstance(operation, SetVariable) and operation.name.lower() in {"lock_timeout", "all"}:
                removes = (
                    operation.value is None or _NOTHING.fullmatch(operation.value.strip("'")) is not None
                )
                taken = (statement, operation.local) if removes else None
        locked = newly(statement, LockMode.SHARE) if taken is not None else ()
        if taken is not None and locked:
            tables = tuple(dict.fromkeys(relation.shown for relation in locked))
            yield statement, Hit(tables, {"column": "added"}, f"It runs {taken[0].sql.strip()} before.")
            taken = None


@revision_rule(NOT_IDEMPOTENT)
def not_idempotent(revision: RevisionTrace) -> Iterator[tuple[Statement, Hit]]:
    """The first statement that can't be run again and is committed before the revision's last change."""
    changing = [
        statement for statement in revision.statements if any(_once(o) for o in operations(statement))
    ]
    dropped: set[str] = set()
    for statement in changing:
        for operation in operations(statement):
            if isinstance(operation, Drop) and operation.if_exists:
                dropped.update(name.name for name in operation.names)
            elif not _once(operation) or _is_guarded(operation, dropped):
                continue
            elif statement.transaction != changing[-1].transaction:
                yield statement, Hit((), {"column": "added"})
                return


def _once(operation: Operation) -> bool:
    return isinstance(operation, _ONCE)


def _is_guarded(operation: Operation, dropped: set[str]) -> bool:
    """Whether it says IF (NOT) EXISTS, OR REPLACE, or comes after a DROP IF EXISTS of its own name."""
    says = any(getattr(operation, word, False) for word in ("if_not_exists", "if_exists", "replace"))
    return says or getattr(operation, "name", "") in dropped - {""}
