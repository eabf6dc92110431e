"""What a statement did that its text does not tell: the trace alone shows it."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from dbctl.migrate.rules.facts import is_opaque, stored
from dbctl.migrate.rules.model import Hazard, Level
from dbctl.migrate.rules.registry import Hit, hazard
from dbctl.migrate.trace.model import Statement
from dbctl.postgres.catalog.model import Relation
from dbctl.postgres.lock_modes import LockMode
from dbctl.postgres.sql.operations import Select

_READ = "read in full"
HIDDEN = hazard(
    Hazard(
        id="hidden-ddl",
        level=Level.DANGER,
        effect="blocking",
        why="SQL inside this statement (a DO block, a function, a procedure) works on a whole table while others wait.",
        safe=(
            (
                "# Write each statement of the block as an op.execute() of its own, so that it can be judged,\n"
                "# and give each the safe form that dbctl then names."
            ),
        ),
        lock=LockMode.ACCESS_EXCLUSIVE,
    )
)


def unexplained(statement: Statement, told: Collection[str]) -> Iterator[Hit]:
    """The tables that an opaque statement rewrites, indexes, locks or reads under a strong lock, but for ``told``."""
    if statement.failure or not is_opaque(statement):
        return
    # What a SELECT names is not hidden: it may well read what an earlier statement locked.
    visible = {
        statement.names.get(str(name))
        for o in statement.operations
        if isinstance(o, Select)
        for name in o.tables
    }
    worked = {_table(relation): what for relation, what in _worked(statement) if relation.oid not in visible}
    left = {table: what for table, what in worked.items() if table not in told}
    if left:
        why = (
            ""
            if statement.operations
            else "Its syntax is not known, so that only its trace tells what it does. "
        )
        # It may have read the table before it took the lock.
        level = Level.CAUTION if set(left.values()) == {_READ} else None
        yield Hit(tables=tuple(left), why=f"{why}It leaves {_list(left)}.", level=level)


def _worked(statement: Statement) -> Iterator[tuple[Relation, str]]:
    """Each table and what it got, the worst last."""
    locked = _locked(statement)
    if statement.operations and not statement.hidden:
        # Nothing but LOCK TABLE is hidden from event triggers, takes such a lock and leaves no other mark.
        for lock in statement.locks:
            if lock.mode >= LockMode.EXCLUSIVE and stored(lock.relation):
                yield lock.relation, f"locked with {lock.mode}"
    for scan in statement.scanned:
        if scan.relation.oid in locked:
            yield scan.relation, _READ
    for relation in (*statement.built, *statement.rebuilt):
        yield relation, "indexed"
    for relation in statement.rewritten:
        yield relation, "rewritten"


def _locked(statement: Statement) -> set[int]:
    """The relations that writes wait for while it runs.

    What a SELECT reads under an older lock may be another one's: a cursor that fetches row by row.
    """
    locked = {lock.relation.oid for lock in statement.locks if lock.mode >= LockMode.SHARE}
    if any(isinstance(operation, Select) for operation in statement.operations):
        return locked
    return locked | {oid for oid, mode in statement.held.items() if mode >= LockMode.SHARE}


def _table(relation: Relation) -> str:
    return relation.table or relation.shown


def _list(left: dict[str, str]) -> str:
    return ", ".join(f"{table} {what}" for table, what in left.items())
