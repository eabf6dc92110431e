"""Is a database where it should be: at head, as its migrations make it, nothing left INVALID or NOT VALID?"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

from sqlalchemy import Connection

from dbctl.database import ConnInfo
from dbctl.migrate.graph import Graph
from dbctl.migrate.lint.request import Request
from dbctl.migrate.lint.server import start_server
from dbctl.migrate.lint.stage import staged
from dbctl.migrate.model import Revision, Status
from dbctl.migrate.site import Site
from dbctl.migrate.status import located, read_standing
from dbctl.migrate.trace.scratch import Scratch
from dbctl.migrate.verify.baseline import apply_baseline
from dbctl.migrate.verify.ladder import Progress
from dbctl.migrate.verify.model import Check, Drift
from dbctl.postgres.catalog.objects import Difference, Item, Key, Snapshot, differences, read_snapshot
from dbctl.postgres.identifiers import quote_if_needed
from dbctl.postgres.own_tables import OWN_TABLES
from dbctl.postgres.tasks import surely

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
_NOT_COMPARED = (
    "owners",
    "grants that no revision makes",
    "default privileges",
    "settings",
    "publications",
    "event triggers",
    "versions of extensions",
    "statistics targets",
    "storage parameters",
    "tablespaces",
)
_SETTLED = {"comment ON schema public", "schema public"}


async def check_target(
    site: Site, request: Request, progress: Progress, *, baseline: Path | None = None
) -> Check:
    """Compare the site's database with what its applied revisions make on scratch; reads, and changes nothing.

    ``baseline`` is SQL for what is there before the first revision. What differs between servers is not compared,
    and named in the answer; grants are as far as the revisions make them. Raises what `read_status` and `replay` raise.
    """
    started = time.monotonic()
    status, graph = await read_standing(site)
    async with site.database.session() as session:
        connection = await session.connection()
        version = await connection.run_sync(_major)
        there = await connection.run_sync(read_snapshot)
    there = _without_ours(there, status)
    task = _Task(site, _on(request, version, site.address), progress, baseline)
    drift, notes = await _drift(task, status, graph, there)
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
        not_compared=_NOT_COMPARED,
        duration_seconds=time.monotonic() - started,
    )


@dataclass(frozen=True, slots=True)
class _Task:
    """What the comparison is asked for."""

    site: Site
    request: Request
    progress: Progress
    baseline: Path | None


async def _drift(
    task: _Task, status: Status, graph: Graph, there: Snapshot
) -> tuple[tuple[Drift, ...], tuple[str, ...]]:
    if status.unknown:
        return (), ("not compared: the database has revisions that the project does not have",)
    applied = set(graph.closure(status.current))
    history = tuple(one for one in graph.revisions if one.id in applied)
    made, notes, role = await _made(task, graph, history)
    made = _without_ours(made, status)
    compared = differences(made, there, kinds_left_out=_KINDS_LEFT_OUT, parts_left_out=_PARTS_LEFT_OUT)
    found = [_drifted(one) for one in compared.found if f"{one.kind} {one.name}" not in _SETTLED]
    return (*found, *_missing_grants(made, there, role)), (*notes, *compared.notes)


def _missing_grants(made: Snapshot, there: Snapshot, role: str) -> Iterator[Drift]:
    """What revisions grant or revoke and the target does not have; ``role`` ran them here, and owns what they made."""
    for key, item in made.items.items():
        if (
            item.kind != "grant"
            or item.on not in there.items
            or item.sql.endswith((f" {role}", f' "{role}"'))
        ):
            continue
        other = there.items.get(key)
        if other is None or other.sql != item.sql:
            yield Drift(item.kind, item.name, target=other.sql if other else "", migrations=item.sql)


async def _made(
    task: _Task, graph: Graph, history: tuple[Revision, ...]
) -> tuple[Snapshot, tuple[str, ...], str]:
    """What the revisions make on scratch, from the template that holds most of them, and who made it."""
    project, request = located(task.site.project, graph), task.request
    # What a template holds was made without a baseline.
    known = () if task.baseline else history
    with ExitStack() as stack:
        started = await surely(
            asyncio.to_thread(start_server, stack, project, request, known, graph.revisions)
        )
        stage = await surely(asyncio.to_thread(stack.enter_context, staged(project, known, request, started)))
        if task.baseline:
            stage.cache = None
            await asyncio.to_thread(apply_baseline, stage.scratch, task.baseline)
        await stage.replay(history, task.progress)
        observer = stage.scratch.observer(stage.scratch.address.database)

        def read() -> Snapshot:
            with observer.connect() as connection:
                return read_snapshot(connection)

        made = await asyncio.to_thread(read)
        return made, (*stage.scratch.notes, *_gaps(stage.scratch)), stage.scratch.address.role


def _gaps(scratch: Scratch) -> Iterator[str]:
    for revision, message in scratch.skipped.items():
        yield f"{revision} failed on scratch, so what it makes is not known: {message}"
    if others := len(scratch.databases) - 1:
        yield f"env.py has {others + 1} databases: only the first one was compared"


def _major(connection: Connection) -> int:
    version = connection.dialect.server_version_info or (0,)
    return int(version[0])


def _on(request: Request, major: int, target: ConnInfo) -> Request:
    """On a scratch server of the target's major where one is here, which stands for the target."""
    where = request.where if request.where.url else replace(request.where, major=major)
    return replace(request, where=where, options=replace(request.options, stands_for=target))


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
