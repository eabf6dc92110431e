"""Puts traces and findings into the words of a report."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path

from dbctl.migrate.lint.model import Linted, Locked, Summary, Traced
from dbctl.migrate.rules.model import Finding, Level
from dbctl.migrate.trace.model import Failure, RevisionTrace, Statement
from dbctl.postgres.catalog.model import Relation


def linted(trace: RevisionTrace, here: Path, unused_accepts: Iterable[str] = ()) -> Linted:
    """A traced revision without what only rules ask for."""
    unused = tuple(unused_accepts)
    known = {lock.relation.oid: lock.relation for each in trace.statements for lock in each.locks}
    return Linted(
        revision=trace.revision,
        message=trace.message,
        file=shown(trace.path, here),
        statements=tuple(_traced(statement, here, known) for statement in trace.statements),
        duration_seconds=trace.duration_seconds,
        failure=_said(trace.failure),
        failed_line=trace.failed_line,
        notes=(*trace.notes, *unused),
        unused_accepts=unused,
    )


def located(finding: Finding, here: Path) -> Finding:
    """The finding with its file as a person in ``here`` would name it."""
    return replace(finding, file=shown(finding.file, here)) if finding.file else finding


def shown(file: Path, here: Path) -> Path:
    """Relative to the folder ``here`` where it is below it, else absolute."""
    if file.is_relative_to(here):
        return file.relative_to(here)
    real, folder = file.resolve(), here.resolve()
    return real.relative_to(folder) if real.is_relative_to(folder) else file


def summary(findings: Iterable[Finding]) -> Summary:
    """How many there are of each level, those left out that were accepted."""
    all_ = tuple(findings)
    counted = {level: sum(not one.accepted for one in all_ if one.level is level) for level in Level}
    return Summary(
        danger=counted[Level.DANGER],
        caution=counted[Level.CAUTION],
        notice=counted[Level.NOTICE],
        accepted=sum(bool(one.accepted) for one in all_),
    )


def _traced(statement: Statement, here: Path, known: Mapping[int, Relation]) -> Traced:
    return Traced(
        number=statement.number,
        sql=statement.sql,
        file=shown(statement.file, here) if statement.file else None,
        line=statement.line,
        mode=statement.mode,
        executions=statement.executions,
        locks=tuple(
            Locked(lock.relation.shown, lock.mode) for lock in statement.locks if not lock.relation.is_index
        ),
        rewrites=_names(statement.rewritten),
        scans=_names(scan.relation for scan in statement.scanned),
        hidden=tuple(hidden.sql for hidden in statement.hidden),
        rows_written=sum(w.inserted + w.updated + w.deleted for w in statement.written),
        duration_seconds=statement.duration_seconds,
        failure=_said(statement.failure),
        held=tuple(
            Locked(known[oid].shown, mode)
            for oid, mode in statement.held.items()
            if oid in known and not known[oid].is_index
        ),
    )


def _names(relations: Iterable[Relation]) -> tuple[str, ...]:
    return tuple(relation.shown for relation in relations if not relation.is_index)


def _said(failure: Failure | None) -> str:
    if failure is None:
        return ""
    return f"{failure.message} (on made-up rows; it passes without)" if failure.on_rows else failure.message
