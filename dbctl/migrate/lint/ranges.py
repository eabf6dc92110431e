"""Which revisions to lint: a range as Alembic writes it, or those that a branch added."""

from __future__ import annotations

import ast
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

from dbctl.errors import SettingsError, UsageError
from dbctl.migrate.graph import Graph
from dbctl.migrate.lint.git import Changes, NotInGit, find_repository
from dbctl.migrate.model import Revision
from dbctl.migrate.project import Project
from dbctl.migrate.revisions import parse_revision

BASE = "base"
_HEADS = ("head", "heads")


@dataclass(frozen=True, slots=True)
class Chosen:
    """The revisions to lint, in an order in which they can run; ``said`` names the choice for people.

    ``changes`` is what git told, where it was asked; ``changed`` are older revisions that do something else now,
    ``gone`` the ids of those whose files are no more.
    """

    revisions: tuple[Revision, ...]
    said: str
    notes: tuple[str, ...] = ()
    changes: Changes | None = None
    changed: tuple[Revision, ...] = ()
    gone: tuple[str, ...] = ()


def choose(project: Project, graph: Graph, wanted: str | None, base: str | None, *, named: bool) -> Chosen:
    """The revisions of the range ``wanted``, else those added since ``base``, else all.

    ``named`` is whether the person who runs it gave ``base``. Raises UsageError.
    """
    if wanted is not None:
        said = f"revisions in {wanted}" if ":" in wanted else f"revision {wanted}"
        return Chosen(_between(graph, wanted), said)
    try:
        changes = _changes(project, base)
    except NotInGit as error:
        if named:
            hint = "run it in the repository; a shallow clone needs its history: `git fetch --unshallow`"
            raise UsageError(f"can't tell what was added since {base}", why=str(error), hint=hint) from None
        return Chosen(graph.revisions, "all revisions", (f"all revisions: {error}",))
    if changes is None:
        note = "all revisions: no branch to compare with (origin/HEAD, main or master); --base names one"
        return Chosen(graph.revisions, "all revisions", (note,))
    return _since(project, graph, changes)


def _changes(project: Project, base: str | None) -> Changes | None:
    repository = find_repository(project.script_location)
    ref = repository.base(base)
    return None if ref is None else repository.changes(ref, project.version_locations)


def _since(project: Project, graph: Graph, changes: Changes) -> Chosen:
    folders = tuple(folder.resolve() for folder in project.version_locations)
    lost = [f for f in changes.deleted if f.suffix == ".py" and any(map(f.is_relative_to, folders))]
    before = {id_ for file in sorted(lost) if (id_ := _id_before(changes, file))}
    # A file that was moved, or renamed, brings nothing new.
    new = tuple(r for r in graph.revisions if r.path.resolve() in changes.added and r.id not in before)
    return Chosen(
        revisions=new,
        said=f"revisions added since {changes.base}",
        changes=changes,
        changed=tuple(r for r in graph.revisions if _does_something_else(r, changes)),
        gone=tuple(sorted(before - {revision.id for revision in graph.revisions})),
    )


def _id_before(changes: Changes, file: Path) -> str | None:
    with suppress(NotInGit, SettingsError):
        return parse_revision(changes.before(file), file).id
    return None


def _does_something_else(revision: Revision, changes: Changes) -> bool:
    """Whether an older file differs in more than comments and layout."""
    file = revision.path.resolve()
    if file not in changes.modified:
        return False
    with suppress(NotInGit, SyntaxError, ValueError):
        return ast.dump(ast.parse(changes.before(file))) != ast.dump(ast.parse(file.read_bytes()))
    return True


def _between(graph: Graph, wanted: str) -> tuple[Revision, ...]:
    start, colon, end = wanted.partition(":")
    if not colon:
        ids = set(_resolve(graph, wanted))
        if not ids:
            raise UsageError("base is no revision", hint="name one, or a range such as base:head")
        return tuple(one for one in graph.revisions if one.id in ids)
    before, upto = _resolve(graph, start or BASE), _resolve(graph, end or "heads")
    past, reached = set(graph.closure(before)), set(graph.closure(upto))
    if not set(before) <= reached:
        turned = bool(upto) and set(upto) <= past
        raise UsageError(
            f"{end or 'heads'} does not come after {start}",
            why="the range A:B means: after A, up to B",
            hint=f"write {end}:{start}" if turned and end else "`dbctl migrate history` lists the revisions",
        )
    return tuple(one for one in graph.revisions if one.id in reached - past)


def _resolve(graph: Graph, name: str) -> tuple[str, ...]:
    """The ids that a name stands for: an id or the only start of one, head, heads, base, label, label@head."""
    if name == BASE:
        return ()
    if name in _HEADS:
        if name == "head" and len(graph.heads) > 1:
            raise UsageError(
                "there are several heads", why=", ".join(graph.heads), hint="write heads, or one of them"
            )
        return graph.heads
    label, at, rest = name.partition("@")
    if at and rest in _HEADS:
        return _heads_of(graph, label)
    ids = [one.id for one in graph.revisions]
    found = [id_ for id_ in ids if id_ == name] or [id_ for id_ in ids if name and id_.startswith(name)]
    found = found or [one.id for one in graph.revisions if name in one.branch_labels]
    if len(found) != 1:
        raise _unknown(name, found, ids)
    return (found[0],)


def _heads_of(graph: Graph, label: str) -> tuple[str, ...]:
    """The heads that build on the branch ``label``, or on the revision of that id."""
    (root,) = _resolve(graph, label) or (BASE,)
    heads = tuple(head for head in graph.heads if root in set(graph.closure([head])))
    return heads or (root,)


def _unknown(name: str, found: list[str], ids: Iterable[str]) -> UsageError:
    if found:
        return UsageError(f"{name!r} is the start of several revisions", why=", ".join(found[:5]))
    close = get_close_matches(name, list(ids), n=1, cutoff=0.5)
    hint = f"did you mean {close[0]}?" if close else "`dbctl migrate history` lists the revisions"
    return UsageError(f"no revision {name!r}", why="the project has no such file", hint=hint)
