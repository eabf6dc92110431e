"""What a check of a target found, as findings of a verify."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from dbctl.migrate.graph import Graph
from dbctl.migrate.project import Project
from dbctl.migrate.rules.levels import Levels
from dbctl.migrate.rules.model import Finding
from dbctl.migrate.rules.reversal import TARGET_DRIFT
from dbctl.migrate.verify.model import Check, Drift
from dbctl.migrate.verify.words import found


def target_findings(check: Check, project: Project, graph: Graph, levels: Levels) -> Iterator[Finding]:
    """A finding for each thing that the target has otherwise than the revisions that were applied there.

    What is still to apply is none: a target that is behind is what a new revision is for.
    """
    applied = [one for one in graph.revisions if one.id in check.current] or list(graph.revisions[:1])
    told = [(_told(one, check.database), one) for one in check.drift]
    if check.unknown:
        ids = ", ".join(check.unknown)
        told.append(
            (
                f"{check.database} is at {ids}, which the project does not have.",
                Drift("revision", ids, ids, ""),
            )
        )
    for revision in applied[-1:]:
        for words, one in told:
            for finding in found(
                TARGET_DRIFT, revision, words, levels, statement=one.target or one.migrations
            ):
                yield replace(finding, file=project.env_py, details={"kind": one.kind, "name": one.name})


def _told(one: Drift, database: str) -> str:
    if not one.migrations:
        return f"Only {database} has: {_flat(one.target)}."
    if not one.target:
        return f"{database} lacks: {_flat(one.migrations)}."
    return f"In {database}: {_flat(one.target)}; by the revisions: {_flat(one.migrations)}."


def _flat(sql: str) -> str:
    return " ".join(sql.split()).rstrip(";")
