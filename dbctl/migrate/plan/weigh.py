"""Weighs findings by the target's numbers: says what they mean there, and forgives what a tiny table forgives."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from dbctl.migrate.plan.model import PlannedStatement, State, TableFacts, Work
from dbctl.migrate.plan.words import bytes_text, count_text, listed, rows_text, seconds_text
from dbctl.migrate.plan.works import Known
from dbctl.migrate.rules.model import Finding, Level
from dbctl.migrate.rules.registry import HAZARDS
from dbctl.migrate.trace.model import Statement

_SMALL_ROWS = 1000
# No row of a heap is shorter: its header and its line pointer.
_ROW_BYTES = 28
# What can happen to rows only, so to no empty table.
_ABOUT_ROWS = {"fails-on-rows", "create-unique-index", "alter-type-narrowing", "truncate"}
# In the way however little is done meanwhile: they wait without end, or for each other.
_ABOUT_LOCKS = {"multi-table-locks", "no-lock-timeout", "explicit-lock"}
_DOES: Mapping[str, str] = {
    "rewrite": "rewrites",
    "scan": "reads all of",
    "index": "builds an index on",
    "write": "writes up to all rows of",
}


@dataclass(frozen=True, slots=True)
class Scales:
    """What counts as small on the target, and what the settings already decided."""

    small_bytes: int
    hot: Collection[str] = ()
    decided: Collection[str] = field(default=frozenset())

    def is_small(self, facts: TableFacts) -> bool:
        """Whether reading or rewriting it takes no time worth naming, for certain."""
        if facts.table_bytes is None or facts.name in self.hot or facts.table_bytes >= self.small_bytes:
            return False
        rows = facts.table_bytes // _ROW_BYTES if facts.rows is None else facts.rows
        return rows < _SMALL_ROWS

    def is_still(self, state: State, facts: TableFacts) -> bool:
        """Whether a table is what a finding was forgiven for."""
        return facts.is_empty if state == "empty" else self.is_small(facts)


@dataclass(frozen=True, slots=True)
class _Mercy:
    """Why a finding is harmless, as long as these tables are in that state."""

    reason: str
    state: State
    tables: Sequence[TableFacts]


def weigh(
    findings: Iterable[Finding],
    traced: Sequence[Statement],
    planned: Sequence[PlannedStatement],
    known: Known,
    scales: Scales,
) -> tuple[tuple[Finding, ...], tuple[tuple[str, State], ...]]:
    """The findings with ``facts`` in their details, and with ``lowered`` where the numbers made them a notice.

    And the tables, by name, that have to stay as small or empty as they are for that.
    """
    by_name = {one.name: one for one in known.facts.values()}
    weighed = [_weighed(one, _match(one, traced, planned), by_name, scales) for one in findings]
    mercies = [mercy for _, mercy in weighed if mercy is not None]
    relies_on = {(table.name, mercy.state) for mercy in mercies for table in mercy.tables}
    return tuple(one for one, _ in weighed), tuple(sorted(relies_on))


def _match(
    finding: Finding, traced: Sequence[Statement], planned: Sequence[PlannedStatement]
) -> PlannedStatement | None:
    pairs = zip(traced, planned, strict=True)
    return next((plan for statement, plan in pairs if is_about(finding, statement)), None)


def is_about(finding: Finding, statement: Statement) -> bool:
    """Whether it was this statement, or SQL inside it, that met the hazard."""
    texts = (statement.sql, *(inner.sql for inner in statement.hidden))
    return finding.statement in texts and finding.line == statement.line


def _weighed(
    finding: Finding, statement: PlannedStatement | None, facts: Mapping[str, TableFacts], scales: Scales
) -> tuple[Finding, _Mercy | None]:
    tables = [facts[name] for name in finding.tables if name in facts]
    details = {**finding.details, **({"facts": said} if (said := _say(finding, statement, facts)) else {})}
    mercy = _forgiven(finding, statement, tables, facts, scales)
    if mercy is None:
        return replace(finding, details=details), None
    details |= {"lowered": mercy.reason, "level_before": str(finding.level)}
    return replace(finding, level=Level.NOTICE, details=details), mercy


def _forgiven(
    finding: Finding,
    statement: PlannedStatement | None,
    tables: Sequence[TableFacts],
    facts: Mapping[str, TableFacts],
    scales: Scales,
) -> _Mercy | None:
    """Why the finding is harmless on this target; None where it is not, or where that is not certain."""
    if finding.level is Level.NOTICE or finding.hazard in scales.decided:
        return None
    effect = HAZARDS[finding.hazard].effect if finding.hazard in HAZARDS else ""
    if effect == "blocking" and finding.hazard not in _ABOUT_LOCKS:
        worked = {work.table for work in statement.work} if statement else set()
        meant = [facts[name] for name in sorted(worked) if name in facts] or tables
        if meant and all(scales.is_small(one) for one in meant):
            biggest = max(one.table_bytes or 0 for one in meant)
            return _Mercy(f"small: {bytes_text(biggest)}, brief", "small", meant)
    rowless = bool(tables) and len(tables) == len(finding.tables) and all(one.is_empty for one in tables)
    return _Mercy("no row is there", "empty", tables) if rowless and finding.hazard in _ABOUT_ROWS else None


def _say(finding: Finding, statement: PlannedStatement | None, facts: Mapping[str, TableFacts]) -> str:
    """The finding in the target's numbers: ``rewrites orders, 48 GB, 210 M rows, blocks reads and writes, …``."""
    if statement is None or not statement.work or finding.hazard in _ABOUT_LOCKS:
        return "; ".join(_size(facts[name], named=True) for name in finding.tables if name in facts)
    parts = [_work(work, facts.get(work.table)) for work in statement.work]
    if statement.blocks:
        parts.append(f"blocks {listed([kind for kind in statement.blocks if kind != 'DDL'] or ['DDL'])}")
    parts.append(how_long(statement))
    if statement.queued_per_second and not statement.estimate.is_brief:
        parts.append(f"about {count_text(statement.queued_per_second)} statements a second would queue")
    return ", ".join(parts)


def _work(work: Work, facts: TableFacts | None) -> str:
    return f"{_DOES[work.kind]} {work.table}" + (f", {_size(facts, named=False)}" if facts else "")


def _size(facts: TableFacts, *, named: bool) -> str:
    parts = [bytes_text(facts.total_bytes)] if facts.total_bytes is not None else ["size not known"]
    parts += [rows_text(facts.rows)] if facts.rows is not None else []
    return f"{facts.name}: {', '.join(parts)}" if named else ", ".join(parts)


def how_long(statement: PlannedStatement) -> str:
    """``brief``, ``about 25 min`` or what is missing to say it."""
    if statement.estimate.is_brief:
        return "brief"
    if statement.estimate.seconds is None:
        return "for a time that is not known"
    return f"about {seconds_text(statement.estimate.seconds)}"
