"""Gives Alembic the revisions of a run one by one, and knows which of them is in flight."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection

from dbctl.database.errors import sqlstate
from dbctl.errors import DbctlError, MigrationFailed, Refused
from dbctl.migrate.environment import Environment
from dbctl.migrate.failure import environment_error, ran_nothing, revision_error, what_is_left
from dbctl.migrate.model import Applied, Direction, Step
from dbctl.migrate.revisions import no_revisions
from dbctl.migrate.watch import Watch
from dbctl.postgres.alembic_version import find_schema, read_revisions

Progress = Callable[[Step], None]
_UNDEFINED_TABLE = "42P01"
# From the version table's heads to Alembic's steps.
Choose = Callable[[Any], Iterable[Any]]


class Journal:
    """What a run found (``before``) and did (``applied``); its methods are what Alembic calls as ``fn``."""

    def __init__(self, environment: Environment, watch: Watch, progress: Progress) -> None:
        self._environment = environment
        self._watch = watch
        self._progress = progress
        self._table: tuple[str, str] | None = None
        self._in_flight: Step | None = None
        self._commits_before = 0
        self.before: tuple[str, ...] = ()
        self.applied: list[Applied] = []

    def opened(self, choose: Choose, heads: Any, context: MigrationContext) -> list[Any]:
        """The steps that ``choose`` gives, once it is clear that the project knows where the database is."""
        connection, script = context.connection, self._environment.script
        assert connection is not None  # noqa: S101 - only offline there is none
        name = context.version_table
        self._table = find_schema(connection, context.version_table_schema, name), name
        self.before = tuple(sorted(heads))
        if not script.get_heads():
            raise no_revisions(self._environment.version_locations())
        unknown = [head for head in self.before if not _knows(script, head)]
        if unknown:
            raise Refused(
                f"the database is at revision {', '.join(unknown)}, which this project does not have",
                why="it was migrated by newer code, or by another project",
                hint="deploy the code that has it, or name the right project with --config",
            )
        return list(choose(heads))

    def revisions(
        self, direction: Direction, choose: Choose, heads: Any, context: MigrationContext
    ) -> Iterator[Any]:
        """Yield each step to Alembic, which runs and commits it before it asks for the next."""
        steps = self.opened(choose, heads, context)
        for number, step in enumerate(steps, 1):
            script = step.revision
            message = (script.doc or "").partition("\n")[0]
            self._in_flight = Step(number, len(steps), direction, script.revision, message, Path(script.path))
            self._commits_before = self._watch.commits
            self._progress(self._in_flight)
            started = time.monotonic()
            yield step
            self.applied.append(Applied(script.revision, message, direction, time.monotonic() - started))
            self._in_flight = None

    async def after(self, guard: AsyncConnection) -> tuple[str, ...] | None:
        """The version table's heads as others see them now; None where the server does not answer."""
        if self._table is None:
            return ()
        try:
            return await read_revisions(guard, *self._table)
        except (SQLAlchemyError, OSError) as error:
            # Without its table, which was made in the transaction that was rolled back, it is at base.
            return () if sqlstate(error) == _UNDEFINED_TABLE else None

    async def explain(self, error: BaseException, guard: AsyncConnection) -> DbctlError:
        """What ended the run, in our words, with what is left of the revision that was in flight."""
        if self._in_flight is None:
            return environment_error(error, self._environment)
        heads = await self.after(guard)
        return revision_error(error, self._in_flight, self._environment, heads, committed=self.half_applied)

    async def stopped(self, guard: AsyncConnection) -> DbctlError:
        """What an interrupted run has done, and what is left of the revision that was in flight."""
        left = what_is_left(self._environment, await self.after(guard), committed=self.half_applied)
        applied = 0 if self._environment.one_transaction else len(self.applied)
        return MigrationFailed(f"{applied} revisions applied, then stopped", why=left)

    @property
    def half_applied(self) -> bool:
        """Whether the revision in flight has committed something already, as autocommit blocks do."""
        return self._in_flight is not None and self._watch.commits > self._commits_before

    async def check_finished(self, guard: AsyncConnection) -> None:
        """Raise what an env.py kept to itself: that it ran nothing, or that a revision raised."""
        if self._table is None:
            raise ran_nothing(self._environment)
        if self._in_flight is not None:
            raise await self.explain(RuntimeError("env.py kept its error to itself"), guard)


def _knows(script: ScriptDirectory, revision: str) -> bool:
    try:
        found = script.get_revision(revision)
    except CommandError:
        return False
    # Alembic also takes the beginning of an id.
    return bool(found.revision == revision)
