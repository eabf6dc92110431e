"""What the graph and the files show before anything is run: findings at the lines that say so."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

from dbctl.migrate.lint.graph import Reading
from dbctl.migrate.model import Revision
from dbctl.migrate.rules.graph import id_too_long, several_heads, unknown_parents
from dbctl.migrate.rules.judge import Levels
from dbctl.migrate.rules.model import Finding

_PARENTS = ("down_revision", "depends_on")


def graph_findings(reading: Reading, chosen: Iterable[Revision], levels: Levels) -> Iterator[Finding]:
    """Several heads, ids that are too long and parents that are not there, each at the revision that brings it."""
    graph, revisions = reading.graph, tuple(chosen)
    heads = () if graph.branches_are_meant else [one for one in graph.revisions if one.is_head]
    brought = {one.id for one in revisions}
    for finding in several_heads(heads, levels):
        if finding.revision in brought:
            yield _at(finding, "down_revision")
    for revision in revisions:
        for finding in id_too_long(revision, levels):
            yield _at(finding, "revision")
    # A missing parent stops Alembic whichever revisions were chosen.
    for revision in graph.revisions:
        for finding in unknown_parents(revision, reading.missing.get(revision.id, ()), levels):
            yield _at(finding, *_PARENTS)


def _at(finding: Finding, *names: str) -> Finding:
    """The finding at the line that assigns one of ``names``."""
    return replace(finding, line=_line_of(finding.file, names)) if finding.file else finding


def _line_of(file: Path, names: Iterable[str]) -> int:
    wanted = tuple(names)
    for statement in ast.parse(file.read_bytes()).body:
        targets = (
            statement.targets if isinstance(statement, ast.Assign) else [getattr(statement, "target", None)]
        )
        if any(isinstance(target, ast.Name) and target.id in wanted for target in targets):
            return statement.lineno
    return 1
