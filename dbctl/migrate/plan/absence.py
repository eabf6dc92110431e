"""Tables that our role may not read are not in the copy: what a revision does with them is not known."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace

from dbctl.migrate.plan.model import Estimate, PlannedRevision, PlannedStatement
from dbctl.migrate.rules.judge import Judgement
from dbctl.migrate.rules.model import Finding, Level
from dbctl.migrate.trace.model import RevisionTrace

# What a failure is called, wherever it comes from.
_FAILS = "revision-fails"


@dataclass(frozen=True, slots=True)
class Absence:
    """The tables that a revision is about and the copy lacks."""

    revision: str
    tables: tuple[str, ...]

    @classmethod
    def of(cls, trace: RevisionTrace, left_out: Iterable[str]) -> Absence:
        """Those of ``left_out`` (``schema.name``) that its statements name, or the error that it ended with."""
        texts = [statement.sql for statement in trace.statements]
        texts += [trace.failure.message] if trace.failure else []
        return cls(trace.revision, tuple(one for one in left_out if any(_names(one, text) for text in texts)))

    @property
    def said(self) -> str:
        """For a person."""
        return f"{', '.join(self.tables)} could not be read, so revision {self.revision} can't be judged"

    def judged(self, judgement: Judgement) -> Judgement:
        """Without what was found of statements about these tables: a caution that they are not known instead."""
        if not self.tables:
            return judgement
        kept: list[Finding] = []
        unknown: dict[int | None, Finding] = {}
        for finding in judgement.findings:
            if finding.hazard == _FAILS or self._is_about(finding.statement):
                unknown.setdefault(finding.line, self._unknown(finding))
            else:
                kept.append(finding)
        return replace(judgement, findings=(*kept, *unknown.values()))

    def planned(self, revision: PlannedRevision) -> PlannedRevision:
        """With its failure as a note, and no numbers for the statements about these tables."""
        if not self.tables:
            return revision
        return replace(
            revision,
            failure="",
            notes=(*revision.notes, *filter(None, (self.said, revision.failure))),
            statements=tuple(self._without_numbers(one) for one in revision.statements),
            disk_bytes=None,
        )

    def _is_about(self, sql: str) -> bool:
        return bool(sql) and any(_names(table, sql) for table in self.tables)

    def _unknown(self, finding: Finding) -> Finding:
        return replace(
            finding,
            hazard=_FAILS,
            level=Level.CAUTION,
            tables=self.tables,
            why=f"It is not known whether it would: {self.said}. The copy lacks what its role may not SELECT from.",
            fix="",
            lock_mode=None,
            rewrites=False,
            scans=False,
        )

    def _without_numbers(self, statement: PlannedStatement) -> PlannedStatement:
        if not self._is_about(statement.sql):
            return statement
        return replace(statement, estimate=Estimate(None), disk_bytes=None)


def _names(table: str, text: str) -> bool:
    """Whether a text has the table's name as a word of its own."""
    name = table.partition(".")[2]
    return re.search(rf"(?<!\w){re.escape(name)}(?!\w)", text, re.IGNORECASE) is not None
