"""Runs the checks over one connection, within their time, and puts the worst first: a partial report is a report."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from dbctl.database.bounded import begin_bounded, end_bounded, limit_statements
from dbctl.errors import DbctlError, Unreachable
from dbctl.health.faults import answer_of, lost
from dbctl.health.look import Look, Outside, Server, read_server
from dbctl.health.model import CheckResult, Report, Status
from dbctl.health.registry import Check, Profile, chosen
from dbctl.health.results import settled, skipped, unknown
from dbctl.health.samples import Row, Samples

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection

    from dbctl.database import Target
    from dbctl.settings import Loaded

APPLICATION_NAME = "dbctl health"
# The server ends a statement at its deadline; if it does not, it hangs, and we are the ones to go.
_GRACE_SECONDS = 1.0
_MAJOR = 10000


@dataclass(frozen=True, slots=True)
class Request:
    """What is to be checked: by name, else a profile; less ``skip``, which adds to the settings' own."""

    names: tuple[str, ...] = ()
    profile: Profile = "oncall"
    skip: tuple[str, ...] = ()


async def check_health(target: Target, outside: Outside, request: Request | None = None) -> Report:
    """Ask the database how it is, in no more than ``health.budget``.

    A database that can't be reached gives a report too, with ``reached`` false. Raises UsageError for a check that
    there is not.
    """
    request = request or Request()
    health = target.settings.settings.health
    checks = chosen(request.names, (*health.skip, *request.skip), request.profile)
    started = time.monotonic()
    limits = {"statement_timeout": health.check_timeout, "command_timeout": health.budget}
    patience = min(target.settings.settings.database.connect_timeout or health.budget, health.budget)
    results: list[CheckResult] = []
    reached = True
    try:
        async with (
            target.open(application_name=APPLICATION_NAME, connect_timeout=patience, **limits) as database,
            database.bare() as connection,
        ):
            run = _Run(connection, target.settings, outside, started, results)
            await run.all(checks)
    except Unreachable as error:
        results, reached = [_unreachable(error)], False
    return report(target.environment, results, seconds=time.monotonic() - started, reached=reached)


def report(environment: str, results: Iterable[CheckResult], *, seconds: float, reached: bool) -> Report:
    """The results, the worst first, and the worst status of them."""
    ordered = sorted(results, key=lambda result: -result.status.severity)
    return Report(
        status=ordered[0].status if ordered else Status.SKIPPED,
        environment=environment,
        reached=reached,
        seconds=round(seconds, 4),
        checks=tuple(ordered),
    )


def _unreachable(error: DbctlError) -> CheckResult:
    return CheckResult(Status.CRITICAL, str(error), check="reachable", value=error.kind, fix=error.hint)


@dataclass(slots=True)
class _Run:
    """One connection and the checks over it; ``results`` is filled as they answer."""

    connection: AsyncConnection
    loaded: Loaded
    outside: Outside
    started: float
    results: list[CheckResult]
    begun: bool = False
    gone: str = ""
    samples: Samples = field(default_factory=Samples)

    async def all(self, checks: Sequence[Check]) -> None:
        """Every check's answer, in ``results``; those that are not run say why."""
        try:
            look = await self._look()
            for check in checks:
                answer = await self._answer(check, look)
                self.results.append(replace(answer, check=check.name))
        finally:
            if not self.gone:
                await end_bounded(self.connection)

    async def _look(self) -> Look:
        settings = self.loaded.settings
        await self._begin()
        before = time.perf_counter()
        server = await read_server(self._first)
        seconds = time.perf_counter() - before
        return Look(
            self.connection,
            server,
            settings.health,
            settings.pool,
            self.outside,
            self.samples,
            round_trip_seconds=seconds,
            release=self._release,
        )

    async def _first(self, question: str) -> Row:
        from sqlalchemy import text

        return dict((await self.connection.execute(text(question))).mappings().one())

    async def _answer(self, check: Check, look: Look) -> CheckResult:
        if self.gone:
            return unknown(f"not run: {self.gone}")
        if (why := _inapplicable(check, look.server)) is not None:
            return why
        health = self.loaded.settings.health
        left = health.budget - (time.monotonic() - self.started)
        if left <= 0:
            return unknown(
                "no time left", fix=f"raise health.budget, or ask for it alone: `dbctl health {check.name}`"
            )
        return await self._run_check(check, look, min(health.check_timeout, left))

    async def _run_check(self, check: Check, look: Look, seconds: float) -> CheckResult:
        try:
            async with asyncio.timeout(seconds + _GRACE_SECONDS):
                if not self.begun:
                    await self._begin()
                if seconds < look.settings.check_timeout:
                    await limit_statements(self.connection, statement_seconds=seconds)
                return settled(await check.function(look))
        except TimeoutError:
            return self._lost(f"the server did not answer within {seconds + _GRACE_SECONDS:g} s")
        except Exception as error:  # noqa: BLE001 - one check's failure is its answer, and no other's
            if lost(error):
                return self._lost(str(error))
            await self._roll_back()
            return answer_of(error, check, look.server.quoted_role, seconds)

    async def _begin(self) -> None:
        health = self.loaded.settings.health
        await begin_bounded(
            self.connection, statement_seconds=health.check_timeout, lock_seconds=health.lock_timeout
        )
        self.begun = True

    async def _release(self) -> None:
        await self._roll_back()
        await self._begin()

    async def _roll_back(self) -> None:
        await end_bounded(self.connection)
        self.begun = False

    def _lost(self, why: str) -> CheckResult:
        self.gone = why
        return unknown(why)


def _inapplicable(check: Check, server: Server) -> CheckResult | None:
    """Why a check is not run on this server, or as this role."""
    if server.version_number < check.since:
        return skipped(f"needs PostgreSQL {check.since // _MAJOR}")
    if check.where != "any" and (check.where == "standby") != server.standby:
        return skipped(f"only on a {check.where}")
    if check.needs and not server.has(check.needs):
        return unknown(f"needs {check.needs}", grant=f"GRANT {check.needs} TO {server.quoted_role}")
    return None
