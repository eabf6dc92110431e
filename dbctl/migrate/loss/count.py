"""Counts on the target what is doomed: read-only, each count under a short time limit, else an estimate."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import text

from dbctl.database import Database
from dbctl.database.errors import sqlstate
from dbctl.errors import Busy, ConnectionLost, DbctlError, Failed
from dbctl.migrate.loss.columns import LOST, column_name, count_row_by_row, does_not_fit
from dbctl.migrate.loss.doomed import Doomed
from dbctl.migrate.loss.model import Loss
from dbctl.migrate.loss.names import qualified, source
from dbctl.migrate.plan.reading import STATEMENT_SECONDS, reading

_CANCELLED = "57014"
_DATA_ERRORS = ("22", "23")
# A row that row-level security would hide must be an error: it is lost like any other.
_LOOK = "SELECT set_config('statement_timeout', :ms, true), set_config('row_security', 'off', true)"
# Of a partitioned table the statistics are those of its partitions.
_ROWS = """
WITH RECURSIVE part AS (
    SELECT to_regclass(:table) AS oid
    UNION ALL SELECT i.inhrelid FROM part JOIN pg_inherits AS i ON i.inhparent = part.oid
)
SELECT CAST(sum(c.reltuples) AS bigint) FROM part JOIN pg_class AS c USING (oid)
 WHERE c.relkind = 'r' HAVING min(c.reltuples) >= 0
"""
_NULLS = """
SELECT null_frac FROM pg_stats WHERE schemaname = :schema AND tablename = :name AND attname = :column
"""


@dataclass(frozen=True, slots=True)
class Counter:
    """Counts on one database; ``seconds`` is the limit of each count."""

    database: Database
    seconds: float = STATEMENT_SECONDS

    async def count(self, doomed: Doomed) -> tuple[Doomed, Loss]:
        """One loss, counted, and of what: without its query, where that one means nothing on the target as it is now.

        Raises ConnectionLost; anything else that goes wrong stands in ``why``.
        """
        loss = _described(doomed)
        try:
            return doomed, replace(loss, count=await self._exactly(doomed))
        except ConnectionLost:
            raise
        except (Failed, Busy) as error:
            if _state(error) == _CANCELLED or isinstance(error, Busy):
                return doomed, await self._estimated(doomed, loss)
            if doomed.rows:
                return await self.count(replace(doomed, rows=""))
            if _state(error)[:2] in _DATA_ERRORS and doomed.kind == "changed type":
                loss = replace(loss, why=f"the downgrade fails on them: {error.why}")
                return doomed, await self._row_by_row(doomed, loss)
            return doomed, replace(loss, why=f"not counted: {error.why or error.message}")

    async def _exactly(self, doomed: Doomed) -> int:
        if doomed.kind in {"deleted rows", "overwritten"} and not doomed.rows:
            # A condition that is not known may mean every row: of none it means none.
            any_row = f"SELECT FROM {source(doomed.table)} LIMIT 1"
            if await self._number(f"SELECT CAST(EXISTS ({any_row}) AS int)"):
                raise Failed("not counted", why="which of its rows is known only when it runs")
            return 0
        return await self._number(_query(doomed), *_labels(doomed))

    async def _row_by_row(self, doomed: Doomed, loss: Loss) -> Loss:
        block = count_row_by_row(doomed)
        if not block:
            return loss
        try:
            async with reading(self.database) as session:
                await session.execute(text(_LOOK), {"ms": f"{self.seconds * 1000:.0f}"})
                await (await session.connection()).exec_driver_sql(block)
                lost = await session.scalar(text("SELECT current_setting(:name)"), {"name": LOST})
        except ConnectionLost:
            raise
        except (Failed, Busy):
            return loss
        return replace(loss, count=int(str(lost)))

    async def _number(self, query: str, *values: Any) -> int:
        async with reading(self.database) as session:
            await session.execute(text(_LOOK), {"ms": f"{self.seconds * 1000:.0f}"})
            connection = await session.connection()
            return int((await connection.exec_driver_sql(query, values or None)).scalar_one())

    async def _estimated(self, doomed: Doomed, loss: Loss) -> Loss:
        """By statistics; of what statistics say nothing, that it is not known."""
        table = doomed.table
        slow = replace(loss, why=f"not counted within {self.seconds:g} s")
        try:
            async with reading(self.database) as session:
                rows = await session.scalar(text(_ROWS), {"table": qualified(table)})
                values = {"schema": table.schema, "name": table.name, "column": loss.column}
                nulls = await session.scalar(text(_NULLS), values) if loss.column else 0.0
        except ConnectionLost:
            raise
        except (Failed, Busy):
            return slow
        if rows is None or nulls is None or loss.kind not in {"dropped table", "dropped column"}:
            return slow
        # It took long to count: whatever old statistics say, it is not nothing.
        return replace(slow, count=max(round(rows * (1 - nulls)), 1), is_estimate=True)


async def count_all(
    database: Database, doomed: Sequence[Doomed], seconds: float = STATEMENT_SECONDS
) -> tuple[tuple[Doomed, Loss], ...]:
    """All of them, one after the other: the target has other work."""
    counter = Counter(database, seconds)
    return tuple([await counter.count(one) for one in doomed])


def _query(doomed: Doomed) -> str:
    match doomed.kind:
        case "dropped table":
            counted, rows = "count(*)", source(doomed.table)
        case "dropped column":
            counted, rows = f"count({column_name(doomed)})", source(doomed.table)
        case "changed type":
            counted, rows = "count(*)", f"{source(doomed.table)} WHERE {does_not_fit(doomed)}"
        case "deleted rows" | "overwritten":
            counted, rows = "count(*)", f"({doomed.rows}) AS doomed"
    return f"SELECT {counted} FROM {rows}"  # noqa: S608 - quoted names, and the revision's own expressions


def _described(doomed: Doomed) -> Loss:
    column, becomes = doomed.column, doomed.becomes
    return Loss(
        revision=doomed.revision,
        kind=doomed.kind,
        table=doomed.table.shown,
        column=column.name if column else "",
        change=f"{column.type} -> {becomes.type}" if column and becomes else "",
    )


def _labels(doomed: Doomed) -> tuple[list[str], ...]:
    labels = doomed.becomes.labels if doomed.becomes else ()
    return (list(labels),) if labels else ()


def _state(error: DbctlError) -> str:
    return (sqlstate(error.__cause__) if error.__cause__ else None) or ""
