"""A run of revisions: one runner a database, one transaction a revision, tried again where a lock was missing."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager, nullcontext
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from alembic.script import ScriptDirectory
from sqlalchemy.ext.asyncio import AsyncConnection

from dbctl.errors import Busy, ConnectionLost, DbctlError, MigrationFailed, Refused
from dbctl.migrate.environment import Environment, Steps, make_environment
from dbctl.migrate.interrupt import run_watched
from dbctl.migrate.model import Blocking, Direction, Event, Retrying, Run, Stopping
from dbctl.migrate.patience import Patience
from dbctl.migrate.runner.aftermath import look_after, read_files
from dbctl.migrate.runner.history import History
from dbctl.migrate.runner.journal import Journal, Progress
from dbctl.migrate.runner.orphans import let_orphans_end
from dbctl.migrate.runner.retry import Budget, reason_to_retry
from dbctl.migrate.runner.scribe import Scribe
from dbctl.migrate.runner.sight import Sight
from dbctl.migrate.runner.steps import drop_if_empty
from dbctl.migrate.site import Site, beacon
from dbctl.migrate.undoing import undoing
from dbctl.migrate.watch import Watch
from dbctl.postgres.locks import advisory_lock

LOCK = "dbctl migrate"
Plan = Callable[[Journal, ScriptDirectory], Steps]
_NAMED = 2
# The server looks every two seconds whether its client is there.
_ORPHAN_SECONDS = 10


def _deaf(_event: Event) -> None:
    """For who wants to hear of nothing."""


@dataclass(frozen=True, slots=True)
class RunOptions:
    """How a run goes. ``guard`` is a connection that holds the runner's lock already, by `only_runner`.

    ``hear`` is told of waits, retries and repairs, in any thread; ``rerun`` names a half
    applied revision whose code runs from its start again; ``history`` keeps the table dbctl_history.

    ``patience`` is else that of the site.
    """

    patience: Patience | None = None
    guard: AsyncConnection | None = None
    history: bool = False
    rerun: str | None = None
    hear: Callable[[Event], None] = field(default=_deaf)


@asynccontextmanager
async def only_runner(site: Site, wait_seconds: float | None = 0) -> AsyncIterator[AsyncConnection]:
    """Be the one who migrates this database, from the plan on. Raises Busy, which says who is."""
    async with site.database.connect() as guard, advisory_lock(guard, LOCK, wait_seconds=wait_seconds):
        yield guard


async def up(
    site: Site,
    revision: str | tuple[str, ...] = "heads",
    *,
    progress: Progress,
    wait_seconds: float | None = 0,
    options: RunOptions | None = None,
) -> Run:
    """Apply all up to ``revision``: an id, a part of one, ``+1``, ``head``, ``heads``, ``label@head``; or several ids.

    Raises Busy (another run, or a lock), Refused, UsageError, MigrationFailed, ConnectionLost; what was
    applied before stays applied. ``progress`` hears of each revision before it runs, in the project's thread.
    A revision that did not get its locks is rolled back and run again, within the budget of its patience; one that
    an earlier run left half applied goes on where it was.
    Cancelled, it rolls back and ends as CancelledError, or as MigrationFailed where something stays.
    """

    def plan(journal: Journal, script: ScriptDirectory) -> Steps:
        # Alembic's own commands call the same functions of the script directory, with one target; they take several.
        choose: Any = partial(script._upgrade_revs, revision) if revision else lambda _: []  # type: ignore[arg-type]  # noqa: SLF001
        return partial(journal.revisions, Direction.UP, choose)

    return await _run(site, plan, progress, wait_seconds, options or RunOptions())


async def down(
    site: Site,
    revision: str,
    *,
    progress: Progress,
    wait_seconds: float | None = 0,
    expected: tuple[str, ...] | None = None,
    options: RunOptions | None = None,
) -> Run:
    """Undo all that came after ``revision``: an id, ``-1``, ``base``, ``label@base``. Raises what `up` does.

    ``expected`` are the heads for which somebody has looked at what would be lost: Refused where the database
    is not there any more.
    """

    def plan(journal: Journal, script: ScriptDirectory) -> Steps:
        return partial(journal.revisions, Direction.DOWN, partial(_undoing, script, revision, expected))

    return await _run(site, plan, progress, wait_seconds, options or RunOptions())


async def stamp(site: Site, revision: str, *, purge: bool = False, wait_seconds: float | None = 0) -> Run:
    """Write ``revision`` into the version table and run nothing; ``purge`` forgets first what is there."""

    def plan(journal: Journal, script: ScriptDirectory) -> Steps:
        return partial(journal.stamped, partial(script._stamp_revs, revision))  # noqa: SLF001

    return await _run(site, plan, lambda _: None, wait_seconds, RunOptions(), purge=purge)


def _undoing(
    script: ScriptDirectory, revision: str, expected: tuple[str, ...] | None, heads: Any
) -> Iterable[Any]:
    if expected is not None and tuple(sorted(heads)) != expected:
        raise Refused(
            "the database was migrated in the meantime",
            why=f"it is at {', '.join(heads) or 'base'}; what would be lost was counted for {', '.join(expected)}",
            hint="start again",
        )
    return undoing(script, revision, heads)


async def _run(
    site: Site,
    plan: Plan,
    progress: Progress,
    wait_seconds: float | None,
    options: RunOptions,
    **alembic: bool,
) -> Run:
    held = nullcontext(options.guard) if options.guard else only_runner(site, wait_seconds)
    async with held as guard, beacon(guard, site.address) as light:
        patience = options.patience or site.patience
        await let_orphans_end(guard, max(patience.retry_budget_seconds, _ORPHAN_SECONDS), options.hear)
        watch, environment = (
            Watch(patience.lock_seconds, patience=patience),
            make_environment(site.project, site.address),
        )
        environment.on_connect = light.check
        watch.scribe = Scribe(options.hear)
        history = History() if options.history else None
        journal = Journal(environment, watch, progress, watch.scribe, history=history, rerun=options.rerun)
        steps = plan(journal, environment.script)
        attempts = _Attempts(
            guard, watch, environment, journal, history, Budget(patience.retry_budget_seconds), options
        )
        return await attempts.run(partial(environment.run, steps, **alembic))


@dataclass(slots=True)
class _Attempts:
    """Runs env.py until its revisions are applied, or until it is clear that they will not be."""

    guard: AsyncConnection
    watch: Watch
    environment: Environment
    journal: Journal
    history: History | None
    budget: Budget
    options: RunOptions

    async def run(self, work: Callable[[], None]) -> Run:
        journal, guard = self.journal, self.guard
        sight = Sight(guard, self.watch, lambda: journal.in_flight, self.options.hear)
        started, files = time.monotonic(), await read_files(guard)
        try:
            while not await self._attempt(work, sight):
                pass
        finally:
            if journal.is_open:
                await drop_if_empty(guard, journal.schema)
        if self.history:
            await self.history.note_late(guard)
        await journal.check_finished(guard)
        after = await journal.after(guard)
        if after is None:
            raise ConnectionLost(
                "the revisions were applied, but the server is gone", hint="`dbctl migrate status`"
            )
        aftermath = await look_after(guard, files) if journal.applied else None
        if aftermath and journal.unheard:
            aftermath = replace(aftermath, notes=(*aftermath.notes, *journal.unheard))
        return Run(journal.before, after, tuple(journal.applied), time.monotonic() - started, aftermath)

    async def _attempt(self, work: Callable[[], None], sight: Sight) -> bool:
        """Run env.py once; False: it is to be run again."""
        try:
            await run_watched(work, self.watch, self.guard, sight.look, self._linger)
        except asyncio.CancelledError:
            await self._note("stopped")
            if self.journal.applied or self.journal.half_applied:
                raise await self.journal.stopped(self.guard) from None
            raise
        except Exception as error:
            if await self._is_to_be_retried(error, sight):
                return False
            await self._note("failed")
            told = await self.journal.explain(error, self.guard)
            if sight.has_cut and isinstance(told, MigrationFailed):
                told = Busy(told.message, why=told.why, hint="try again later; it sets its own lock_timeout")
            raise _with_blockers(told, sight.blockers) from error
        return True

    def _linger(self) -> None:
        self.options.hear(Stopping(self.journal.in_flight))

    async def _is_to_be_retried(self, error: BaseException, sight: Sight) -> bool:
        reason = reason_to_retry(error, was_cut=sight.has_cut)
        if reason is None or not self.journal.may_be_tried_again:
            return False
        revision = self.journal.in_flight
        pause = self.budget.pause(revision)
        if pause is None:
            return False
        self.journal.retries = self.budget.attempts
        self.options.hear(Retrying(revision, self.budget.attempts, pause, self.budget.left_seconds, reason))
        try:
            await sight.rest(pause)
        except asyncio.CancelledError:
            await self._note("stopped")
            if self.journal.applied or self.journal.half_applied:
                raise await self.journal.stopped(self.guard) from None
            raise
        sight.forget()
        return True

    async def _note(self, outcome: str) -> None:
        if self.history and (step := self.journal.step_in_flight):
            await self.history.note_failure(
                self.guard, step.revision, step.direction, outcome, self.journal.retries
            )


def _with_blockers(error: DbctlError, blockers: tuple[Blocking, ...]) -> DbctlError:
    """A Busy that names who was in the way."""
    if not (isinstance(error, Busy) and blockers):
        return error
    who = ", ".join(_name(one) for one in blockers[:_NAMED])
    more = f" and {len(blockers) - _NAMED} more" if len(blockers) > _NAMED else ""
    return type(error)(error.message, why=f"{error.why}; blocked by {who}{more}", hint=error.hint)


def _name(blocker: Blocking) -> str:
    if not blocker.pid:
        return f"a {blocker.state}, which COMMIT PREPARED or ROLLBACK PREPARED ends (pg_prepared_xacts)"
    return f"pid {blocker.pid} ({blocker.role}, {blocker.application or 'unnamed'}, {blocker.state})"
