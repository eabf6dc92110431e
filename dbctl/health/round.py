"""One round of checks over one connection: each within its time, all within theirs, none in another's way."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from dbctl.database.bounded import begin_bounded, end_bounded, ended_after, limit_statements
from dbctl.database.errors import sqlstate, translated
from dbctl.health.faults import answer_of, lost, said
from dbctl.health.look import Look, Outside, Server, read_server
from dbctl.health.model import CheckResult, Findings
from dbctl.health.registry import Check
from dbctl.health.results import critical, skipped, unknown
from dbctl.health.samples import Row, Samples
from dbctl.health.silence import Silence

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection

    from dbctl.settings import Settings

Aside = Callable[[Look], Awaitable[None]]

# The server ends a statement at its deadline; if it does not, it hangs, and we are the ones to go.
GRACE_SECONDS = 1.0
_MAJOR = 10000
_REACHABLE = "reachable"
_CANCELLED = "57014"


@dataclass(slots=True)
class Round:
    """A connection and the checks over it; ``deadline`` is on the monotonic clock.

    ``gone`` says why the connection is of no more use; ``look`` is there once the server was asked who it is.
    """

    connection: AsyncConnection
    settings: Settings
    outside: Outside
    samples: Samples
    silence: Silence
    deadline: float
    gone: str = ""
    look: Look | None = None
    _begun: bool = False
    _ran: list[str] = field(default_factory=list)

    async def all(
        self, checks: Sequence[Check], *, before: Aside | None = None, after: Aside | None = None
    ) -> list[CheckResult]:
        """Every check's answer; those that were not run say why. ``before`` and ``after`` get the look, if there is one."""
        try:
            await self._meet()
            if before and self.look:
                await before(self.look)
            results = [replace(await self._answer(check), check=check.name) for check in checks]
            if after and self.look and not self.gone:
                await after(self.look)
        finally:
            await self._end()
        return self._with_loss(results) if self.gone else results

    async def sample(self, checks: Sequence[Check], pause_seconds: float) -> None:
        """Count what the checks that compare two samples count, wait, and let the round begin anew."""
        await self.all([check for check in checks if check.delta])
        self.samples.turn()
        self._ran.clear()
        await asyncio.sleep(pause_seconds)
        self.deadline += pause_seconds

    def notes(self) -> list[str]:
        """What is to be said of the settings' ignored findings, by the checks that were run."""
        return list(self.silence.notes(self._ran))

    async def _meet(self) -> None:
        try:
            async with ended_after(self.connection, self.settings.health.check_timeout + GRACE_SECONDS):
                before = time.perf_counter()
                await self._begin()
                seconds = time.perf_counter() - before
                server = await read_server(self._first)
        except Exception as error:
            # Who can't say who it is in a second can't be asked anything else either.
            if not lost(error) and sqlstate(error) != _CANCELLED:
                raise
            self.gone = said(error)
            return
        health, pool = self.settings.health, self.settings.pool
        self.look = Look(
            self.connection,
            server,
            health,
            pool,
            self.outside,
            self.samples,
            round_trip_seconds=seconds,
            release=self._release,
        )
        self.silence.today = server.now.date()

    async def _first(self, question: str) -> Row:
        from sqlalchemy import text

        with translated("the server"):
            return dict((await self.connection.execute(text(question))).mappings().one())

    async def _answer(self, check: Check) -> CheckResult:
        if self.look is None or self.gone:
            return unknown(f"not run: {self.gone}")
        if (why := _inapplicable(check, self.look.server)) is not None:
            return self.silence.settle(why, check.name)
        left = self.deadline - time.monotonic()
        if left <= 0:
            fix = f"raise health.budget (--budget), or ask for it alone: `dbctl health {check.name}`"
            return unknown("no time left", fix=fix)
        seconds = min(self.settings.health.check_timeout, left)
        self._ran.append(check.name)
        return self.silence.settle(await self._run(check, self.look, seconds), check.name)

    async def _run(self, check: Check, look: Look, seconds: float) -> CheckResult | Findings:
        try:
            # The last question of several is asked when the time is nearly over, and has its own.
            async with ended_after(self.connection, 2 * seconds + GRACE_SECONDS):
                if not self._begun:
                    await self._begin()
                look.until = time.monotonic() + seconds
                if seconds < look.settings.check_timeout:
                    await limit_statements(self.connection, statement_seconds=seconds)
                return await check.function(look)
        except Exception as error:  # noqa: BLE001 - one check's failure is its answer, and no other's
            if lost(error):
                self.gone = said(error)
                return unknown(f"the connection was lost: {self.gone}")
            await self._end()
            return answer_of(error, check, look.server.quoted_role, seconds)

    async def _begin(self) -> None:
        health = self.settings.health
        await begin_bounded(
            self.connection, statement_seconds=health.check_timeout, lock_seconds=health.lock_timeout
        )
        self._begun = True

    async def _release(self) -> None:
        await self._end()
        await self._begin()

    async def _end(self) -> None:
        if self._begun and not self.gone:
            await end_bounded(self.connection)
        self._begun = False

    def _with_loss(self, results: list[CheckResult]) -> list[CheckResult]:
        """The results, with the one that says that the connection broke, or that the server hangs."""
        broken = critical(
            f"the connection was lost: {self.gone}",
            check=_REACHABLE,
            fix="see whether the server restarts: `dbctl health --watch`, its log",
        )
        return [broken, *(one for one in results if one.check != _REACHABLE)]


def _inapplicable(check: Check, server: Server) -> CheckResult | None:
    """Why a check is not run on this server, or as this role."""
    if server.version_number < check.since:
        return skipped(f"needs PostgreSQL {check.since // _MAJOR}")
    if check.where != "any" and (check.where == "standby") != server.standby:
        return skipped(f"only on a {check.where}")
    if check.needs and not server.has(check.needs):
        return unknown(f"needs {check.needs}", grant=f"GRANT {check.needs} TO {server.quoted_role}")
    return None
