"""How fast the scratch server is at what grows with a table: measured on a small table, in half a second."""

from __future__ import annotations

import time

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from dbctl.database import Database
from dbctl.migrate.plan.model import Rates

_ROWS = 40_000
_MAKE = f"""
CREATE TABLE dbctl_sample AS
SELECT i AS id, CAST(i * 7919 %% 1000003 AS int) AS number, md5(CAST(i AS text)) AS word, repeat('x', 40) AS filler
  FROM generate_series(1, {_ROWS}) AS i
"""  # noqa: S608 - constants of ours
_SCAN = "ALTER TABLE dbctl_sample ALTER filler SET NOT NULL"
_SCAN_AGAIN = "ALTER TABLE dbctl_sample ALTER filler DROP NOT NULL"
_SCANS = 3
_NUMBERS = "CREATE INDEX dbctl_sample_number ON dbctl_sample (number)"
_TEXTS = "CREATE INDEX dbctl_sample_word ON dbctl_sample (word)"
_UPDATE = "UPDATE dbctl_sample SET filler = filler"
_REWRITE = "ALTER TABLE dbctl_sample ALTER filler TYPE varchar(60) USING filler"
_BYTES = "SELECT pg_table_size('dbctl_sample')"
_DROP_INDEXES = "DROP INDEX dbctl_sample_number, dbctl_sample_word"
# One core, and no index where a table read in full is what is measured.
_SESSION = """
SELECT set_config('max_parallel_workers_per_gather', '0', true), set_config('jit', 'off', true),
       set_config('max_parallel_maintenance_workers', '0', true), set_config('enable_seqscan', 'on', true),
       set_config('maintenance_work_mem', '64MB', true)
"""


async def measure_rates(scratch: Database) -> Rates:
    """Make a sample, work on it, and roll all back; ``scratch`` is a database in which nobody listens.

    The last pass over the table, an UPDATE, comes before the rewrite, as it leaves the table twice as big.
    """
    async with scratch.session() as session:
        connection = await session.connection()
        await session.execute(text(_SESSION))
        await connection.exec_driver_sql(_MAKE.replace("%%", "%"))
        size = int((await connection.exec_driver_sql(_BYTES)).scalar_one())
        scan = min([await _scan(connection) for _ in range(_SCANS)])
        rewrite = await _timed(connection, _REWRITE)
        numbers = await _timed(connection, _NUMBERS)
        texts = await _timed(connection, _TEXTS)
        update = await _timed(connection, _UPDATE)
        await session.rollback()
    return Rates(size / scan, size / rewrite, _ROWS / numbers, _ROWS / texts, _ROWS / update)


async def _scan(connection: AsyncConnection) -> float:
    """So short that anything else on the machine shows in it: several, of which the shortest counts."""
    seconds = await _timed(connection, _SCAN)
    await connection.exec_driver_sql(_SCAN_AGAIN)
    return seconds


async def _timed(connection: AsyncConnection, statement: str) -> float:
    started = time.perf_counter()
    await connection.exec_driver_sql(statement)
    return time.perf_counter() - started
