"""Is a database where it should be: at head, as its migrations make it, nothing left INVALID or NOT VALID?"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from dataclasses import replace

from sqlalchemy import Connection

from dbctl.migrate.graph import Graph
from dbctl.migrate.lint.request import Request
from dbctl.migrate.lint.server import start_server
from dbctl.migrate.lint.stage import staged
from dbctl.migrate.model import Revision, Status
from dbctl.migrate.site import Site
from dbctl.migrate.status import read_standing
from dbctl.migrate.verify.ladder import Progress
from dbctl.migrate.verify.model import Check, Drift
from dbctl.postgres.catalog.objects import Difference, Item, Key, Snapshot, differences, read_snapshot
from dbctl.postgres.identifiers import quote_if_needed
from dbctl.postgres.own_tables import OWN_TABLES
from dbctl.postgres.tasks import surely

# What we write into the target ourselves.
# These are the business of whoever set the server up, and its roles are not scratch's.
_KINDS_LEFT_OUT = {"grant", "default privileges", "setting", "publication", "event trigger"}
_PARTS_LEFT_OUT = {
    "owner",
    "version",
    "statistics",
    "storage parameters",
    "tablespace",
    "clustering",
    "contents",
}
_SETTLED = {"comment ON schema public", "schema public"}


async def check_target(site: Site, request: Request, progress: Progress) -> Check:
    """Compare the site's database with what its applied revisions make on scratch; reads, and changes nothing.

    Roles, grants, owners, storage parameters and tablespaces are not compared: they differ between servers.
    Raises what `read_status` and `replay` raise.
    """
    started = time.monotonic()
    status, graph = await read_standing(site)
    async with site.database.session() as session:
        connection = await session.connection()
        version = await connection.run_sync(_major)
        there = await connection.run_sync(read_snapshot)
    there = _without_ours(there, status)
    drift, notes = await _drift(site, (status, graph), _on(request, version), there, progress)
    return Check(
        database=status.database,
        current=status.current,
        heads=status.heads,
        pending=tuple(one.id for one in status.pending),
        unknown=status.unknown,
        drift=drift,
        invalid=tuple(_invalid(there.items.values())),
        not_valid=tuple(
            one.sql for one in there.items.values() if one.kind == "constraint" and " NOT VALID" in one.sql
        ),
        notes=notes,
        duration_seconds=time.monotonic() - started,
    )


async def _drift(
    site: Site, standing: tuple[Status, Graph], request: Request, there: Snapshot, progress: Progress
) -> tuple[tuple[Drift, ...], tuple[str, ...]]:
    status, graph = standing
    if status.unknown:
        return (), ("not compared: the database has revisions that the project does not have",)
    applied = set(graph.closure(status.current))
    history = tuple(one for one in graph.revisions if one.id in applied)
    made, notes = await _made(site, graph, history, request, progress)
    compared = differences(
        _without_ours(made, status), there, kinds_left_out=_KINDS_LEFT_OUT, parts_left_out=_PARTS_LEFT_OUT
    )
    found = tuple(_drifted(one) for one in compared.found if f"{one.kind} {one.name}" not in _SETTLED)
    return found, (*notes, *compared.notes)


async def _made(
    site: Site, graph: Graph, history: tuple[Revision, ...], request: Request, progress: Progress
) -> tuple[Snapshot, tuple[str, ...]]:
    """What the revisions make on scratch, from the template that holds most of them."""
    with ExitStack() as stack:
        started = await surely(
            asyncio.to_thread(start_server, stack, site.project, request, history, graph.revisions)
        )
        stage = await surely(
            asyncio.to_thread(stack.enter_context, staged(site.project, history, request, started))
        )
        await stage.replay(history, progress)
        observer = stage.scratch.observer(stage.scratch.address.database)

        def read() -> Snapshot:
            with observer.connect() as connection:
                return read_snapshot(connection)

        made = await asyncio.to_thread(read)
        skipped = (
            f"{revision} failed on scratch, so what it makes is not known: {message}"
            for revision, message in stage.scratch.skipped.items()
        )
        return made, (*stage.scratch.notes, *skipped)


def _major(connection: Connection) -> int:
    version = connection.dialect.server_version_info or (0,)
    return int(version[0])


def _on(request: Request, major: int) -> Request:
    """On a scratch server of the target's major where one is here, without rows."""
    where = request.where if request.where.url else replace(request.where, major=major)
    return replace(request, where=where)


def _without_ours(catalog: Snapshot, status: Status) -> Snapshot:
    schema, _, table = status.version_table.rpartition(".")
    ours: set[Key] = {("table", f"{quote_if_needed(schema)}.{quote_if_needed(table)}")}
    ours |= {key for key in catalog.items if key[1].rpartition(".")[2] in OWN_TABLES}
    return catalog.without(ours)


def _invalid(items: Iterable[Item]) -> Iterator[str]:
    for one in items:
        if "validity" in one.parts or "index" in one.parts:
            yield f"{one.kind} {one.name}: {one.sql}"


def _drifted(one: Difference) -> Drift:
    name = f"{one.name} ({one.part})" if one.part else one.name
    return Drift(one.kind, name, target=one.after, migrations=one.before)
