"""Gives Alembic the revisions of a run one by one, traced or not, and gets over those that fail."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from functools import partial, update_wrapper
from pathlib import Path
from typing import Any

from alembic.runtime.migration import MigrationContext, MigrationStep, RevisionStep
from alembic.script import ScriptDirectory
from sqlalchemy import Connection

from dbctl.database.guard import Attempt, Guard
from dbctl.errors import ToolMissing
from dbctl.migrate.applied import applied
from dbctl.migrate.environment import Environment
from dbctl.migrate.failure import line_in
from dbctl.migrate.model import Direction, Step
from dbctl.migrate.revisions import no_revisions
from dbctl.migrate.trace.explain import failure_of, may_follow, refusals_of, timed_out
from dbctl.migrate.trace.extensions import Extensions
from dbctl.migrate.trace.faults import may_be_theirs
from dbctl.migrate.trace.ground import Ground, commit, roll_back
from dbctl.migrate.trace.ledger import Key, Ledger, Restart, Tried
from dbctl.migrate.trace.limits import Limit
from dbctl.migrate.trace.merge import merged
from dbctl.migrate.trace.model import Failure, RevisionTrace, Statement
from dbctl.migrate.trace.scratch import Scratch
from dbctl.migrate.trace.version_table import make_room
from dbctl.migrate.undoing import undoing
from dbctl.migrate.watch import Stopped

Progress = Callable[[Step], None]
Work = Callable[[], None]
Traced = Callable[[RevisionTrace], None]
# What commits before its end is not undone by a rollback; CONCURRENTLY only where no transaction is open.
_COMMITS_ITSELF = re.compile(rb"autocommit|\bcommit\b|\bbackfill\b", re.IGNORECASE)
_COMMITS = re.compile(rb"autocommit|concurrently|\bcommit\b|\bbackfill\b", re.IGNORECASE)
# A revision that goes on failing is not worth more tries.
_MOST_LEFT_OUT = 5


@dataclass(slots=True)
class Course:
    """``steps`` is what Alembic calls as ``fn``: all revisions up to ``targets`` (all heads, if empty).

    With ``down_to`` it is the downgrades to there. A revision that fails is rolled back and stamped, so that the
    next one has its turn.
    """

    environment: Environment
    scratch: Scratch
    targets: tuple[str, ...]
    ledger: Ledger
    grounds: dict[str, Ground]
    limit: Limit
    guard: Guard
    extensions: Extensions
    progress: Progress
    traced: Traced
    down_to: str | None = None
    to_undo: tuple[str, ...] | None = None
    asked: list[Attempt] = field(default_factory=list)

    def steps(self, heads: Any, context: MigrationContext) -> Iterator[RevisionStep]:
        """Yield each step to Alembic, whose function of the revision is replaced by ours around it."""
        connection, script = _connection(context), self.environment.script
        self.ledger.opened, self.ledger.finished = True, False
        if not script.get_heads():
            raise no_revisions(self.environment.version_locations())
        database = str(connection.exec_driver_sql("SELECT current_database()").scalar_one())
        steps = self._choose(script, heads)
        make_room((step.revision.revision for step in steps), context, connection)
        commit(connection)
        for number, step in enumerate(steps, 1):
            if self.limit.stopping:
                raise Stopped
            self.ledger.in_flight = database, step.revision.revision
            self.progress(_told(number, len(steps), step))
            ours = partial(self._run, self.grounds[database], context, step, step.migration_fn)
            # Alembic logs each step by its function's name.
            step.migration_fn = update_wrapper(ours, step.migration_fn)
            yield step
            # Where env.py opened one transaction for all, this is what makes it one a revision.
            commit(connection)
            self.ledger.in_flight = None
        self.ledger.heads[database] = tuple(sorted(context.get_current_heads()))
        self.ledger.finished = True

    @property
    def refused_before(self) -> tuple[Attempt, ...]:
        """What env.py itself was refused, and went on without."""
        return tuple(attempt for attempt in self.guard.refused if attempt not in self.asked)

    def note_failure(self, key: Key, failure: Failure) -> None:
        """A revision failed outside of its own function: at its commit, or when it was stamped."""
        revision = key[1]
        self.scratch.skipped[revision] = failure.message
        if (trace := self.ledger.traces.get(key)) and trace.failure is None:
            self.ledger.traces[key] = replace(trace, failure=failure)

    def _restart(self) -> Restart:
        self.ledger.restart = True
        return Restart()

    def _fatal(self, error: BaseException) -> Restart:
        """The end of all runs: it is not the project that has to be mended."""
        self.ledger.fatal = self.ledger.fatal or error
        return self._restart()

    def _choose(self, script: ScriptDirectory, heads: Iterable[str]) -> list[Any]:
        if self.down_to is not None:
            return self._choose_down(script, self.down_to, heads)
        there = applied(script, heads)
        wanted = [script.get_revision(name) for name in self.targets or script.get_heads()]
        below = applied(script, [parent for one in wanted for parent in one._all_down_revisions])  # noqa: SLF001
        missing = tuple(one.revision for one in wanted if one.revision not in there | below)
        # Alembic's own commands call the same function, with one target; it takes several, none below another.
        return list(script._upgrade_revs(missing, heads)) if missing else []  # type: ignore[arg-type]  # noqa: SLF001

    def _choose_down(self, script: ScriptDirectory, destination: str, heads: Iterable[str]) -> list[Any]:
        if self.to_undo is None:
            steps = list(undoing(script, destination, heads))
            self.to_undo = tuple(step.revision.revision for step in steps)
            return steps
        # A later run of env.py: -1 would mean another revision now.
        there = applied(script, heads)
        left = (script.get_revision(name) for name in self.to_undo if name in there)
        return [MigrationStep.downgrade_from_script(script.revision_map, one) for one in left]

    def _run(
        self, ground: Ground, context: MigrationContext, step: RevisionStep, upgrade: Any, **given: Any
    ) -> None:
        """In the place of a revision's own function."""
        key = ground.database, step.revision.revision
        if key in self.ledger.stamped:
            return
        work = partial(upgrade, **given)
        try:
            if step.revision.revision in self.ledger.chosen and key not in self.ledger.traces:
                self._trace(key, ground, context, step, work)
            else:
                self._replay(ground, context, step, work)
        except Exception as error:
            # What the revision raises is caught where it runs: all else here is our own work.
            if may_be_theirs(error):
                raise
            raise self._fatal(error) from error

    def _replay(self, ground: Ground, context: MigrationContext, step: RevisionStep, work: Work) -> None:
        connection, revision = _connection(context), step.revision.revision
        ground.publishing = None
        error = self._execute(work, connection)
        while error is not None and self._lacks(error, revision) and roll_back(connection):
            error = self._execute(work, connection)
        if error is None:
            return
        failure = failure_of(error, self.limit.seconds, struck=self.limit.struck)
        self.scratch.skipped.setdefault(revision, failure.message)
        if not roll_back(connection):
            self.ledger.stamped.add((ground.database, revision))
            raise self._restart()

    def _trace(
        self,
        key: Key,
        ground: Ground,
        context: MigrationContext,
        step: RevisionStep,
        work: Work,
    ) -> None:
        first = self.ledger.first.pop(key, None)
        if first is None and ground.should_be_kept and _may_commit(step):
            self.ledger.to_keep = ground.database
            raise self._restart()
        memory, refused = _remembered(context), len(self.guard.refused)
        attempt = self._attempt(ground, context, step, work, rows=first is None)
        explained = self.limit.struck or len(self.guard.refused) > refused
        if attempt.trace.failure and ground.has_rows and not explained:
            first = attempt.trace
            if not attempt.undone:
                self.ledger.first[key] = first
                self.ledger.to_reset = ground.database
                raise self._restart()
            ground.empty(_connection(context))
            context.impl.memo = memory
            attempt = self._attempt(ground, context, step, work, rows=False)
        trace = merged(first, attempt.trace) if first else attempt.trace
        if trace.failure and not explained:
            context.impl.memo = memory
            trace = self._beyond(ground, context, step, work, replace(attempt, trace=trace))
        self.ledger.traces[key] = trace
        self.traced(trace)
        if trace.failure and not trace.failure.on_rows:
            self.scratch.skipped[step.revision.revision] = trace.failure.message
        if attempt.disconnected:
            self.ledger.stamped.add(key)
            raise self._restart()

    def _attempt(
        self, ground: Ground, context: MigrationContext, step: RevisionStep, work: Work, *, rows: bool
    ) -> Tried:
        """Run a revision once, or once more for each extension that turns out to be lacking."""
        memory = _remembered(context)
        attempt = self._once(ground, context, step, work, rows=rows)
        while attempt.again:
            context.impl.memo, notes = memory, attempt.trace.notes
            again = self._once(ground, context, step, work, rows=False)
            attempt = replace(again, trace=replace(again.trace, notes=(*notes, *again.trace.notes)))
        if lacking := attempt.trace.lacking:
            names = ", ".join(one.extension for one in lacking)
            self.scratch.skipped.setdefault(step.revision.revision, f"without the extension {names}")
        return attempt

    def _beyond(
        self, ground: Ground, context: MigrationContext, step: RevisionStep, work: Work, tried: Tried
    ) -> RevisionTrace:
        """The trace with what the revision does after the statement that ends it: again, and that one left out."""
        trace, memory = tried.trace, _remembered(context)
        left_out: dict[int, Statement] = {}
        while (failed := tried.ended_by) and failed.number not in left_out and len(left_out) < _MOST_LEFT_OUT:
            if _COMMITS_ITSELF.search(Path(step.revision.path).read_bytes()):
                break
            left_out[failed.number] = failed
            with ground.recorder.leaving_out(left_out):
                tried = self._once(ground, context, step, work, rows=False, keep=False)
            trace = replace(trace, statements=tried.trace.statements)
            context.impl.memo = dict(memory)
        if left_out:
            lines = ", ".join(str(one.line) for one in left_out.values())
            trace = replace(
                trace, notes=(*trace.notes, f"what follows was traced without line {lines}, which fails")
            )
        return trace

    def _once(
        self,
        ground: Ground,
        context: MigrationContext,
        step: RevisionStep,
        work: Work,
        *,
        rows: bool,
        keep: bool = True,
    ) -> Tried:
        """Run a revision, and roll it back if it fails, or is not to be kept."""
        connection, script = _connection(context), step.revision
        notes = ground.fill(connection) if rows else ()
        path, refused, commits = Path(script.path), len(self.guard.refused), ground.engines.commits
        publishing, keyless = ground.publications(self.scratch.observer(ground.database), path)
        ground.recorder.start(connection, script.revision, path)
        self.extensions.start(path)
        started = time.monotonic()
        error = self._execute(work, connection, commit if keep else roll_back)
        took = time.monotonic() - started
        statements = ground.recorder.finish()
        if ground.recorder.bug:
            raise self._fatal(ground.recorder.bug) from error
        if self.limit.struck:
            statements = timed_out(statements, self.limit.seconds)
        ground.noticed(statements)
        asked = self.guard.refused[refused:]
        self.asked.extend(asked)
        trace = RevisionTrace(
            revision=script.revision,
            message=_message(step),
            path=path,
            statements=statements,
            duration_seconds=took,
            notes=notes,
            seeded=ground.seeded,
            publishing=publishing,
            keyless=keyless,
            refusals=refusals_of(asked, path, error),
            lacking=self.extensions.left_out(),
        )
        if error is None:
            return Tried(trace)
        committed = ground.engines.commits > commits or any(one.mode == "autocommit" for one in statements)
        connected = roll_back(connection)
        undone = connected and not committed
        again = self._lacks(error, script.revision) and undone
        return Tried(self._failed(trace, error), undone, not connected, again)

    def _failed(self, trace: RevisionTrace, error: BaseException) -> RevisionTrace:
        failure = failure_of(error, self.limit.seconds, struck=self.limit.struck)
        absent = (f"the extension {name}" for name in self.extensions.lacking)
        follows = (*self.scratch.skipped, *absent) if may_follow(failure) else ()
        notes = trace.notes
        if self.limit.struck:
            notes += (f"{failure.message}; what it would have done after that is not known",)
        return replace(
            trace,
            failure=failure,
            failed_line=line_in(error, trace.path),
            consequence_of=follows,
            notes=notes,
        )

    def _execute(
        self, work: Work, connection: Connection, end: Callable[[Connection], object] = commit
    ) -> BaseException | None:
        """Run a revision to its commit, deferred constraints included; its error, if it ends with one."""
        try:
            with self.limit.revision():
                work()
                end(connection)
        except BaseException as error:
            self.limit.leave()
            if self.limit.stopping:
                raise Stopped from error
            return error
        return None

    def _lacks(self, error: BaseException, revision: str) -> bool:
        """Whether it is to be tried again without an extension that the server turned out to lack."""
        try:
            return self.extensions.note(error, revision, self.scratch.major)
        except ToolMissing as fatal:
            raise self._fatal(fatal) from error


def _connection(context: MigrationContext) -> Connection:
    assert context.connection is not None  # noqa: S101 - only offline there is none
    return context.connection


def _remembered(context: MigrationContext) -> dict[Any, Any]:
    """What SQLAlchemy believes to have created in this run: types that a rollback takes away again."""
    memory = context.impl.memo.items()
    return {name: set(value) if isinstance(value, set) else value for name, value in memory}


def _may_commit(step: RevisionStep) -> bool:
    return bool(_COMMITS.search(Path(step.revision.path).read_bytes()))


def _message(step: RevisionStep) -> str:
    return (step.revision.doc or "").partition("\n")[0]


def _told(number: int, total: int, step: RevisionStep) -> Step:
    script = step.revision
    direction = Direction.UP if step.is_upgrade else Direction.DOWN
    return Step(number, total, direction, script.revision, _message(step), Path(script.path))
