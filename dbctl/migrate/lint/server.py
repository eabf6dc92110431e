"""The server of a lint, on a template that holds its history if there is one. Imports no SQLAlchemy, which takes as long."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass

from dbctl.errors import DbctlError, ToolFailed
from dbctl.migrate.lint.cache import Cache, Found
from dbctl.migrate.lint.request import Request
from dbctl.migrate.model import Revision
from dbctl.migrate.project import Project
from dbctl.migrate.trace.server import nearest_server, trace_server
from dbctl.postgres.privileges import choose_launcher
from dbctl.postgres.scratch import ScratchServer


@dataclass(frozen=True, slots=True)
class Started:
    """A server that runs, and how many revisions of the history its template brought; none for ``--scratch-url``."""

    server: ScratchServer | None = None
    notes: tuple[str, ...] = ()
    cache: Cache | None = None
    revisions: int = 0


@dataclass(frozen=True, slots=True)
class Origin:
    """What a server starts from: the project's templates, and the one among them that helps; none for ``--scratch-url``."""

    cache: Cache | None = None
    found: Found | None = None


def start_server(
    stack: ExitStack,
    project: Project,
    request: Request,
    history: Sequence[Revision],
    revisions: Collection[Revision],
) -> Started:
    """Start it; ``stack`` stops it. ``revisions`` are all of the project's. Blocks for a fraction of a second."""
    return start_from(stack, request, find_origin(project, request, history, revisions))


def look_around(request: Request) -> None:
    """Have processes tell what this machine offers: it is remembered, and takes as long as reading the revisions."""
    if not request.where.url:
        # If a server is wanted at all, it is said again.
        with suppress(DbctlError):
            nearest_server(request.where.major)
            choose_launcher()


def find_origin(
    project: Project, request: Request, history: Sequence[Revision], revisions: Collection[Revision]
) -> Origin:
    """The template that holds most of ``history``. ``revisions`` are all of the project's."""
    if request.where.url:
        return Origin()
    major, options = request.where.major, request.options
    told = (
        nearest_server(major)[0],
        options.rows,
        options.isolated,
        options.allow_network,
        options.url_variables,
    )
    cache = Cache(project, revisions, str(told))
    return Origin(cache, cache.longest(history))


def start_from(stack: ExitStack, request: Request, origin: Origin) -> Started:
    """Start a server there; ``stack`` stops it. Nearly all of it is waiting for processes."""
    cache, major = origin.cache, request.where.major
    if cache is None:
        return Started()
    if origin.found and (started := _from_template(stack, origin.found, cache, major)):
        return started
    server, notes = stack.enter_context(trace_server(major))
    return Started(server, notes, cache)


def _from_template(stack: ExitStack, found: Found, cache: Cache, major: int | None) -> Started | None:
    """A server on a copy of the template; None where that is damaged, and thrown away now."""
    with cache.borrowed(found) as data, suppress(ToolFailed):
        if data is not None:
            server, notes = stack.enter_context(trace_server(major, template=data))
            return Started(server, notes, cache, found.revisions)
    cache.discard(found)
    return None
