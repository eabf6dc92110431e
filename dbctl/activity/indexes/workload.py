"""Tries indexes that are not there on the statements that cost most: the planner says whether they would help (hypopg)."""

from __future__ import annotations

import json
import time
from collections import defaultdict
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection

from dbctl.activity.indexes.candidates import Candidate, Plan, find_candidates, total_cost
from dbctl.activity.queries.counters import Key, find_extension, read_counters, read_texts
from dbctl.activity.reading import bounded
from dbctl.database.errors import sqlstate
from dbctl.errors import NotFound
from dbctl.postgres.identifiers import quote_identifier

_STATEMENTS = 20
_BUDGET_SECONDS = 5.0
# What costs less is quick anyhow, and what halves nothing is not worth each write's work.
_LEAST_COST, _LEAST_GAIN = 100.0, 0.5
_PLANNED = ("select", "with", "update", "delete")
_NAME = "dbctl_plan"
_HYPOPG = text(
    "SELECT n.nspname FROM pg_catalog.pg_extension AS e"
    " JOIN pg_catalog.pg_namespace AS n ON n.oid = e.extnamespace WHERE e.extname = 'hypopg'"
)
_OURSELVES = text("SELECT oid FROM pg_catalog.pg_roles WHERE rolname = current_user")
_GENERIC = text("SELECT set_config('plan_cache_mode', 'force_generic_plan', true)")
_PREPARED = text(
    "SELECT cardinality(parameter_types) FROM pg_catalog.pg_prepared_statements WHERE name = 'dbctl_plan'"
)


@dataclass(frozen=True, slots=True)
class Help:
    """An index that would make statements cheaper; ``gain`` of the best of them, ``share`` of all time they take."""

    candidate: Candidate
    gain: float
    share: float
    statements: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Costly:
    key: Key
    sql: str
    share: float


async def find_help(connection: AsyncConnection) -> tuple[Help, ...] | None:
    """Indexes that would help what costs most, by pg_stat_statements; None where hypopg or that is not installed.

    Nothing is run but the planner, in read-only transactions, and only on statements that this very role has run: the
    planner calls what is declared IMMUTABLE, which must not be another's function with our rights. It ends after 5 s
    with what it has found so far.
    """
    async with bounded(connection):
        schema = await connection.scalar(_HYPOPG)
    if schema is None:
        return None
    try:
        costly = await _costly(connection)
    except NotFound:
        return None
    deadline = time.monotonic() + _BUDGET_SECONDS
    found: dict[Candidate, list[tuple[float, _Costly]]] = defaultdict(list)
    for one in costly:
        if time.monotonic() > deadline:
            break
        best = await _best(connection, quote_identifier(schema), one.sql)
        if best is not None:
            found[best[0]].append((best[1], one))
    helps = [
        Help(
            candidate,
            max(gain for gain, _ in helped),
            sum(one.share for _, one in helped),
            tuple(one.sql for _, one in helped),
        )
        for candidate, helped in found.items()
    ]
    return tuple(sorted(helps, key=lambda one: -one.share * one.gain))


async def _costly(connection: AsyncConnection) -> Sequence[_Costly]:
    extension = await find_extension(connection)
    reading = await read_counters(connection, extension)
    total = sum(one.total_ms for one in reading.counters.values()) or 1
    async with bounded(connection):
        ourselves = await connection.scalar(_OURSELVES)
    ours = [key for key in reading.counters if key.role == ourselves]
    ranked = sorted(ours, key=lambda key: -reading.counters[key].total_ms)[:_STATEMENTS]
    texts = await read_texts(connection, extension, ranked) if ranked else {}
    found = [
        _Costly(key, texts[key.role, key.queryid][0], reading.counters[key].total_ms / total)
        for key in ranked
        if (key.role, key.queryid) in texts
    ]
    return [one for one in found if one.sql.lstrip("( \n\t").lower().startswith(_PLANNED)]


async def _best(connection: AsyncConnection, schema: str, sql: str) -> tuple[Candidate, float] | None:
    """The candidate with the cheapest plan, and by how much; a statement that can't be planned has none."""
    try:
        async with bounded(connection):
            await connection.execute(_GENERIC)
            best = await _compare(connection, schema, sql)
            await _forget(connection)
            return best
    except DBAPIError as error:
        # A table that is gone or locked, a type that can't be guessed, no right to read it; a lost connection is told.
        if sqlstate(error) is None:
            raise
        async with bounded(connection):
            await _forget(connection)
        return None


async def _compare(connection: AsyncConnection, schema: str, sql: str) -> tuple[Candidate, float] | None:
    plan = await _plan(connection, sql)
    before = now = total_cost(plan)
    best: Candidate | None = None
    for candidate in find_candidates(plan):
        if now < _LEAST_COST:
            break
        cost = await _cost_with(connection, schema, candidate, sql)
        # The narrowest were first: a wider one must halve once more what they leave.
        if cost <= now * (1 - _LEAST_GAIN):
            best, now = candidate, cost
    return None if best is None else (best, 1 - now / before)


async def _cost_with(connection: AsyncConnection, schema: str, one: Candidate, sql: str) -> float:
    columns = ", ".join(quote_identifier(column) for column in one.columns)
    index = f"CREATE INDEX ON {quote_identifier(one.schema)}.{quote_identifier(one.table)} ({columns})"
    await connection.exec_driver_sql(f"SELECT count(*) FROM {schema}.hypopg_create_index($1)", (index,))  # noqa: S608 - a quoted schema
    try:
        return total_cost(await _plan(connection, sql))
    finally:
        with suppress(DBAPIError):
            await connection.exec_driver_sql(f"SELECT {schema}.hypopg_reset()")


async def _plan(connection: AsyncConnection, sql: str) -> Plan:
    """The plan for any values, made anew: one that the server keeps knows nothing of a hypothetical index."""
    await _forget(connection)
    # A utility statement by itself: of two statements in one text the server refuses both.
    await connection.exec_driver_sql(f"PREPARE {_NAME} AS {sql}")
    count = await connection.scalar(_PREPARED) or 0
    values = f"({', '.join(['NULL'] * count)})" if count else ""
    explain = f"EXPLAIN (VERBOSE, FORMAT JSON) EXECUTE {_NAME}{values}"
    answer: Any = (await connection.exec_driver_sql(explain)).scalar_one()
    document = json.loads(answer) if isinstance(answer, str) else answer
    plan: Plan = document[0]["Plan"]
    return plan


async def _forget(connection: AsyncConnection) -> None:
    """Prepared statements outlive a transaction that is rolled back."""
    if await connection.scalar(_PREPARED) is not None:
        await connection.exec_driver_sql(f"DEALLOCATE {_NAME}")
