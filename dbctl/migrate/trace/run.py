"""Runs a project's revisions on scratch: replayed as fast as Alembic does, or traced statement by statement."""

from __future__ import annotations

import sys
from collections.abc import Callable, Collection, Iterator
from contextlib import ExitStack, contextmanager, redirect_stderr, redirect_stdout
from functools import partial

from alembic.runtime.migration import MigrationContext
from sqlalchemy import Connection
from sqlalchemy.schema import CreateSchema

from dbctl.database.guard import Guard
from dbctl.migrate.environment import make_environment
from dbctl.migrate.failure import ran_nothing
from dbctl.migrate.project import Project
from dbctl.migrate.trace import redirect
from dbctl.migrate.trace.course import Course, Progress, Traced
from dbctl.migrate.trace.endings import kept_alive
from dbctl.migrate.trace.explain import failure_of, run_error
from dbctl.migrate.trace.extensions import Extensions
from dbctl.migrate.trace.ground import Engines, Ground, commit
from dbctl.migrate.trace.isolated import NO_CONVENTION, find_convention, run_neutral
from dbctl.migrate.trace.ledger import Ledger
from dbctl.migrate.trace.limits import Limit, run_limited
from dbctl.migrate.trace.model import RevisionTrace
from dbctl.migrate.trace.options import TraceOptions
from dbctl.migrate.trace.recorder import Recorder
from dbctl.migrate.trace.scratch import Scratch
from dbctl.migrate.watch import Stopped

__all__ = ["TraceOptions", "inspect", "replay", "trace", "trace_down"]

_DEFAULT = TraceOptions()


async def trace(
    project: Project,
    scratch: Scratch,
    chosen: Collection[str],
    *,
    options: TraceOptions = _DEFAULT,
    progress: Progress = lambda _: None,
    traced: Traced = lambda _: None,
) -> tuple[RevisionTrace, ...]:
    """Run the ``chosen`` revisions and what they build on, from where scratch is, and trace the chosen ones.

    One that fails is recorded and stamped, and the next one has its turn. Of a project with several engines
    each gives a trace of its own. ``progress`` hears of each revision before it runs, in the project's thread;
    ``traced`` of each trace after it: another may come in its place, where the commit fails.
    Raises Refused where env.py leads away from scratch, ToolMissing for an extension, Failed where it can't run.
    """
    if not chosen:
        return ()
    run = _Run(
        project,
        scratch,
        options,
        targets=tuple(chosen),
        chosen=frozenset(chosen),
        progress=progress,
        traced=traced,
    )
    await run.finish()
    order = {revision: number for number, (_, revision) in reversed([*enumerate(run.ledger.traces)])}
    return tuple(sorted(run.ledger.traces.values(), key=lambda one: order[one.revision]))


async def trace_down(
    project: Project,
    scratch: Scratch,
    revision: str,
    known: Collection[str],
    *,
    options: TraceOptions = _DEFAULT,
    progress: Progress = lambda _: None,
) -> tuple[RevisionTrace, ...]:
    """Run the downgrades from where scratch is to ``revision``, and trace them, in the order in which they ran.

    ``known`` are the ids of the project's revisions. For the rest like `trace`; raises Refused, too, where a
    revision has no downgrade().
    """
    run = _Run(
        project, scratch, options, targets=(), chosen=frozenset(known), progress=progress, down_to=revision
    )
    await run.finish()
    return tuple(run.ledger.traces.values())


async def replay(
    project: Project,
    scratch: Scratch,
    targets: Collection[str] = (),
    *,
    options: TraceOptions = _DEFAULT,
    progress: Progress = lambda _: None,
) -> tuple[str, ...]:
    """Run all revisions up to ``targets`` (all heads, if none is named) untraced; the heads where scratch is then.

    What fails is stamped, and named in ``scratch.skipped``. Raises what `trace` raises.
    """
    run = _Run(project, scratch, options, targets=tuple(targets), progress=progress)
    await run.finish()
    return run.ledger.heads[scratch.address.database]


async def inspect(
    project: Project,
    scratch: Scratch,
    look: Callable[[MigrationContext], None],
    *,
    options: TraceOptions = _DEFAULT,
) -> None:
    """Run env.py on scratch, and ``look`` at the point where revisions would run. Raises what `trace` raises."""
    await _Run(project, scratch, options, targets=(), progress=lambda _: None).inspect(look)


class _Run:
    """One call of ours: as many runs of env.py as it takes."""

    def __init__(
        self,
        project: Project,
        scratch: Scratch,
        options: TraceOptions,
        *,
        targets: tuple[str, ...],
        chosen: frozenset[str] = frozenset(),
        progress: Progress,
        traced: Traced = lambda _: None,
        down_to: str | None = None,
    ) -> None:
        self.ledger = ledger = Ledger(chosen)
        self._project, self._scratch, self._options = project, scratch, options
        self._environment = make_environment(project, scratch.address)
        self._environment.on_connect = self._make_version_schema
        self._sections = redirect.engines(self._environment.config, project, scratch)
        self._limit = Limit(options.time_limit_seconds, scratch.cancel_statements)
        self._guard = Guard(
            scratch.address,
            prefix="" if scratch.server else scratch.prefix,
            allow_network=options.allow_network,
            roots=(project.script_location, *project.version_locations),
            stands_for=options.stands_for,
        )
        self._engines = Engines()
        self._extensions = Extensions(spare=options.spare_extensions)
        self._grounds = {address.database: self._ground(address.database) for _, address in self._sections}
        self._course = Course(
            self._environment,
            scratch,
            targets,
            ledger,
            self._grounds,
            self._limit,
            self._guard,
            self._extensions,
            progress,
            traced,
            down_to,
        )
        self._attributes: redirect.Attributes | None = None

    async def finish(self) -> None:
        """Run env.py until every revision had its turn."""
        with self._prepared():
            await run_limited(self._work, self._limit)
        self._scratch.notes += self._extensions.notes
        self._scratch.notes += tuple(f"{one}: refused on scratch" for one in self._course.refused_before)

    async def inspect(self, look: Callable[[MigrationContext], None]) -> None:
        """Run env.py once, and ``look`` instead of running revisions."""
        with self._prepared():
            await run_limited(partial(self._look, look), self._limit)

    def _look(self, look: Callable[[MigrationContext], None]) -> None:
        try:
            self._environment.inspect(look)
        except BaseException as error:
            if self._limit.stopping:
                raise
            raise run_error(error, self._environment, self._guard) from error

    def _ground(self, database: str) -> Ground:
        observer = self._scratch.observer(database)
        self._engines.ours.add(observer)
        traced = bool(self.ledger.chosen)
        ground = Ground(
            database,
            Recorder(observer, partial(self._guard.refusal, by="PostgreSQL")),
            self._engines,
            rows=traced and self._options.rows,
            began_empty=self._scratch.is_empty(database),
        )
        if traced:
            self._install(ground)
        return ground

    def _clear(self, database: str) -> None:
        """Remove rows that a template brought: the next attempt is one without."""
        from dbctl.migrate.rows import unseed

        with self._scratch.observer(database).begin() as connection:
            unseed(connection)
        self._grounds[database].forget_rows()

    def _install(self, ground: Ground) -> None:
        with self._scratch.observer(ground.database).begin() as connection:
            ground.recorder.install(connection)

    def _make_version_schema(self, connection: Connection) -> None:
        """The schema of the version table is not made by revisions: somebody made it by hand, once."""
        self._scratch.check(connection)
        if schema := self._environment.version_table_schema:
            connection.execute(CreateSchema(schema, if_not_exists=True))
            commit(connection)

    @contextmanager
    def _prepared(self) -> Iterator[None]:
        project, options = self._project, self._options
        if options.isolated:
            self._isolate()
        with ExitStack() as stack:
            # A thread that we had to give up does not put them back.
            stack.enter_context(redirect_stdout(sys.stdout))
            stack.enter_context(redirect_stderr(sys.stderr))
            stack.enter_context(redirect.variables(project, self._scratch.address, options.url_variables))
            address = self._scratch.address
            self._attributes = stack.enter_context(
                redirect.attributes(self._environment.config, project, address)
            )
            # Before the recorder, which is to see what the server gets.
            stack.enter_context(self._extensions.listening())
            if self.ledger.chosen:
                for ground in self._grounds.values():
                    stack.enter_context(ground.recorder.listening())
            stack.enter_context(self._engines.listening())
            stack.enter_context(self._guard.active())
            stack.enter_context(kept_alive())
            # What comes next may be for another database.
            stack.callback(self._engines.forget_connections)
            yield

    def _isolate(self) -> None:
        convention = find_convention(self._project)
        self._environment.instead = partial(run_neutral, self._sections, convention)
        if convention is None:
            self._scratch.notes += (NO_CONVENTION,)

    def _work(self) -> None:
        while not self._once():
            self._renew()

    def _once(self) -> bool:
        """Run env.py once; whether that was all. Raises what can't be got over."""
        ledger, error = self.ledger, self._error()
        if self._limit.stopping:
            raise Stopped from error
        if ledger.fatal:
            raise ledger.fatal from error
        if ledger.restart:
            ledger.restart = False
            return False
        if ledger.in_flight:
            self._blame(ledger.in_flight, error)
            return False
        if error is None and not ledger.opened:
            raise ran_nothing(self._environment)
        if error is None and ledger.finished:
            return True
        return self._given_up(error or RuntimeError("it kept an error to itself"))

    def _error(self) -> BaseException | None:
        """What a run of env.py ends with."""
        self.ledger.in_flight = None
        try:
            self._environment.run(self._course.steps)
        except BaseException as error:  # noqa: BLE001 - judged with what is known besides
            return error
        return None

    def _blame(self, key: tuple[str, str], error: BaseException | None) -> None:
        """Note the failure of a revision at a place where Alembic could not go on: its commit, its stamp."""
        if key in self.ledger.stamped:
            raise run_error(
                error or RuntimeError("env.py kept its error to itself"), self._environment, self._guard
            )
        self.ledger.stamped.add(key)
        failure = failure_of(error or RuntimeError("it ended env.py"), self._limit.seconds, struck=False)
        self._course.note_failure(key, failure)

    def _given_up(self, error: BaseException) -> bool:
        """Another way into env.py, if there is one, before its error is raised."""
        with self._guard.trusting():
            if not self.ledger.opened and self._scratch.make_role(error):
                return False
        if self._attributes is not None and not self._attributes.offered and not self.ledger.opened:
            self._attributes.offered = True
            self._guard.refused.clear()
            return False
        raise run_error(error, self._environment, self._guard) from error

    def _renew(self) -> None:
        """Make or keep the database that the last run of env.py asked for."""
        ledger = self.ledger
        if self._attributes is not None:
            self._attributes.close()
        self._engines.forget_connections()
        with self._guard.trusting():
            if database := ledger.to_keep:
                self._scratch.keep(database)
                self._grounds[database].kept = True
            if database := ledger.to_reset:
                self._scratch.reset(database)
                self._clear(database)
                self._install(self._grounds[database])
        ledger.to_keep = ledger.to_reset = None
