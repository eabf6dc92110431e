"""Findings of every revision of the range: of its trace, of its file, of the graph; those accepted marked."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from dbctl.migrate.lint.judge import Judge
from dbctl.migrate.model import Revision
from dbctl.migrate.rules.accepts import apply_accepts, read_accepts
from dbctl.migrate.rules.depends import conditions
from dbctl.migrate.rules.model import Finding
from dbctl.migrate.rules.registry import load
from dbctl.migrate.rules.reversal import REVERSAL
from dbctl.migrate.trace.model import RevisionTrace


@dataclass(frozen=True, slots=True)
class Verdict:
    """What is to be said of the revisions; ``notes`` of a revision's own, by its id."""

    findings: tuple[Finding, ...]
    notes: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


def judge_all(
    traces: Iterable[RevisionTrace], others: Iterable[Finding], revisions: Sequence[Revision], judge: Judge
) -> Verdict:
    """Judge the traces; ``others`` were found elsewhere and may be accepted in their revision's file as well.

    A revision has a trace for each engine of env.py; one without a trace is judged by its file.
    """
    traced: defaultdict[str, list[RevisionTrace]] = defaultdict(list)
    for trace in traces:
        traced[trace.revision].append(trace)
    found: list[Finding] = []
    notes: dict[str, tuple[str, ...]] = {}
    left = list(others)
    for revision in revisions:
        own = [finding for finding in left if finding.revision == revision.id]
        left = [finding for finding in left if finding.revision != revision.id]
        for trace in traced[revision.id] or [_untraced(revision)]:
            own += judge.findings(trace)
        # What is said of the file is the same for each engine.
        once = [finding for place, finding in enumerate(own) if finding not in own[:place]]
        judged, unused = apply_accepts(once, read_accepts(revision.path, load()))
        found.extend(judged)
        said = [each for trace in traced[revision.id] for each in conditions(trace)]
        if unused or said:
            notes[revision.id] = (
                *dict.fromkeys(said),
                *(
                    f"line {one.line}: the accept of {one.hazard or 'nothing'} does not count: {one.problem}"
                    for one in unused
                    if one.hazard not in REVERSAL
                ),
            )
    return Verdict((*found, *left), notes)


def _untraced(revision: Revision) -> RevisionTrace:
    return RevisionTrace(revision.id, revision.message, revision.path, (), 0.0)
