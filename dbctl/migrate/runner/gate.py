"""What must be so before a run begins: a plan without dangers, nobody in the way, replicas that keep up."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from dbctl.errors import Busy, Refused, SettingsError, ToolMissing
from dbctl.migrate.model import Blocking, Event, Waiting
from dbctl.migrate.rules.model import Level
from dbctl.migrate.runner.steps import half_applied
from dbctl.migrate.site import Site
from dbctl.postgres.own_tables import OWN_TABLES

if TYPE_CHECKING:
    from dbctl.migrate.plan.make import PlanRequest
    from dbctl.migrate.plan.model import Blocker, Plan, Replica

_LOOK_SECONDS = 1.0
_NAMED = 3
# By shape, since projects rename it: a version table is one whose only column is version_num.
_HAS_TABLES = """
SELECT EXISTS (
    SELECT FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
     WHERE c.relkind IN ('r', 'p', 'f') AND c.relpersistence <> 't' AND c.relname <> ALL(:own)
       AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
       AND NOT (c.relnatts = 1 AND EXISTS (SELECT FROM pg_attribute AS a
                                            WHERE a.attrelid = c.oid AND a.attname = 'version_num')))
"""
# Those whose transaction is as old as it was, and older by now.
_STILL_THERE = """
SELECT count(*) FROM pg_stat_activity AS a
  JOIN unnest(CAST(:pids AS int[]), CAST(:ages AS float[])) AS b (pid, age) ON a.pid = b.pid
 WHERE extract(epoch FROM clock_timestamp() - a.xact_start) >= b.age
"""
_PREPARED = "SELECT count(*) FROM pg_prepared_xacts WHERE gid = ANY(:names)"
_WAYS = "make it where there is one and give `--plan FILE`, install pg-dbctl[embedded], name one by --scratch-url, or --no-plan"


@dataclass(frozen=True, slots=True)
class GateRequest:
    """What is asked before a run. ``plan`` says which is made (None: none is), unless ``file`` holds one that was made before.

    ``accepted`` are ids of hazards that may be met; ``max_replica_lag_seconds`` 0 is any; ``wait_seconds`` is how
    long those in the way are waited for.
    """

    environment: str
    plan: Callable[[], PlanRequest] | None = None
    file: Path | None = None
    accepted: frozenset[str] = frozenset()
    max_replica_lag_seconds: float = 0
    wait_seconds: float = 0
    tell: Callable[[str], None] = field(default=lambda _: None)
    hear: Callable[[Event], None] = field(default=lambda _: None)


@dataclass(frozen=True, slots=True)
class Passed:
    """What the gate found: the revisions that a saved plan leads to, and what a plan took that was made now."""

    target: tuple[str, ...] | None = None
    plan_seconds: float | None = None


async def pass_gate(site: Site, guard: AsyncConnection, request: GateRequest) -> Passed:
    """Raise what speaks against a run: Refused, Busy, SettingsError (no server for the plan), ToolMissing.

    ``guard`` holds the runner's lock.
    """
    if request.max_replica_lag_seconds:
        await _wait_for_replicas(guard, request.max_replica_lag_seconds)
    if request.file is not None:
        return Passed(target=await _check_saved(site, request, request.file))
    has_tables = await guard.scalar(text(_HAS_TABLES), {"own": list(OWN_TABLES)})
    waiting = await half_applied(guard)
    if waiting:
        request.tell(f"revision {', '.join(waiting)} is half applied: it goes on, without a plan")
    if request.plan is None or not has_tables or waiting:
        return Passed()
    started = time.monotonic()
    plan = await _made(site, request.plan(), request.tell)
    seconds = time.monotonic() - started
    check_dangers(list(_dangers(plan)), request.accepted)
    await _let_pass(guard, plan.blockers, request)
    return Passed(plan_seconds=seconds)


async def _wait_for_replicas(guard: AsyncConnection, max_lag_seconds: float) -> None:
    from dbctl.migrate.plan.surroundings import read_replicas

    replicas = await read_replicas(guard)
    if _late(replicas, max_lag_seconds):
        # One that was behind an hour ago seems to be so again, for the moment in which a new record is on its way.
        await asyncio.sleep(_LOOK_SECONDS)
        replicas = await read_replicas(guard)
    check_replicas(replicas, max_lag_seconds)


def _late(replicas: Sequence[Replica], max_lag_seconds: float) -> list[Replica]:
    return [one for one in replicas if max_lag_seconds and (one.lag_seconds or 0) > max_lag_seconds]


def check_replicas(replicas: Sequence[Replica], max_lag_seconds: float) -> None:
    """Raise Refused where one is further behind than that; 0 is any."""
    if late := _late(replicas, max_lag_seconds):
        names = ", ".join(f"{one.name or 'a replica'} by {one.lag_seconds:.0f} s" for one in late)
        raise Refused(
            "replicas are behind",
            why=f"{names}; migrate.max_replica_lag is {max_lag_seconds:g} s",
            hint="wait for them, or raise migrate.max_replica_lag",
        )


def check_dangers(dangers: Sequence[tuple[str, str]], accepted: Collection[str]) -> None:
    """Raise Refused for those (hazard's id, a line for people) that nobody accepted."""
    left = [(hazard, line) for hazard, line in dangers if hazard not in accepted]
    if not left:
        return
    number = len(left)
    more = f"; and {number - _NAMED} more" if number > _NAMED else ""
    first = left[0][0]
    raise Refused(
        f"not safe to apply: {number} danger{'' if number == 1 else 's'} not accepted",
        why="; ".join(line for _, line in left[:_NAMED]) + more,
        hint=f"`dbctl migrate plan` shows the safe way; or accept it in the file, or here: --accept {first}",
    )


async def _check_saved(site: Site, request: GateRequest, file: Path) -> tuple[str, ...]:
    from dbctl.migrate.plan import saved

    fit = await saved.check_saved(file, site, request.environment)
    if not fit.fits:
        raise Refused(
            "the plan does not fit any more",
            why="; ".join(fit.reasons[:_NAMED]),
            hint="make it again: `dbctl migrate plan --out FILE`",
        )
    check_dangers([(_hazard(line), line) for line in fit.saved.dangers], request.accepted)
    return tuple(one for one in fit.saved.target if one not in fit.saved.fingerprint.current)


def _hazard(line: str) -> str:
    """The id in a line of `verdict.dangers`: revision: hazard on tables."""
    return line.partition(": ")[2].partition(" on ")[0]


async def _made(site: Site, request: PlanRequest, tell: Callable[[str], None]) -> Plan:
    # A database without tables needs none of what makes a plan: the half of what would be loaded.
    from dbctl.migrate.plan import make

    try:
        return await make.plan(site, request, tell=tell)
    except ToolMissing as error:
        raise SettingsError(
            "no plan could be made: there is no PostgreSQL server here to try it on",
            why=str(error),
            hint=_WAYS,
        ) from error


def _dangers(plan: Plan) -> Iterator[tuple[str, str]]:
    findings = [
        finding
        for one in plan.revisions
        for finding in one.findings
        if finding.level is Level.DANGER and not finding.accepted
    ]
    return zip((finding.hazard for finding in findings), plan.dangers, strict=True)


async def _let_pass(guard: AsyncConnection, blockers: Sequence[Blocker], request: GateRequest) -> None:
    """Wait until the transactions that would be in the way have ended."""
    if not blockers:
        return
    request.hear(Waiting("", tuple(_blocking(one) for one in blockers)))
    deadline = time.monotonic() + request.wait_seconds
    while await _still_there(guard, blockers):
        if time.monotonic() >= deadline:
            raise _in_the_way(blockers)
        await asyncio.sleep(_LOOK_SECONDS)


async def _still_there(connection: AsyncConnection, blockers: Sequence[Blocker]) -> bool:
    sessions = [one.session for one in blockers]
    seen = [(one.pid, one.age_seconds or 0.0) for one in sessions if one.pid is not None]
    names = [one.name for one in sessions if one.pid is None]
    ages = {"pids": [pid for pid, _ in seen], "ages": [age for _, age in seen]}
    return bool(
        await connection.scalar(text(_STILL_THERE), ages)
        or await connection.scalar(text(_PREPARED), {"names": names})
    )


def _in_the_way(blockers: Sequence[Blocker]) -> Busy:
    first = blockers[0]
    pid = first.session.pid
    who = f"{first.session.kind} {pid if pid is not None else first.session.name} of {first.session.role}"
    tables = f" on {', '.join(first.tables)}" if first.tables else ""
    by = (
        f"SELECT pg_terminate_backend({pid})"
        if pid is not None
        else f"ROLLBACK PREPARED '{first.session.name}'"
    )
    return Busy(
        "somebody is in the way",
        why=f"{who} holds its locks{tables} for {first.session.age_seconds or 0:.0f} s",
        hint=f"try again later, or end it: `{by}`",
    )


def _blocking(blocker: Blocker) -> Blocking:
    session = blocker.session
    return Blocking(
        session.pid or 0,
        session.role,
        session.application,
        session.state or session.kind,
        session.age_seconds,
        session.query,
    )
