"""The scratch server of a lint: its history brought there, its range traced, and what took long kept for later."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TypeVar

from alembic.runtime.migration import MigrationContext
from sqlalchemy import Connection

from dbctl.migrate.lint.cache import Cache
from dbctl.migrate.lint.request import Request
from dbctl.migrate.lint.server import Started
from dbctl.migrate.model import Revision
from dbctl.migrate.project import Project
from dbctl.migrate.rows import seed, tables_with, unseed
from dbctl.migrate.trace.course import Progress, Traced
from dbctl.migrate.trace.model import RevisionTrace
from dbctl.migrate.trace.options import TraceOptions
from dbctl.migrate.trace.run import inspect, replay, trace
from dbctl.migrate.trace.scratch import Scratch, made_scratch, scratch_on
from dbctl.postgres.tasks import surely

T = TypeVar("T")

# Fewer are replayed as fast as a data folder is copied.
_WORTH_KEEPING = 10


@dataclass(slots=True)
class Stage:
    """A scratch server on which the revisions ``there`` were run, those of a template among them."""

    project: Project
    options: TraceOptions
    scratch: Scratch
    cache: Cache | None = None
    there: tuple[Revision, ...] = ()
    unkept: int = 0

    @property
    def version(self) -> str:
        """What the server runs."""
        return self.scratch.server.version if self.scratch.server else str(self.scratch.major)

    async def replay(self, history: Sequence[Revision], progress: Progress) -> None:
        """Run what is missing of ``history``, untraced and without rows."""
        if len(history) == len(self.there):
            return
        await asyncio.to_thread(self._in_each_database, unseed)
        targets = last_of(history)
        await replay(self.project, self.scratch, targets, options=self.options, progress=progress)
        self._note(history)
        if self._is_worth_keeping():
            await surely(asyncio.to_thread(self._keep))

    async def trace(
        self, chosen: Collection[str], run: Sequence[Revision], progress: Progress, traced: Traced
    ) -> tuple[RevisionTrace, ...]:
        """Trace the ``chosen`` revisions; ``run`` are they and all that they build on."""
        traces = await trace(
            self.project, self.scratch, chosen, options=self.options, progress=progress, traced=traced
        )
        self._note(run)
        return traces

    def keep_traced(self, traces: Collection[RevisionTrace]) -> None:
        """Keep what a trace has left, if it is what a replay would have left, and took long enough."""
        inserted = any(written.inserted for one in traces for s in one.statements for written in s.written)
        if self._is_worth_keeping() and not (self.options.rows and inserted):
            self._keep(traced=True)

    def _note(self, run: Sequence[Revision]) -> None:
        self.unkept += len(run) - len(self.there)
        self.there = tuple(run)

    def _is_worth_keeping(self) -> bool:
        return bool(self.cache) and self.unkept >= _WORTH_KEEPING and not self.scratch.skipped

    def _keep(self, *, traced: bool = False) -> None:
        """Keep what is there, with rows in it, as the next trace wants them.

        After a trace, rows that are not ours may stem from ours, where a replay would have made none.
        """
        assert self.cache and self.scratch.server  # noqa: S101, PT018 - see _is_worth_keeping
        if self.options.rows:
            self._in_each_database(seed)
            if traced and any(self._in_each_database(partial(tables_with, rows="own"))):
                return
        with self.scratch.observer(self.scratch.address.database).connect() as connection:
            connection.exec_driver_sql("CHECKPOINT")
        self.cache.keep(self.there, self.scratch.server.folder / "data")
        self.unkept = 0

    def _in_each_database(self, work: Callable[[Connection], T]) -> list[T]:
        """What ``work`` gives in each database of the project, in a transaction of its own (READ COMMITTED)."""
        results = []
        for address in self.scratch.databases:
            engine = self.scratch.observer(address.database).execution_options(
                isolation_level="READ COMMITTED"
            )
            with engine.begin() as connection:
                results.append(work(connection))
        return results


@contextmanager
def staged(
    project: Project, history: Sequence[Revision], request: Request, started: Started
) -> Iterator[Stage]:
    """A stage for the length of a ``with``, on the server that was started, or the one of ``--scratch-url``."""
    server = started.server
    making = scratch_on(server, started.notes) if server else made_scratch(url=request.where.url)
    with making as scratch:
        # One that is missing here says nothing of the revisions that have no need of it.
        options = replace(request.options, spare_extensions=True)
        yield Stage(project, options, scratch, started.cache, tuple(history[: started.revisions]))


async def find_locations(stage: Stage) -> Project:
    """The project with its version locations as they are after env.py ran."""
    project, found = stage.project, list[Path]()

    def look(context: MigrationContext) -> None:
        found.extend(project.locate(str(path)) for path in context.opts["script"].version_locations)

    await inspect(project, stage.scratch, look, options=stage.options)
    return replace(project, version_locations=tuple(dict.fromkeys(found)) or project.version_locations)


def last_of(revisions: Sequence[Revision]) -> tuple[str, ...]:
    """Those that none of the others builds on."""
    followed = {parent for one in revisions for parent in (*one.down_revisions, *one.depends_on)}
    return tuple(one.id for one in revisions if not {one.id, *one.branch_labels} & followed)
