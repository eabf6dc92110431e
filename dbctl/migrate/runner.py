"""Runs revisions one at a time, one runner a database, and leaves nothing half done unsaid."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

from alembic.script import ScriptDirectory

from dbctl.errors import ConnectionLost, Refused
from dbctl.migrate.environment import Steps, make_environment
from dbctl.migrate.interrupt import run_watched
from dbctl.migrate.journal import Journal, Progress
from dbctl.migrate.model import Direction, Run
from dbctl.migrate.site import Site, beacon
from dbctl.migrate.undoing import undoing
from dbctl.migrate.watch import Watch
from dbctl.postgres.locks import advisory_lock

LOCK = "dbctl migrate"
Plan = Callable[[Journal, ScriptDirectory], Steps]


async def up(
    site: Site, revision: str = "heads", *, progress: Progress, wait_seconds: float | None = 0
) -> Run:
    """Apply all up to ``revision``: an id, a part of one, ``+1``, ``head``, ``heads``, ``label@head``.

    Raises Busy (another run, or a lock), Refused, UsageError, MigrationFailed, ConnectionLost; what was
    applied before stays applied. ``progress`` hears of each revision before it runs, in the project's thread.
    Cancelled, it rolls back and ends as CancelledError, or as MigrationFailed where something stays.
    """

    def plan(journal: Journal, script: ScriptDirectory) -> Steps:
        # Alembic's own commands call the same functions of the script directory.
        return partial(journal.revisions, Direction.UP, partial(script._upgrade_revs, revision))  # noqa: SLF001

    return await _run(site, plan, progress, wait_seconds)


async def down(
    site: Site,
    revision: str,
    *,
    progress: Progress,
    wait_seconds: float | None = 0,
    expected: tuple[str, ...] | None = None,
) -> Run:
    """Undo all that came after ``revision``: an id, ``-1``, ``base``, ``label@base``. Raises what `up` does.

    ``expected`` are the heads for which somebody has looked at what would be lost: Refused where the database
    is not there any more.
    """

    def plan(journal: Journal, script: ScriptDirectory) -> Steps:
        return partial(journal.revisions, Direction.DOWN, partial(_undoing, script, revision, expected))

    return await _run(site, plan, progress, wait_seconds)


async def stamp(site: Site, revision: str, *, purge: bool = False, wait_seconds: float | None = 0) -> Run:
    """Write ``revision`` into the version table and run nothing; ``purge`` forgets first what is there."""

    def plan(journal: Journal, script: ScriptDirectory) -> Steps:
        return partial(journal.opened, partial(script._stamp_revs, revision))  # noqa: SLF001

    return await _run(site, plan, lambda _: None, wait_seconds, purge=purge)


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
    site: Site, plan: Plan, progress: Progress, wait_seconds: float | None, **options: bool
) -> Run:
    async with (
        site.database.connect() as guard,
        advisory_lock(guard, LOCK, wait_seconds=wait_seconds),
        beacon(guard, site.address) as light,
    ):
        watch, environment = Watch(site.lock_timeout_seconds), make_environment(site.project, site.address)
        environment.on_connect = light.check
        journal = Journal(environment, watch, progress)
        work = partial(environment.run, plan(journal, environment.script), **options)
        started = time.monotonic()
        try:
            await run_watched(work, watch, guard)
        except asyncio.CancelledError:
            if journal.applied or journal.half_applied:
                raise await journal.stopped(guard) from None
            raise
        except Exception as error:
            raise await journal.explain(error, guard) from error
        await journal.check_finished(guard)
        after = await journal.after(guard)
        if after is None:
            raise ConnectionLost(
                "the revisions were applied, but the server is gone", hint="`dbctl migrate status`"
            )
        return Run(journal.before, after, tuple(journal.applied), time.monotonic() - started)
