"""Joins what a revision did on the copy with what the target says of its tables."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from dbctl.migrate.plan.blockers import queued_per_second
from dbctl.migrate.plan.estimate import disk_bytes, estimate, together
from dbctl.migrate.plan.fingerprint import hash_file
from dbctl.migrate.plan.model import Blocked, HeldLock, PlannedRevision, PlannedStatement, Rates, TableLock
from dbctl.migrate.plan.weigh import Scales, is_about, weigh
from dbctl.migrate.plan.works import Known, find_works, waits_for
from dbctl.migrate.rules.judge import Judgement
from dbctl.migrate.trace.model import RevisionTrace, Statement
from dbctl.postgres.lock_modes import LockMode

_UNBATCHED = "dml-unbatched"
# What belongs to a table, and what waits for nobody, is not worth a line.
_SHOWN_KINDS = {"table", "partitioned table", "view", "materialized view", "foreign table"}


@dataclass(frozen=True, slots=True)
class Measures:
    """What turns a trace into a plan: the target's tables, scratch's rates, and what counts as small."""

    known: Known
    rates: Rates | None
    scales: Scales


def plan_revision(trace: RevisionTrace, judgement: Judgement, measures: Measures) -> PlannedRevision:
    """One revision: its statements in order, its findings with the target's numbers."""
    statements = tuple(_statement(one, judgement, measures) for one in trace.statements)
    findings, relies_on = weigh(
        judgement.findings, trace.statements, statements, measures.known, measures.scales
    )
    failure = trace.failure
    return PlannedRevision(
        revision=trace.revision,
        message=trace.message,
        path=trace.path,
        sha256=hash_file(trace.path),
        statements=statements,
        findings=findings,
        held=_held(statements),
        disk_bytes=_sum(one.disk_bytes for one in statements),
        failure="" if failure is None or failure.on_rows else failure.message,
        notes=trace.notes,
        unused_accepts=tuple(f"line {one.line}: {one.problem}" for one in judgement.unused_accepts),
        relies_on=relies_on,
    )


def _statement(statement: Statement, judgement: Judgement, measures: Measures) -> PlannedStatement:
    works = find_works(statement, measures.known, _unbatched(statement, judgement, measures.known))
    locks = _locks(statement, measures.known)
    held = _held_before(statement, measures.known)
    modes, snapshots = waits_for(statement)
    facts = {one.name: one for one in measures.known.facts.values()}
    return PlannedStatement(
        number=statement.number,
        sql=statement.sql,
        file=statement.file,
        line=statement.line,
        mode=statement.mode,
        transaction=statement.transaction,
        executions=statement.executions,
        locks=locks,
        held=held,
        blocks=blocked(lock.mode for lock in (*locks, *held)),
        work=works,
        estimate=estimate(works, measures.rates),
        disk_bytes=disk_bytes(works),
        queued_per_second=queued_per_second(_strongest((*locks, *held)), facts),
        waits_for_snapshots=snapshots,
        waits_for=modes,
    )


def _unbatched(statement: Statement, judgement: Judgement, known: Known) -> set[str]:
    """The tables, by the target's names, of which a rule says that rows are changed without a bound."""
    shown = {table.relation.shown: known.name(table.relation) for table in statement.before.values()}
    return {
        shown.get(table, table)
        for finding in judgement.findings
        if finding.hazard == _UNBATCHED and is_about(finding, statement)
        for table in finding.tables
    }


def _locks(statement: Statement, known: Known) -> tuple[TableLock, ...]:
    """The strongest mode newly taken on each table."""
    taken = (lock for lock in statement.locks if lock.relation.kind in _SHOWN_KINDS)
    return _strongest(TableLock(known.name(lock.relation), lock.mode) for lock in taken)


def _held_before(statement: Statement, known: Known) -> tuple[TableLock, ...]:
    """What its transaction holds already, of that which keeps somebody waiting."""
    return _strongest(
        TableLock(known.facts[oid].name, mode)
        for oid, mode in statement.held.items()
        if oid in known.facts and mode.blocks_ddl
    )


def _strongest(locks: Iterable[TableLock]) -> tuple[TableLock, ...]:
    """One lock a table, the strongest first."""
    found: dict[str, LockMode] = {}
    for lock in locks:
        found[lock.table] = max(lock.mode, found.get(lock.table, lock.mode))
    order = list(LockMode)
    return tuple(
        TableLock(table, mode)
        for table, mode in sorted(found.items(), key=lambda one: (-order.index(one[1]), one[0]))
    )


def blocked(modes: Iterable[LockMode]) -> tuple[Blocked, ...]:
    """What waits behind these modes."""
    held = tuple(modes)
    kinds: Mapping[Blocked, bool] = {
        "reads": any(mode.blocks_reads for mode in held),
        "writes": any(mode.blocks_writes for mode in held),
        "DDL": any(mode.blocks_ddl for mode in held),
    }
    return tuple(kind for kind, is_so in kinds.items() if is_so)


def _held(statements: Sequence[PlannedStatement]) -> tuple[HeldLock, ...]:
    """Each table's strongest lock that keeps somebody waiting, from when it is taken to the end of its transaction."""
    held: dict[str, HeldLock] = {}
    for position, statement in enumerate(statements):
        rest = [one for one in statements[position:] if one.transaction == statement.transaction]
        seconds = together(one.estimate for one in rest)
        for lock in statement.locks:
            before = held.get(lock.table)
            if lock.mode.blocks_ddl and (before is None or before.mode < lock.mode):
                held[lock.table] = HeldLock(lock.table, lock.mode, seconds)
    return tuple(held.values())


def _sum(numbers: Iterable[int | None]) -> int | None:
    known = list(numbers)
    return None if None in known else sum(number or 0 for number in known)
