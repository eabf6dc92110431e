"""What the trace measured of a statement on the tables that a finding is about."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from dbctl.migrate.rules.facts import emptied
from dbctl.migrate.trace.model import RevisionTrace, Statement
from dbctl.postgres.catalog.model import Relation
from dbctl.postgres.lock_modes import LockMode
from dbctl.postgres.sql.operations import Truncate, Vacuum


@dataclass(frozen=True, slots=True)
class Facts:
    """The strongest lock on a finding's tables, and which of them were rewritten and read in full.

    ``is_held`` if the transaction had that lock before the statement.
    """

    lock: LockMode | None = None
    is_held: bool = False
    rewritten: tuple[str, ...] = ()
    scanned: tuple[str, ...] = ()

    def in_words(self) -> str:
        """One sentence, or nothing where nothing was measured."""
        done = [f"rewrites {_and(self.rewritten)}"] if self.rewritten else []
        done += [f"reads {_and(self.scanned)} in full"] if self.scanned else []
        if self.lock is None:
            return f"Measured: it {_and(done)}." if done else ""
        verb = "runs under" if self.is_held else "takes"
        return f"Measured: it {_and([f'{verb} {self.lock} ({_blocks(self.lock)})', *done])}."


class Measured:
    """Looks up a revision's measurements by the names of tables."""

    def __init__(self, trace: RevisionTrace) -> None:
        self._oids: dict[str, set[int]] = {}
        self._partitions: dict[str, tuple[str, ...]] = {}
        for statement in trace.statements:
            for table in statement.before.values():
                self._oids.setdefault(table.relation.shown, set()).add(table.relation.oid)
                self._partitions[table.relation.shown] = table.partitions
            for lock in statement.locks:
                self._oids.setdefault(lock.relation.shown, set()).add(lock.relation.oid)

    def of(
        self,
        statement: Statement | None,
        tables: Collection[str],
        *,
        of_transaction: bool = False,
        own: LockMode | None = None,
    ) -> Facts:
        """What ``statement`` did to ``tables``; without any, what it locked.

        Its own lock, or where it took none, the one that it runs under; ``of_transaction`` the stronger of both.
        ``own`` is the mode that its kind takes, which is not taken again where the transaction holds it.
        """
        if statement is None:
            return Facts()
        if not tables:
            return Facts(statement.strongest)
        # A partitioned table has no rows of its own: what is read or written is a partition.
        family = {each for table in tables for each in (table, *self._partitions.get(table, ()))}
        oids = {oid for table in family for oid in self._oids.get(table, ())}
        taken = max((lock.mode for lock in statement.locks if lock.relation.oid in oids), default=None)
        held = max((mode for oid, mode in statement.held.items() if oid in oids), default=None)
        is_held = held is not None and (taken is None or (of_transaction and held > taken))
        lock = held if is_held else taken
        if not is_held and held and own and taken and held >= own > taken:
            lock, is_held = own, True
        rewritten, scanned = _worked(statement)
        return Facts(
            lock=lock,
            is_held=is_held,
            rewritten=tuple(relation.shown for relation in rewritten if relation.oid in oids),
            scanned=tuple(relation.shown for relation in scanned if relation.oid in oids),
        )


def _worked(statement: Statement) -> tuple[tuple[Relation, ...], tuple[Relation, ...]]:
    """The tables that it wrote anew, and those that it read in full."""
    done = statement.operations
    if done and all(isinstance(one, Truncate) for one in done):
        # It gives a table a new file, an empty one, and looks at no row.
        return (), ()
    empty = {relation.oid for relation in emptied(statement)}
    rewritten = tuple(relation for relation in statement.rewritten if relation.oid not in empty)
    scanned = tuple(scan.relation for scan in statement.scanned if scan.relation.oid not in empty)
    if any(isinstance(one, Vacuum) and one.full for one in done):
        # Outside a transaction nobody counts the rows that are read to be written anew.
        scanned = tuple(dict.fromkeys((*scanned, *statement.rewritten)))
    return rewritten, scanned


def _blocks(mode: LockMode) -> str:
    if mode.blocks_reads:
        return "reads and writes wait"
    if mode.blocks_writes:
        return "writes wait"
    return "schema changes wait" if mode.blocks_ddl else "only stronger locks wait"


def _and(words: Collection[str]) -> str:
    *first, last = words
    return f"{', '.join(first)} and {last}" if first else last
