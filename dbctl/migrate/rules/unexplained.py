"""What a statement did that its text does not tell: the trace alone shows it."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from dbctl.migrate.rules.data import EXPLICIT_LOCK
from dbctl.migrate.rules.emptied import TRUNCATE
from dbctl.migrate.rules.facts import emptied, is_opaque, stored
from dbctl.migrate.rules.model import Hazard, Level
from dbctl.migrate.rules.registry import Hit, hazard
from dbctl.migrate.trace.model import Statement
from dbctl.postgres.catalog.model import Relation
from dbctl.postgres.lock_modes import LockMode
from dbctl.postgres.sql.operations import (
    Delete,
    Insert,
    LockTable,
    Merge,
    RefreshMaterializedView,
    Select,
    Truncate,
    Update,
    ValidateDomainConstraint,
)

_READ = "read in full"
_LOCKED = "locked"
_ROWS_LOCKED = "row by row locked"
_EMPTIED = "emptied"
# What they read and lock, their own rules and those of held locks judge; REFRESH … CONCURRENTLY keeps no reader out.
# Of a domain's VALIDATE there is no lighter form: the rule for its constraint says so.
_JUDGED = (
    Select,
    Insert,
    Update,
    Delete,
    Merge,
    LockTable,
    Truncate,
    RefreshMaterializedView,
    ValidateDomainConstraint,
)
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


LONG_LOCK = hazard(
    Hazard(
        id="long-lock",
        level=Level.DANGER,
        effect="blocking",
        why="It works on a whole table under a lock that writes, and maybe reads, wait for until the commit.",
        safe=(
            (
                "# No rule knows a safe form of this statement. Split what it does (NOT VALID first, VALIDATE in a\n"
                "# later revision), or run it while nobody uses {table}."
            ),
        ),
        lock=LockMode.ACCESS_EXCLUSIVE,
    )
)


_BY_WHAT = ((_EMPTIED, TRUNCATE), (_LOCKED, EXPLICIT_LOCK), (_ROWS_LOCKED, EXPLICIT_LOCK))


def unexplained(statement: Statement, told: Collection[str], *, judged: bool) -> Iterator[tuple[Hazard, Hit]]:
    """The tables that a statement rewrites, indexes, locks or reads under a strong lock, but for ``told``.

    Of an opaque one whatever is not told yet; of any other only where no rule has ``judged`` it.
    """
    if statement.failure:
        return
    if not is_opaque(statement):
        if not judged:
            yield from _long(statement)
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
    for what, hazard_ in _BY_WHAT:
        for table in [table for table, done in left.items() if done == what]:
            del left[table]
            yield hazard_, Hit((table,), {"table": table, "key": "ctid"}, "It happens inside the statement.")
    if left:
        why = (
            ""
            if statement.operations
            else "Its syntax is not known, so that only its trace tells what it does. "
        )
        # It may have read the table before it took the lock.
        level = Level.CAUTION if set(left.values()) == {_READ} else None
        yield HIDDEN, Hit(tables=tuple(left), why=f"{why}It leaves {_list(left)}.", level=level)


def _long(statement: Statement) -> Iterator[tuple[Hazard, Hit]]:
    """What can be read in the statement, and yet no rule knows: the trace alone says how bad it is."""
    if any(isinstance(operation, _JUDGED) for operation in statement.operations):
        return
    locked = _locked(statement)
    done = (*statement.rewritten, *(scan.relation for scan in statement.scanned))
    tables = tuple(dict.fromkeys(each.shown for each in done if each.oid in locked and stored(each)))
    if tables:
        yield LONG_LOCK, Hit(tables, {"table": tables[0]})


def _worked(statement: Statement) -> Iterator[tuple[Relation, str]]:
    """Each table and what it got, the worst last."""
    locked = _locked(statement)
    if statement.operations and not statement.hidden:
        # Nothing but LOCK TABLE is hidden from event triggers, takes such a lock and leaves no other mark.
        for lock in statement.locks:
            if lock.mode.blocks_writes and stored(lock.relation):
                yield lock.relation, _LOCKED
        yield from ((relation, _ROWS_LOCKED) for relation in _rows_locked(statement))
    for scan in statement.scanned:
        if scan.relation.oid in locked:
            yield scan.relation, _READ
    yield from ((relation, "indexed") for relation in (*statement.built, *statement.rebuilt))
    yield from ((relation, "rewritten") for relation in statement.rewritten)
    yield from ((relation, _EMPTIED) for relation in emptied(statement))


def _rows_locked(statement: Statement) -> tuple[Relation, ...]:
    """The tables of a hidden SELECT … FOR UPDATE or SHARE without an index: read in full under the lock for it.

    A foreign key's own look at its parent takes the same lock, and has an index.
    """
    full = {scan.relation.oid for scan in statement.scanned}
    return tuple(
        lock.relation
        for lock in statement.locks
        if lock.mode is LockMode.ROW_SHARE and lock.relation.oid in full and stored(lock.relation)
    )


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
