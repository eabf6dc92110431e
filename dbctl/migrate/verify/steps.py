"""Runs single revisions up and down on scratch, each run in a context of its own, as two commands would."""

from __future__ import annotations

import sys
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import ExitStack, contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from functools import partial, update_wrapper
from pathlib import Path
from typing import Any

from alembic.runtime.migration import MigrationContext, MigrationStep, RevisionStep
from sqlalchemy import Connection
from sqlalchemy.schema import CreateSchema

from dbctl.database.guard import Guard
from dbctl.migrate.environment import make_environment
from dbctl.migrate.failure import line_in, ran_nothing
from dbctl.migrate.model import Direction
from dbctl.migrate.project import Project
from dbctl.migrate.trace import redirect
from dbctl.migrate.trace.explain import failure_of, run_error
from dbctl.migrate.trace.extensions import Extensions
from dbctl.migrate.trace.ground import Engines, commit
from dbctl.migrate.trace.isolated import find_convention, run_neutral
from dbctl.migrate.trace.limits import Limit
from dbctl.migrate.trace.model import Failure
from dbctl.migrate.trace.options import TraceOptions
from dbctl.migrate.trace.scratch import Scratch
from dbctl.migrate.trace.version_table import make_room
from dbctl.migrate.watch import Stopped


@dataclass(frozen=True, slots=True)
class Broken:
    """A revision that ended with an error, and the line in its file; what it had not committed was rolled back."""

    revision: str
    failure: Failure
    line: int | None


class Steps:
    """A project's env.py on scratch, for one run after the other; ``prepared`` is around all of them."""

    def __init__(self, project: Project, scratch: Scratch, options: TraceOptions) -> None:
        self.environment = make_environment(project, scratch.address)
        self.environment.on_connect = self._make_version_schema
        self.engines = Engines()
        self.limit = Limit(options.time_limit_seconds, scratch.cancel_statements)
        self.version_table = "alembic_version"
        self._project, self._scratch, self._options = project, scratch, options
        self._sections = redirect.engines(self.environment.config, project, scratch)
        self._guard = Guard(
            scratch.address,
            prefix="" if scratch.server else scratch.prefix,
            allow_network=options.allow_network,
            roots=(project.script_location, *project.version_locations),
            stands_for=options.stands_for,
        )
        self._attributes: redirect.Attributes | None = None
        self._in_flight = ""
        self._opened = self._has_room = False

    @contextmanager
    def prepared(self) -> Iterator[None]:
        """Lead all that the project asks for a database to scratch, and nothing else anywhere."""
        address = self._scratch.address
        if self._options.isolated:
            convention = find_convention(self._project)
            self.environment.instead = partial(run_neutral, self._sections, convention)
        with ExitStack() as stack:
            # A thread that we had to give up does not put them back.
            stack.enter_context(redirect_stdout(sys.stdout))
            stack.enter_context(redirect_stderr(sys.stderr))
            stack.enter_context(redirect.variables(self._project, address, self._options.url_variables))
            self._attributes = stack.enter_context(
                redirect.attributes(self.environment.config, self._project, address)
            )
            self.engines.ours |= {self._scratch.observer(one.database) for one in self._scratch.databases}
            stack.enter_context(self.engines.listening())
            stack.enter_context(self._guard.active())
            stack.callback(self.engines.forget_connections)
            yield

    def run(
        self, revisions: Sequence[str], direction: Direction, *, only_stamped: Collection[str] = ()
    ) -> Broken | None:
        """Run them in this order in one run of env.py; of ``only_stamped`` nothing runs but the version table's part.

        Blocks. Raises what stops env.py itself (see `run_error`), ToolMissing for an extension, Stopped.
        """
        error = self._error(partial(self._steps, revisions, direction, only_stamped))
        if self.limit.stopping:
            raise Stopped from error
        if self._in_flight:
            return self._broken(error or RuntimeError("env.py kept its error to itself"))
        if self._opened and error is None:
            return None
        if self._may_be_offered() or self._may_be_a_role(error):
            return self.run(revisions, direction, only_stamped=only_stamped)
        if error is None:
            raise ran_nothing(self.environment)
        raise run_error(error, self.environment, self._guard) from error

    def _error(self, steps: Callable[..., Iterator[RevisionStep]]) -> BaseException | None:
        """What a run of env.py ends with."""
        self._in_flight, self._opened = "", False
        try:
            self.environment.run(steps)
        except BaseException as error:  # noqa: BLE001 - judged with what is known besides
            return error
        finally:
            if self._attributes is not None:
                self._attributes.close()
        return None

    def path(self, revision: str) -> Path:
        """The revision's file."""
        return Path(self.environment.script.get_revision(revision).path)

    def _may_be_offered(self) -> bool:
        """Whether env.py has not been given a connection yet, where it looks for one."""
        if self._attributes is None or self._attributes.offered or self._opened:
            return False
        self._attributes.offered = True
        self._guard.refused.clear()
        return True

    def _may_be_a_role(self, error: BaseException | None) -> bool:
        """Whether env.py wanted a role, which is there now."""
        with self._guard.trusting():
            return error is not None and not self._opened and self._scratch.make_role(error)

    def _steps(
        self,
        revisions: Sequence[str],
        direction: Direction,
        only_stamped: Collection[str],
        _heads: Any,
        context: MigrationContext,
    ) -> Iterator[RevisionStep]:
        self._opened = True
        self.version_table = context.version_table
        assert context.connection is not None  # noqa: S101 - only offline there is none
        if not self._has_room:
            make_room(
                (one.revision for one in self.environment.script.walk_revisions()),
                context,
                context.connection,
            )
            commit(context.connection)
            self._has_room = True
        for name in revisions:
            self._in_flight = name
            step = self._step(name, direction)
            work: Callable[..., None] = _nothing if name in only_stamped else step.migration_fn
            step.migration_fn = update_wrapper(partial(self._limited, work), work)
            yield step
            # Where env.py opened one transaction for all, this is what makes it one a revision.
            commit(context.connection)
        self._in_flight = ""

    def _step(self, name: str, direction: Direction) -> RevisionStep:
        script = self.environment.script
        make = (
            MigrationStep.upgrade_from_script
            if direction is Direction.UP
            else MigrationStep.downgrade_from_script
        )
        return make(script.revision_map, script.get_revision(name))

    def _limited(self, work: Callable[..., None], **given: Any) -> None:
        with self.limit.revision():
            work(**given)

    def _broken(self, error: BaseException) -> Broken:
        Extensions(spare=False).note(error, self._in_flight, self._scratch.major)
        failure = failure_of(error, self.limit.seconds, struck=self.limit.struck)
        return Broken(self._in_flight, failure, line_in(error, self.path(self._in_flight)))

    def _make_version_schema(self, connection: Connection) -> None:
        """The schema of the version table is not made by revisions: somebody made it by hand, once."""
        self._scratch.check(connection)
        if schema := self.environment.version_table_schema:
            connection.execute(CreateSchema(schema, if_not_exists=True))
            commit(connection)


def _nothing(**_: Any) -> None:
    """In the place of a revision that is only stamped."""
