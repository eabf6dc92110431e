"""Runs the rules over a traced revision: hits become findings, with what was measured and the safe way."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from dbctl.migrate.rules import failures
from dbctl.migrate.rules.accepts import Accept, apply_accepts, read_accepts
from dbctl.migrate.rules.apart import each_apart
from dbctl.migrate.rules.fixes import fill
from dbctl.migrate.rules.levels import Levels
from dbctl.migrate.rules.measured import Measured
from dbctl.migrate.rules.model import Finding, Hazard
from dbctl.migrate.rules.registry import Hit, Scene, load, revision_rules, rules_for, statement_rules
from dbctl.migrate.rules.source import judge_source
from dbctl.migrate.rules.unexplained import LONG_LOCK, unexplained
from dbctl.migrate.trace.model import RevisionTrace, Statement
from dbctl.postgres.sql.operations import Operation

__all__ = ["Judgement", "Levels", "judge"]


@dataclass(frozen=True, slots=True)
class Judgement:
    """What is to be said of a revision; ``unused_accepts`` are comments that accept nothing, and why."""

    findings: tuple[Finding, ...]
    unused_accepts: tuple[Accept, ...] = ()


@dataclass(frozen=True, slots=True)
class _Match:
    """A hazard that was met: by a statement, by SQL that ran inside it, or by the file alone."""

    hazard: Hazard
    hit: Hit
    statement: Statement | None = None
    inner: str = ""
    line: int | None = None


def judge(trace: RevisionTrace, levels: Levels | None = None) -> Judgement:
    """All findings of a traced revision, in the order of its statements; accepted ones keep their reason."""
    levels = levels or Levels()
    known = load()
    measured = Measured(trace)
    matches = tuple(_merged(_matches(trace, levels)))
    findings = [(match.hit, _finding(match, trace, levels, measured)) for match in matches]
    kept = each_apart([(hit, finding) for hit, finding in findings if finding is not None])
    return Judgement(*apply_accepts(kept, read_accepts(trace.path, known)))


def _matches(trace: RevisionTrace, levels: Levels) -> Iterator[_Match]:
    """In the order of the statements; what is about the whole file comes last."""
    together: dict[int, list[_Match]] = {}
    for rule in revision_rules():
        for statement, hit in rule.judge(trace):
            together.setdefault(statement.number, []).append(_Match(rule.hazard, hit, statement))
    for statement in trace.statements:
        matches = [*_of_statement(statement, trace, levels), *together.get(statement.number, ())]
        yield from matches
        yield from _left_over(statement, trace, matches)
    if trace.failure and not any(statement.failure for statement in trace.statements):
        hazard = failures.hazard_of(trace.failure)
        hit = failures.of_failure(trace.failure, trace, trace.failed)
        yield _Match(hazard, hit, trace.failed, line=trace.failed_line)
    for refusal in trace.refusals:
        yield _Match(failures.LEAVES_SCRATCH, failures.of_refusal(refusal), line=refusal.line)
    for lacking in trace.lacking:
        yield _Match(failures.SCRATCH_LACKS, failures.of_lacking(lacking), line=lacking.line)
    for hazard, hit, line in judge_source(trace):
        yield _Match(hazard, hit, line=line)


def _of_statement(statement: Statement, trace: RevisionTrace, levels: Levels) -> Iterator[_Match]:
    scene = Scene(statement, trace, levels.min_version, hidden=False, server_version=levels.server_version)
    yield from _of_operations(statement.operations, scene)
    for hidden in statement.hidden:
        yield from _of_operations(hidden.operations, replace(scene, hidden=True), hidden.sql)
    for each in statement_rules():
        for hit in each.judge(scene):
            yield _Match(each.hazard, hit, statement)


def _of_operations(operations: Iterable[Operation], scene: Scene, inner: str = "") -> Iterator[_Match]:
    for operation in operations:
        for rule in rules_for(operation):
            for hit in rule.judge(operation, scene):
                yield _Match(rule.hazard, hit, scene.statement, inner)


def _left_over(statement: Statement, trace: RevisionTrace, matches: list[_Match]) -> Iterator[_Match]:
    """What the trace shows and no rule explains."""
    met = [match.hazard for match in matches]
    failure = statement.failure
    is_told = any(match.hit.fails for match in matches) or failures.explained(statement, met)
    is_told = is_told or failures.follows(statement, trace)
    if failure is not None and not is_told:
        yield _Match(failures.hazard_of(failure), failures.of_failure(failure, trace, statement), statement)
    told = {table for match in matches for table in match.hit.tables}
    for hazard, hit in unexplained(statement, told, judged=bool(matches)):
        # What is seen by the trace alone happened inside; the statement's own text is all that there is of it.
        yield _Match(hazard, hit, statement, "" if hazard is LONG_LOCK else statement.sql)


def _merged(matches: Iterable[_Match]) -> Iterator[_Match]:
    """Each hazard once a statement: a loop that sends one statement many times is one finding."""
    first: dict[tuple[object, ...], _Match] = {}
    for match in matches:
        statement = match.statement
        where = (statement.file, statement.line, statement.sql) if statement else (match.line, match.hit.why)
        key = (match.hazard.id, where, match.inner)
        known = first.get(key)
        if known is None:
            first[key] = match
        else:
            tables = tuple(dict.fromkeys((*known.hit.tables, *match.hit.tables)))
            first[key] = replace(known, hit=replace(known.hit, tables=tables))
    return iter(first.values())


def _finding(match: _Match, trace: RevisionTrace, levels: Levels, measured: Measured) -> Finding | None:
    hit, statement = match.hit, match.statement
    level = levels.of(match.hazard, hit.level, hit.tables)
    if level is None:
        return None
    facts = measured.of(statement, hit.tables, of_transaction=hit.of_transaction, own=match.hazard.lock)
    return Finding(
        hazard=match.hazard.id,
        level=level,
        revision=trace.revision,
        file=(statement.file if statement else None) or trace.path,
        line=statement.line if statement else match.line,
        statement=match.inner or (statement.sql if statement else ""),
        lock_mode=facts.lock,
        tables=hit.tables,
        rewrites=bool(facts.rewritten),
        scans=bool(facts.scanned),
        why=" ".join(part for part in (match.hazard.why, hit.why, facts.in_words()) if part),
        fix=hit.fix or fill(match.hazard.safe, hit),
        hidden=bool(match.inner),
    )
