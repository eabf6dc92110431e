"""For FastAPI applications: the shared engine's life, a session a request, and what probes and monitors ask.

    from dbctl.web import get_db, lifespan, router

    app = FastAPI(lifespan=lifespan)
    app.include_router(router)

``/health/db`` tells whether the database answers, ``/health/ready`` whether it has all the migrations of this code,
``/metrics`` is for Prometheus. What they say of a failure is a word: no host, no role, no message of the server.
"""

from __future__ import annotations

import asyncio
import io
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast

try:
    from fastapi import APIRouter, FastAPI, Response
    from fastapi.responses import JSONResponse
except ModuleNotFoundError as error:  # pragma: no cover - said to who installs dbctl without its extra
    raise ModuleNotFoundError("dbctl.web needs FastAPI: install pg-dbctl[web]", name=error.name) from error

from sqlalchemy import text

from dbctl.database.fastapi import dispose_db, get_db, shared
from dbctl.errors import DbctlError

if TYPE_CHECKING:
    from sqlalchemy.pool import QueuePool

    from dbctl.health.model import Report, Revisions

__all__ = ["get_db", "lifespan", "router"]

# A probe that waits longer than its caller tells nothing: Kubernetes gives up after one second unless told.
_ANSWER_SECONDS = 1.0
# However many ask, the database is looked at once in so long.
_READY_SECONDS = 2.0
_METRICS_SECONDS = 15.0

Answer = TypeVar("Answer")


@asynccontextmanager
async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
    """Make the engine with the application, close it with it. A database that is down keeps nobody from starting.

    Raises SettingsError where the environment has no database.
    """
    await shared()
    try:
        yield
    finally:
        _pending.forget()
        _report.forget()
        await dispose_db()


router = APIRouter(tags=["database"])


@router.get("/health/db")
async def database_health() -> Response:
    """200 where the database answers within a second through the application's own pool, else 503."""
    started = time.perf_counter()
    name, reason = await _within_time(_ask_its_name)
    latency = {"latency_seconds": round(time.perf_counter() - started, 6)}
    return _said({"database": name, **latency} if reason is None else {"reason": reason, **latency}, reason)


@router.get("/health/ready")
async def ready() -> Response:
    """200 where no migration of this code is missing in the database, else 503.

    A database that is ahead of the code is fine: so it is while a new version is rolled out.
    """
    pending, reason = await _within_time(lambda: _pending.get(_count_pending))
    if reason is None and pending:
        reason = "migrations_pending"
    return _said({"pending": pending} if reason is None else {"reason": reason, "pending": pending}, reason)


@router.get("/metrics")
async def metrics() -> Response:
    """The pool of this process, and what `dbctl health` finds, as Prometheus reads it."""
    from dbctl.cli.output.monitors.health import write_prometheus

    stream = io.StringIO()
    write_pool(await _pool(), stream)
    write_prometheus(await _report.get(_look), stream)
    return Response(stream.getvalue(), media_type="text/plain; version=0.0.4; charset=utf-8")


def write_pool(pool: QueuePool, stream: io.StringIO) -> None:
    """Gauges of SQLAlchemy's pool."""
    for name, what, number in (
        ("size", "connections that are kept", pool.size()),
        ("checked_out", "connections in use", pool.checkedout()),
        ("idle", "connections that wait to be used", pool.checkedin()),
        ("overflow", "connections beyond the size", max(pool.overflow(), 0)),
    ):
        stream.write(f"# HELP dbctl_pool_{name} {what}\n# TYPE dbctl_pool_{name} gauge\n")
        stream.write(f"dbctl_pool_{name} {number}\n")


@dataclass
class _Kept(Generic[Answer]):
    """The last answer, for ``seconds``; who comes while it is being found waits for it."""

    seconds: float
    _answer: Answer | None = None
    _until: float = 0
    _asking: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def get(self, ask: Callable[[], Awaitable[Answer]]) -> Answer:
        async with self._asking:
            if self._answer is None or time.monotonic() >= self._until:
                self._answer = await ask()
                self._until = time.monotonic() + self.seconds
            return self._answer

    def forget(self) -> None:
        self._until = 0


_pending: _Kept[int] = _Kept(_READY_SECONDS)
_report: _Kept[Report] = _Kept(_METRICS_SECONDS)


async def _within_time(ask: Callable[[], Awaitable[Answer]]) -> tuple[Answer | None, str | None]:
    """The answer, or in a word why there is none."""
    try:
        async with asyncio.timeout(_ANSWER_SECONDS):
            return await ask(), None
    except TimeoutError:
        return None, "timeout"
    except DbctlError as error:
        return None, error.kind


async def _ask_its_name() -> str:
    async with (await shared()).database.connect() as connection:
        return str(await connection.scalar(text("SELECT current_database()")))


async def _count_pending() -> int:
    from dbctl.postgres.alembic_version import of_project, read_versions

    revisions = await _revisions()
    async with (await shared()).database.connect() as connection:
        tables = of_project(await read_versions(connection), revisions.unknown)
    return len(revisions.pending([revision for one in tables for revision in one.revisions or ()]))


async def _revisions() -> Revisions:
    """The revision files that this code came with, read from their syntax trees."""
    from dbctl.cli.facts import migration_facts
    from dbctl.errors import SettingsError

    facts = await asyncio.to_thread(migration_facts, (await shared()).target.settings)
    if facts.revisions is None:
        raise SettingsError(
            "no revisions to compare with", why=facts.problem or "migrate.config is not there"
        )
    return facts.revisions


async def _look() -> Report:
    from dbctl.cli.facts import migration_facts
    from dbctl.health.look import Outside
    from dbctl.health.run import Request, check_health

    target = (await shared()).target
    outside = Outside(migrations=lambda: migration_facts(target.settings))
    # Whether backups are young enough is for who makes them: an application has no business in their storage.
    return await check_health(target, outside, Request(skip=("backups",)))


async def _pool() -> QueuePool:
    return cast("QueuePool", (await shared()).database.engine.pool)


def _said(fields: dict[str, Any], reason: str | None) -> Response:
    status = {"status": "ok" if reason is None else "unavailable"}
    at = {"timestamp": datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")}
    return JSONResponse({**status, **fields, **at}, status_code=200 if reason is None else 503)
