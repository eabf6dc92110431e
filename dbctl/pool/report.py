"""Gathers what a report on the pool needs: two short samples, and a verdict on them."""

from __future__ import annotations

import asyncio
from dataclasses import replace

from sqlalchemy import AsyncAdaptedQueuePool
from sqlalchemy.ext.asyncio import AsyncEngine

from dbctl.database import Database, Target
from dbctl.errors import TooManyConnections
from dbctl.pool.load import estimate_load, measure_ping, read_counters
from dbctl.pool.model import Judgement, PoolReport, ProcessPool, Setup, Verdict
from dbctl.pool.sessions import compared, grouped, read_server, read_sessions
from dbctl.pool.verdict import fleet_of, judge
from dbctl.settings import Loaded

# The report must not become one more thing that hangs.
LIMITS = {"statement_timeout": 5.0, "lock_timeout": 0.1}


def setup_of(loaded: Loaded) -> Setup:
    """The pool's settings, as the report tells them."""
    pool = loaded.settings.pool
    return Setup(
        size=pool.size,
        max_overflow=pool.max_overflow,
        timeout_seconds=pool.timeout,
        recycle_seconds=pool.recycle,
        pre_ping=pool.pre_ping,
        pooler=pool.pooler,
        processes=pool.processes,
        processes_stated="pool.processes" in loaded.origins,
        jobs=pool.jobs,
        leak_after_seconds=pool.leak_after,
    )


def process_pool(engine: AsyncEngine) -> ProcessPool | None:
    """The counters of an engine's pool in this process; None where it pools in another way."""
    pool = engine.pool
    if not isinstance(pool, AsyncAdaptedQueuePool):
        return None
    return ProcessPool(pool.size(), pool.checkedin(), pool.checkedout(), max(0, pool.overflow()))


async def read_pool(target: Target, sample_seconds: float) -> PoolReport:
    """Look twice, ``sample_seconds`` apart, and judge. Takes one connection; a full server is a verdict too."""
    setup = setup_of(target.settings)
    empty = PoolReport(target.environment, Verdict.UNKNOWN, "", (), "", reached=False, settings=setup)
    try:
        async with target.open(application_name="dbctl", **LIMITS) as database:
            return await _read(
                database, empty, target.settings.settings.health.connections_critical, sample_seconds
            )
    except TooManyConnections as error:
        evidence = (error.why, "not even this report got a connection: who holds them can't be seen")
        fix = "look as a superuser, for whom some slots are reserved; lower pool.size, or put PgBouncer in between"
        return _judged(empty, Judgement(Verdict.SATURATION, "no connection is left", evidence, fix))


async def _read(
    database: Database, report: PoolReport, full_share: float, sample_seconds: float
) -> PoolReport:
    setup = report.settings
    async with database.engine.connect() as connection:
        ping = await measure_ping(connection, enabled=setup.pre_ping)
    async with database.connect() as connection:
        before, earlier = await read_counters(connection), await read_sessions(connection)
        await asyncio.sleep(sample_seconds)
        after, later = await read_counters(connection), await read_sessions(connection)
        sessions = compared(earlier, later)
        server = await read_server(connection, sessions)
        process = process_pool(database.engine)
    load = estimate_load(before, after, setup.processes)
    judged = judge(sessions, setup, server.slots, load, role=server.role, full_share=full_share)
    return replace(
        _judged(report, judged),
        reached=True,
        process=process,
        sessions=grouped(sessions),
        slots=server.slots,
        fleet=fleet_of(setup, server.slots),
        load=load,
        ping=ping,
    )


def _judged(report: PoolReport, judged: Judgement) -> PoolReport:
    return replace(
        report, verdict=judged.verdict, message=judged.message, evidence=judged.evidence, fix=judged.fix
    )
