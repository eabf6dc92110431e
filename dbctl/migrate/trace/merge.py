"""Joins two traces of one revision: a run that failed on synthetic rows, and one without them."""

from __future__ import annotations

from dataclasses import replace

from dbctl.migrate.trace.model import RevisionTrace, Statement


def merged(with_rows: RevisionTrace, without: RevisionTrace) -> RevisionTrace:
    """The run without rows, with the other one's error where it happened.

    What fails without rows too, fails for its own reasons: the rows are not mentioned. A Python error is a
    note: rows that are made up may surprise code that is right.
    """
    if without.failure or with_rows.failure is None:
        return without
    failure = replace(with_rows.failure, on_rows=True)
    if not failure.sqlstate:
        note = f"with synthetic rows it raises {failure.message}; traced without rows"
        return replace(without, notes=(*with_rows.notes, *without.notes, note))
    failed = next((s for s in reversed(with_rows.statements) if s.failure), None)
    statements = tuple(
        replace(s, failure=failure) if failed and _is_same(s, failed, without) else s
        for s in without.statements
    )
    return replace(
        without,
        statements=statements,
        failure=failure,
        failed_line=with_rows.failed_line,
        failed=None if any(s.failure for s in statements) else failed,
        notes=(*with_rows.notes, *without.notes),
        seeded=with_rows.seeded,
    )


def _is_same(statement: Statement, failed: Statement, run: RevisionTrace) -> bool:
    """By its number; by its text, where the run without rows took another way."""
    numbered = next((s for s in run.statements if s.number == failed.number), None)
    if numbered is not None and numbered.sql == failed.sql:
        return statement.number == failed.number
    same = next((s for s in run.statements if s.sql == failed.sql), None)
    return same is not None and statement.number == same.number
