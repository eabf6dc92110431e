"""The project's revisions, read so that a broken reference is found rather than fatal."""

from __future__ import annotations

from dataclasses import dataclass, replace

from dbctl.migrate.graph import Graph
from dbctl.migrate.model import Revision
from dbctl.migrate.project import Project
from dbctl.migrate.revisions import read_revision, revision_files


@dataclass(frozen=True, slots=True)
class Reading:
    """The graph, without the references to nothing: those are in ``missing``, by revision."""

    graph: Graph
    missing: dict[str, tuple[str, ...]]


def read_leniently(project: Project) -> Reading:
    """The project's revisions. Raises SettingsError: one is not readable, an id used twice, a circle."""
    files = revision_files(project.version_locations, recursive=project.recursive)
    revisions = [read_revision(file) for file in files]
    names = {name for one in revisions for name in (one.id, *one.branch_labels)}
    missing = {
        one.id: lost
        for one in revisions
        if (lost := tuple(n for n in (*one.down_revisions, *one.depends_on) if n not in names))
    }
    return Reading(Graph(_without(one, names) for one in revisions), missing)


def _without(revision: Revision, names: set[str]) -> Revision:
    def known(given: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(name for name in given if name in names)

    return replace(
        revision, down_revisions=known(revision.down_revisions), depends_on=known(revision.depends_on)
    )
