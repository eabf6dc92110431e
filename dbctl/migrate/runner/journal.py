"""Gives Alembic the revisions of a run one by one, and knows which of them is in flight."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from functools import update_wrapper
from pathlib import Path
from typing import Any

from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import Connection
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection

from dbctl.database.errors import sqlstate
from dbctl.errors import DbctlError, MigrationFailed, Refused
from dbctl.migrate.applied import applied
from dbctl.migrate.environment import Environment
from dbctl.migrate.failure import Left, environment_error, ran_nothing, revision_error, what_is_left
from dbctl.migrate.model import Applied, Direction, Step
from dbctl.migrate.revisions import no_revisions
from dbctl.migrate.runner.history import History
from dbctl.migrate.runner.scribe import Scribe
from dbctl.migrate.watch import Watch
from dbctl.postgres.alembic_version import find_schema, read_revisions

Progress = Callable[[Step], None]
_UNDEFINED_TABLE = "42P01"
# From the version table's heads to Alembic's steps.
Choose = Callable[[Any], Iterable[Any]]


class Journal:
    """What a run found (``before``) and did (``applied``); its methods are what Alembic calls as ``fn``.

    A run may take several runs of env.py: each goes on where the version table stands, to where the first meant
    to go. ``retries`` are those of the revision in flight.
    """

    def __init__(
        self,
        environment: Environment,
        watch: Watch,
        progress: Progress,
        scribe: Scribe,
        *,
        history: History | None = None,
        rerun: str | None = None,
    ) -> None:
        self._environment = environment
        self._watch = watch
        self._progress = progress
        self._scribe = scribe
        self._history = history
        self._rerun = rerun
        self._table: tuple[str, str] | None = None
        self._in_flight: Step | None = None
        self._commits_before = 0
        self._opened = False
        self._started = 0.0
        self.before: tuple[str, ...] = ()
        self.applied: list[Applied] = []
        self.unheard: list[str] = []
        self.retries = 0

    def opened(self, choose: Choose, heads: Any, context: MigrationContext) -> list[Any]:
        """The steps that ``choose`` gives, once it is clear that the project knows where the database is."""
        connection, script = _connection(context), self._environment.script
        name = context.version_table
        self._table = find_schema(connection, context.version_table_schema, name), name
        now = tuple(sorted(heads))
        if not self._opened:
            self.before = now
        self._opened = True
        if not script.get_heads():
            raise no_revisions(self._environment.version_locations())
        unknown = [head for head in now if not _knows(script, head)]
        if unknown:
            raise Refused(
                f"the database is at revision {', '.join(unknown)}, which this project does not have",
                why="it was migrated by newer code, or by another project",
                hint="deploy the code that has it, or name the right project with --config",
            )
        self._scribe.opened(connection, self.schema)
        return list(choose(self.before))

    def stamped(self, choose: Choose, heads: Any, context: MigrationContext) -> list[Any]:
        """The same for a stamp, after which nothing is half applied any more."""
        steps = self.opened(choose, heads, context)
        if self._scribe.forget(_connection(context), None):
            _commit(_connection(context))
        return steps

    def revisions(
        self, direction: Direction, choose: Choose, heads: Any, context: MigrationContext
    ) -> Iterator[Any]:
        """Yield each step to Alembic, which runs and commits it before it asks for the next."""
        connection = _connection(context)
        self._watch.is_between = False
        steps = self.opened(choose, heads, context)
        if self._rerun is not None:
            self._start_again(connection)
        self._scribe.check_direction(direction)
        if self._history:
            self._history.opened(connection, self.schema)
        there = applied(self._environment.script, heads)
        is_up = direction is Direction.UP
        for number, step in enumerate(steps, 1):
            if (step.revision.revision in there) is is_up:
                # Applied before env.py was run again.
                continue
            self._begin(number, len(steps), direction, step)
            self._follow(step, context)
            yield step
            self._watch.is_between = False
            _commit(connection)
            self._scribe.over(connection)
            self._note_applied(direction, step)

    def _begin(self, number: int, total: int, direction: Direction, step: Any) -> None:
        script = step.revision
        again = self._in_flight is not None and self._in_flight.revision == script.revision
        self._in_flight = Step(number, total, direction, script.revision, _message(script), Path(script.path))
        self._commits_before = self._watch.commits
        if not again:
            self._watch.locked_seconds, self.retries = 0.0, 0
            self._watch.backfill = None
            self._started = time.monotonic()
            self._progress(self._in_flight)

    def _follow(self, step: Any, context: MigrationContext) -> None:
        """Put our function round the revision's own: what comes after it is Alembic's version row."""
        work, script = step.migration_fn, step.revision
        direction = self._in_flight.direction if self._in_flight else Direction.UP

        def followed(**given: Any) -> None:
            self._scribe.begin(script.revision, direction)
            try:
                work(**given)
            except BaseException:
                self._scribe.leave()
                raise
            self._note_unheard(script, direction)
            connection = _connection(context)
            self._scribe.finish(connection)
            if self._history:
                self._history.note(
                    connection, self._ran(direction, script), other_role=self._watch.role_is_set
                )
            self._watch.is_between = True

        # Alembic logs each step by its function's name.
        step.migration_fn = update_wrapper(followed, work)

    def _note_unheard(self, script: Any, direction: Direction) -> None:
        if not self._watch.is_deaf:
            return
        from dbctl.migrate.past_driver import line_past_driver

        if line := line_past_driver(Path(script.path), direction):
            self.unheard.append(
                f"{script.revision} speaks to the driver itself in line {line}: nobody noted what it sent there"
            )

    def _note_applied(self, direction: Direction, step: Any) -> None:
        self.applied.append(self._ran(direction, step.revision))
        self._in_flight = None

    def _ran(self, direction: Direction, script: Any) -> Applied:
        seconds, locked = time.monotonic() - self._started, self._watch.locked_seconds
        return Applied(script.revision, _message(script), direction, seconds, self.retries, locked)

    def _start_again(self, connection: Connection) -> None:
        if not self._scribe.forget(connection, self._rerun):
            raise Refused(
                f"revision {self._rerun} is not half applied",
                why="nothing is noted of it",
                hint="leave out --rerun",
            )
        _commit(connection)
        self._rerun = None

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
        if self._in_flight is None or isinstance(error, DbctlError):
            return environment_error(error, self._environment)
        return revision_error(error, self._in_flight, self._environment, await self._left(guard))

    async def stopped(self, guard: AsyncConnection) -> DbctlError:
        """What an interrupted run has done, and what is left of the revision that was in flight."""
        return MigrationFailed(
            f"{len(self.applied)} revisions applied, then stopped", why=what_is_left(await self._left(guard))
        )

    async def _left(self, guard: AsyncConnection) -> Left:
        direction = self._in_flight.direction if self._in_flight else Direction.UP
        return Left(
            await self.after(guard),
            committed=self.half_applied,
            noted=None if self._scribe.is_unnoted else self._scribe.done,
            direction=direction,
            backfill=str(self._watch.backfill or ""),
            is_alone=self._scribe.is_alone,
        )

    @property
    def schema(self) -> str:
        """Where the version table is; it is known once env.py ran."""
        assert self._table is not None  # noqa: S101 - asked for after that
        return self._table[0]

    @property
    def is_open(self) -> bool:
        """Whether env.py has asked for migrations."""
        return self._table is not None

    @property
    def in_flight(self) -> str:
        """The revision that runs, or that failed; empty between two."""
        return self._in_flight.revision if self._in_flight else ""

    @property
    def step_in_flight(self) -> Step | None:
        """The same with all that is known of it."""
        return self._in_flight

    @property
    def half_applied(self) -> bool:
        """Whether the revision in flight has committed something already, as autocommit blocks do."""
        committed = self._watch.commits > self._commits_before or self._scribe.has_rows
        return self._in_flight is not None and (committed or self._scribe.is_unnoted)

    @property
    def may_be_tried_again(self) -> bool:
        """Whether nothing of the revision in flight would be done twice: it was rolled back, or noted."""
        return not self._scribe.is_unnoted

    async def check_finished(self, guard: AsyncConnection) -> None:
        """Raise what an env.py kept to itself: that it ran nothing, or that a revision raised."""
        if self._table is None:
            raise ran_nothing(self._environment)
        if self._in_flight is not None:
            raise await self.explain(RuntimeError("env.py kept its error to itself"), guard)


def _connection(context: MigrationContext) -> Connection:
    assert context.connection is not None  # noqa: S101 - only offline there is none
    return context.connection


def _commit(connection: Connection) -> None:
    """Commit beneath SQLAlchemy: where env.py opened one transaction for all, this makes it one a revision."""
    connection.connection.commit()


def _message(script: Any) -> str:
    return (script.doc or "").partition("\n")[0]


def _knows(script: ScriptDirectory, revision: str) -> bool:
    try:
        found = script.get_revision(revision)
    except CommandError:
        return False
    # Alembic also takes the beginning of an id.
    return bool(found.revision == revision)
