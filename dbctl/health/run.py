"""Runs the checks within their time, and puts the worst first: a partial report is a report."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from dbctl.database.conninfo import elsewhere
from dbctl.errors import (
    Busy,
    ConnectionLost,
    ConnectTimeout,
    DbctlError,
    Failed,
    TooManyConnections,
    Unreachable,
)
from dbctl.health.locked_out import Holder, who_holds_catalog, who_holds_slots
from dbctl.health.look import Look, Outside
from dbctl.health.model import CheckResult, Report, Status
from dbctl.health.registry import Check, Profile, chosen
from dbctl.health.round import GRACE_SECONDS, Round
from dbctl.health.samples import Samples
from dbctl.health.silence import Silence, read_baseline
from dbctl.health.state import load_samples, save_samples

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection

    from dbctl.database import Database, Target
    from dbctl.settings import HealthSettings, Settings

_After = Callable[[Look], Awaitable[None]]

APPLICATION_NAME = "dbctl health"
# To connect, however little time there is for questions: a server is not called dead for our haste.
_LEAST_SECONDS = 2.0
_HANGS = "see whether the server restarts or hangs: `dbctl health --watch`, its log"
# Of the project and of the environment: in other databases of the server they mean nothing.
_OURS = ("migrations", "backups")
_DATABASES = """
SELECT datname::text AS name FROM pg_database
 WHERE datallowconn AND NOT datistemplate AND datname <> current_database()
 ORDER BY 1
"""


@dataclass(frozen=True, slots=True)
class Request:
    """What is to be checked: by name, else a profile; less ``skip``, which adds to the settings' own.

    Rates come from a first sample ``sample_seconds`` earlier, else from the ``state`` file of an earlier run. What a
    report in the file ``baseline`` found is not said again. ``budget_seconds`` is for all of it, the pause excepted.
    """

    names: tuple[str, ...] = ()
    profile: Profile = "oncall"
    skip: tuple[str, ...] = ()
    sample_seconds: float = 0
    state: Path | None = None
    baseline: Path | None = None
    budget_seconds: float | None = None
    all_databases: bool = False


@dataclass(slots=True)
class _Found:
    """What a run has to say so far."""

    results: list[CheckResult] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    databases: list[str] = field(default_factory=list)
    reached: bool = True


def wants(request: Request, settings: HealthSettings, name: str) -> bool:
    """Whether the check is one of those that the request asks for. Raises UsageError for a name that none has."""
    return name in {one.name for one in _chosen(request, settings)}


def _chosen(request: Request, settings: HealthSettings) -> list[Check]:
    return chosen(request.names, (*settings.skip, *request.skip), request.profile)


async def check_health(
    target: Target,
    outside: Outside,
    request: Request | None = None,
    samples: Samples | None = None,
    *,
    reserve: Target | None = None,
    kept: Database | None = None,
) -> Report:
    """Ask the database how it is, in no more than ``health.budget``.

    A database that can't be reached gives a report too, with ``reached`` false. ``samples`` are those of the run before
    and ``kept`` what ``open_for_health`` gave, for who runs again and again; ``reserve`` is another role's way in, tried where no slot is free, to say who holds
    them. Raises UsageError for a check that there is not, and for files that are none of ours.
    """
    request = request or Request()
    settings = _within(target.settings.settings, request)
    checks = _chosen(request, settings.health)
    baseline = read_baseline(request.baseline) if request.baseline else {}
    silence = Silence(settings.health.ignore, baseline, datetime.now(UTC).date())
    started = time.monotonic()
    run = _Run(
        target,
        outside,
        request,
        settings,
        silence,
        samples or Samples(),
        started + settings.health.budget,
        kept,
    )
    found = await run.first(checks, reserve)
    if request.all_databases:
        here = [check for check in checks if check.scope == "database" and check.topic not in _OURS]
        for name in found.databases:
            await run.another(name, here, found)
    return _report(target, found, time.monotonic() - started)


def open_for_health(
    target: Target, connect_seconds: float | None = None
) -> AbstractAsyncContextManager[Database]:
    """The database, with the limits of a look at it."""
    settings = target.settings.settings
    patience = settings.database.connect_timeout if connect_seconds is None else connect_seconds
    # The round itself cuts off what the server does not: a driver's error of its own would end the run.
    return target.open(
        application_name=APPLICATION_NAME,
        connect_timeout=patience,
        statement_timeout=settings.health.check_timeout,
        lock_timeout=settings.health.lock_timeout,
        command_timeout=0,
    )


@dataclass(slots=True)
class _Run:
    target: Target
    outside: Outside
    request: Request
    settings: Settings
    silence: Silence
    samples: Samples
    deadline: float
    kept: Database | None

    async def first(self, checks: Sequence[Check], reserve: Target | None, *, again: bool = True) -> _Found:
        """The checks on the environment's own database; ``again``: once more where a lock was in the way, and is gone."""
        found = _Found()
        try:
            await self._round(self.target, checks, found)
        except TooManyConnections as error:
            held = await self._ask(reserve, who_holds_slots) if reserve else Holder()
            found.results, found.reached = [_unreachable(error, held)], False
        except Busy as error:
            held = await self._locked(reserve or self.target)
            if again and not held.message:
                return await self.first(checks, reserve, again=False)
            found.results, found.reached = [_unreachable(error, held)], False
        except (Unreachable, Failed) as error:
            found.results, found.reached = [_unreachable(error)], False
        return found

    async def another(self, name: str, checks: Sequence[Check], found: _Found) -> None:
        """The checks of a database on another one of the same server; one that lets nobody in is UNKNOWN."""
        there, other = _Found(), replace(self.target, conninfo=self.target.conninfo.with_database(name))
        self.samples = Samples()
        try:
            await self._round(other, checks, there)
        except (Unreachable, Busy, Failed) as error:
            refused = CheckResult(Status.UNKNOWN, str(error), check="reachable", fix=error.hint)
            there.results = [refused]
        found.results += [replace(one, database=name) for one in there.results]

    async def _locked(self, target: Target) -> Holder:
        """Who has locked a system table of the database: another database lets us in, and sees it."""
        place = target.conninfo
        there = replace(target, conninfo=place.with_database(elsewhere(place.database)))
        return await self._ask(there, lambda look: who_holds_catalog(look, place.database))

    async def _ask(self, target: Target, question: Callable[[Look], Awaitable[Holder]]) -> Holder:
        """What is to be seen from another way in; nothing where that is shut too."""
        there, answers = _Found(), [Holder()]

        async def ask(look: Look) -> None:
            answers.append(await question(look))

        with suppress(Unreachable, Busy, Failed):
            await self._round(target, (), there, ask)
        return answers[-1]

    async def _round(
        self, target: Target, checks: Sequence[Check], found: _Found, after: _After | None = None
    ) -> None:
        left = max(self.deadline - time.monotonic(), _LEAST_SECONDS)
        patience = min(self.settings.database.connect_timeout or left, left)
        async with AsyncExitStack() as stack:
            database = self.kept if target is self.target else None
            if database is None:
                database = await stack.enter_async_context(open_for_health(target, patience))
            connection = await _let_in(stack, database, patience)
            round_ = Round(connection, self.settings, self.outside, self.samples, self.silence, self.deadline)
            if self.request.sample_seconds:
                await round_.sample(checks, self.request.sample_seconds)
                self.deadline += self.request.sample_seconds
            found.results += await round_.all(checks, before=self._recall, after=after or self._keep(found))
            found.notes += round_.notes()

    async def _recall(self, look: Look) -> None:
        """What the run before counted, where it is kept in a file."""
        if self.request.state and not self.samples.earlier:
            self.samples.earlier = load_samples(self.request.state, self._system(look))

    def _system(self, look: Look) -> str:
        """What a state file knows it by: a standby has its primary's identifier, and counters of its own."""
        return f"{look.server.system} {self.target.conninfo.place} {self.target.conninfo.database}"

    def _keep(self, found: _Found) -> _After:
        async def keep(look: Look) -> None:
            if self.request.state and look.server.database == self.target.conninfo.database:
                problem = save_samples(self.request.state, self._system(look), self.samples.taken)
                found.notes += [problem] if problem else []
            if self.request.all_databases and not found.databases:
                found.databases = [row["name"] for row in await look.rows(_DATABASES)]

        return keep


def _within(settings: Settings, request: Request) -> Settings:
    if request.budget_seconds is None:
        return settings
    health = settings.health.model_copy(update={"budget": request.budget_seconds})
    return settings.model_copy(update={"health": health})


async def _let_in(stack: AsyncExitStack, database: Database, seconds: float) -> AsyncConnection:
    """A connection that the server itself answers on. Raises Unreachable and Busy.

    The driver's own limit ends with the log-in, which a pooler grants without having a session to give.
    """
    try:
        async with asyncio.timeout(seconds + GRACE_SECONDS):
            return await stack.enter_async_context(database.bare())
    except TimeoutError as error:
        if not database.pooler:
            raise ConnectTimeout(f"let in, and not answered: {database.conninfo}", hint=_HANGS) from error
        raise ConnectTimeout(
            f"the pooler lets us in, and has no session of the server free: {database.conninfo}",
            hint="`dbctl pool pgbouncer` shows who has them, and for how long others wait",
        ) from error


def _unreachable(error: DbctlError, held: Holder | None = None) -> CheckResult:
    held = held or Holder()
    message = "; ".join(part for part in (str(error), held.message) if part)
    fix = held.fix or (_HANGS if isinstance(error, ConnectionLost) else error.hint)
    return CheckResult(Status.CRITICAL, message, check="reachable", value=error.kind, fix=fix)


def _report(target: Target, found: _Found, seconds: float) -> Report:
    ordered = tuple(sorted(found.results, key=lambda result: -result.status.severity))
    return Report(
        status=_worst(one.status for one in ordered),
        environment=target.environment,
        target=str(target.conninfo),
        at=datetime.now(UTC),
        reached=found.reached,
        seconds=round(seconds, 4),
        checks=ordered,
        notes=tuple(dict.fromkeys(found.notes)),
    )


def _worst(statuses: Iterable[Status]) -> Status:
    """The worst; what was not looked at, or lacks a second sample, makes no database less well than another."""
    rated = list(statuses)
    worst = max(rated, key=lambda one: one.severity, default=Status.SKIPPED)
    return Status.OK if worst is Status.NOT_ENOUGH_DATA and Status.OK in rated else worst
