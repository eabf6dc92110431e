"""Which revisions a run would apply, in Alembic's own order; their files are read, not run."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from alembic.script.revision import MultipleHeads, RevisionError, RevisionMap
from alembic.script.revision import Revision as Node

from dbctl.errors import Refused, UsageError
from dbctl.migrate.graph import Graph
from dbctl.migrate.model import Revision

_HINT = "`dbctl migrate history` lists the revisions"


def choose_revisions(graph: Graph, current: tuple[str, ...], destination: str) -> tuple[Revision, ...]:
    """What `up` would run from ``current`` to ``destination`` (an id, a part of one, +1, heads, label@head).

    Raises UsageError for a destination that there is not, Refused where the database is ahead of the code.
    """
    if unknown := graph.unknown(current):
        raise Refused(
            "the database is ahead of the code",
            why=f"it is at {', '.join(unknown)}, which this project does not have",
            hint="check out the code that was deployed there",
        )
    nodes = RevisionMap(lambda: _nodes(graph.revisions))
    by_id = {revision.id: revision for revision in graph.revisions}
    try:
        found = list(nodes.iterate_revisions(destination, current, implicit_base=True))
    except MultipleHeads as error:
        hint = "name one of them, label@head, or heads for all"
        raise UsageError(f"{destination} is not one revision", why=_heads(error), hint=hint) from error
    except (RevisionError, ValueError) as error:
        raise UsageError(
            f"can't plan up to {destination!r}", why=_reason(error, destination), hint=_HINT
        ) from error
    return tuple(by_id[node.revision] for node in reversed(found))


def heads_after(graph: Graph, current: Iterable[str], chosen: Iterable[Revision]) -> tuple[str, ...]:
    """The heads of the version table once ``chosen`` ran."""
    pending = {one.id for one in graph.pending(tuple(current))} - {one.id for one in chosen}
    applied = [one for one in graph.revisions if one.id not in pending]
    labels = {label: one.id for one in graph.revisions for label in one.branch_labels}
    # As in the version table: what another branch depends on is no head of its own.
    followed = {labels.get(name, name) for one in applied for name in (*one.down_revisions, *one.depends_on)}
    return tuple(one.id for one in applied if one.id not in followed)


def _nodes(revisions: Iterable[Revision]) -> Iterator[Node]:
    for one in revisions:
        yield Node(one.id, one.down_revisions or None, one.depends_on or None, one.branch_labels or None)


def _heads(error: MultipleHeads) -> str:
    return f"the project has the heads {', '.join(error.heads)}"


def _reason(error: Exception, destination: str) -> str:
    text = str(error.args[0]) if error.args else ""
    return text if " " in text else f"no revision is called {destination}"
