"""The copy of the target on scratch: made, traced on, measured on."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, ExitStack, asynccontextmanager
from dataclasses import dataclass

from dbctl.database import ConnInfo, Database, open_database
from dbctl.migrate.model import Revision
from dbctl.migrate.plan.calibrate import measure_rates
from dbctl.migrate.plan.copy import Copied, copy_schema
from dbctl.migrate.plan.facts import read_oids
from dbctl.migrate.plan.model import Rates
from dbctl.migrate.plan.target import Contents, Server
from dbctl.migrate.project import Project
from dbctl.migrate.trace.course import Progress
from dbctl.migrate.trace.model import RevisionTrace
from dbctl.migrate.trace.options import TraceOptions
from dbctl.migrate.trace.run import trace, trace_down
from dbctl.migrate.trace.scratch import Scratch, made_scratch
from dbctl.postgres.alembic_version import VersionTable
from dbctl.postgres.tasks import surely
from dbctl.settings import DatabaseSettings, PoolSettings

# Far from the numbers that the engines of a project get.
_SAMPLE_DATABASE = 99
_COPYING = DatabaseSettings(statement_timeout=0, command_timeout=0)


@dataclass(frozen=True, slots=True)
class Original:
    """What the copy is made of."""

    address: ConnInfo
    server: Server
    contents: Contents
    versions: Sequence[VersionTable]


@dataclass(frozen=True, slots=True)
class Stage:
    """A scratch database that has the target's schema; ``names`` are its relations' oids by ``schema.name``."""

    scratch: Scratch
    copied: Copied
    names: Mapping[str, int]

    async def trace(
        self, project: Project, revisions: Sequence[Revision], options: TraceOptions, progress: Progress
    ) -> tuple[RevisionTrace, ...]:
        """Run the revisions, rows included, and write down what they do, in their order."""
        chosen = [one.id for one in revisions]
        traces = await trace(project, self.scratch, chosen, options=options, progress=progress)
        return tuple(sorted(traces, key=lambda one: chosen.index(one.revision)))

    async def trace_down(
        self,
        project: Project,
        revision: str,
        known: Sequence[str],
        options: TraceOptions,
        progress: Progress,
    ) -> tuple[RevisionTrace, ...]:
        """Run the downgrades to ``revision``, and write down what they do."""
        return await trace_down(project, self.scratch, revision, known, options=options, progress=progress)

    async def rates(self) -> Rates:
        """How fast this server is, measured in a database in which nobody listens."""
        address = await asyncio.to_thread(self.scratch.database, _SAMPLE_DATABASE)
        async with _opened(address) as database:
            return await measure_rates(database)


@asynccontextmanager
async def stage(
    original: Original, url: ConnInfo | None, tell: Callable[[str], None]
) -> AsyncIterator[Stage]:
    """A scratch server of the original's major (or ``url``'s), with a copy of its schema."""
    with ExitStack() as stack:
        making = asyncio.to_thread(stack.enter_context, made_scratch(original.server.major, url=url))
        # Cut short, the server would be up and nobody would end it.
        scratch = await surely(making)
        tell("copying the schema to scratch")
        address = await asyncio.to_thread(lambda: scratch.address)
        async with _opened(address) as into:
            copied = await copy_schema(
                original.address,
                original.server,
                original.contents,
                original.versions,
                into=into,
                is_ours=scratch.server is not None,
            )
            async with into.session() as session:
                names = await read_oids(session)
        yield Stage(scratch, copied, names)


def _opened(address: ConnInfo) -> AbstractAsyncContextManager[Database]:
    return open_database(address, _COPYING, PoolSettings(size=1, max_overflow=0))
