"""How revisions hang together: heads, order, and what a database still lacks."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from functools import cached_property
from graphlib import CycleError, TopologicalSorter

from dbctl.errors import SettingsError
from dbctl.migrate.model import Revision


class Graph:
    """The revisions of a project, ``revisions`` in an order in which they can run.

    Raises SettingsError for an id used twice, a reference to nothing, and a cycle.
    """

    def __init__(self, revisions: Iterable[Revision]) -> None:
        by_id = _unique(revisions)
        labels = {label: revision.id for revision in by_id.values() for label in revision.branch_labels}
        self._parents = {id_: _parents(revision, by_id, labels) for id_, revision in by_id.items()}
        followed = {parent for revision in by_id.values() for parent in revision.down_revisions}
        self._by_id = {
            id_: replace(by_id[id_], is_head=id_ not in followed) for id_ in _in_order(self._parents)
        }

    @property
    def revisions(self) -> tuple[Revision, ...]:
        """All, a base first."""
        return tuple(self._by_id.values())

    @cached_property
    def heads(self) -> tuple[str, ...]:
        """The ids that no other revision follows."""
        return tuple(revision.id for revision in self.revisions if revision.is_head)

    @cached_property
    def branches_are_meant(self) -> bool:
        """Whether each head is on a branch with a label of its own: `alembic upgrade heads` is the way there."""
        labels = {one.id: set(one.branch_labels) for one in self.revisions}
        of_head = [set().union(*(labels[id_] for id_ in self.closure([head]))) for head in self.heads]
        others = [set().union(*(of_head[:number] + of_head[number + 1 :])) for number in range(len(of_head))]
        return all(own - other for own, other in zip(of_head, others, strict=True))

    def pending(self, current: Iterable[str]) -> tuple[Revision, ...]:
        """What a database at the revisions ``current`` lacks, in an order in which it can run."""
        applied = set(self.closure(current))
        return tuple(revision for revision in self.revisions if revision.id not in applied)

    def unknown(self, current: Iterable[str]) -> tuple[str, ...]:
        """Those of ``current`` that the project does not have."""
        return tuple(id_ for id_ in current if id_ not in self._by_id)

    def parents(self, id_: str) -> tuple[str, ...]:
        """What a revision follows or depends on, as ids."""
        return self._parents[id_]

    def closure(self, ids: Iterable[str]) -> Iterator[str]:
        """``ids`` and all that they build on."""
        seen: set[str] = set()
        waiting = [id_ for id_ in ids if id_ in self._by_id]
        while waiting:
            id_ = waiting.pop()
            if id_ not in seen:
                seen.add(id_)
                waiting.extend(self._parents[id_])
                yield id_


def _unique(revisions: Iterable[Revision]) -> dict[str, Revision]:
    by_id: dict[str, Revision] = {}
    for revision in revisions:
        if revision.id in by_id:
            raise SettingsError(
                f"revision {revision.id} is there twice",
                why=f"in {by_id[revision.id].path} and {revision.path}",
                hint="give one of them another id",
            )
        by_id[revision.id] = revision
    return by_id


def _parents(revision: Revision, by_id: Mapping[str, Revision], labels: Mapping[str, str]) -> tuple[str, ...]:
    names = (*revision.down_revisions, *revision.depends_on)
    missing = next((name for name in names if name not in by_id and name not in labels), None)
    if missing is not None:
        raise SettingsError(
            f"revision {revision.id} builds on {missing}, which is not there",
            why=f"{revision.path} names it",
            hint=f"add the file of {missing}, or mend down_revision",
        )
    return tuple(labels.get(name, name) for name in names)


def _in_order(parents: Mapping[str, tuple[str, ...]]) -> tuple[str, ...]:
    try:
        return tuple(TopologicalSorter(parents).static_order())
    except CycleError as error:
        raise SettingsError(
            "the revisions form a circle", why=" -> ".join(error.args[1]), hint="mend a down_revision"
        ) from None
