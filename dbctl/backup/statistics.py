"""The planner's statistics, which no dump brings along: several tables at a time."""

from __future__ import annotations

from sqlalchemy import text

from dbctl.backup.alongside import together
from dbctl.backup.connections import patient
from dbctl.database import Database, Target
from dbctl.postgres.identifiers import quote_identifier

# The largest first. ANALYZE of a partitioned table goes on to its partitions.
_TABLES = """
    SELECT n.nspname, c.relname FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
     WHERE c.relkind IN ('r', 'p', 'm') AND NOT c.relispartition AND c.relpersistence <> 't'
       AND n.nspname !~ '^pg_(toast|temp)' AND n.nspname <> 'information_schema'
       AND (n.nspname <> 'pg_catalog' OR (SELECT rolsuper FROM pg_roles WHERE rolname = current_user))
     ORDER BY c.relkind = 'p' DESC, c.relpages DESC, c.oid
"""


async def analyze(target: Target, jobs: int) -> None:
    """ANALYZE every table (pg_class) in ``jobs`` sessions."""
    async with patient(target) as database:
        async with database.connect() as connection:
            tables = (await connection.execute(text(_TABLES))).all()
        waiting = [
            f"{quote_identifier(schema)}.{quote_identifier(name)}" for schema, name in reversed(tables)
        ]
        pool = target.settings.settings.pool
        workers = min(jobs, len(waiting), pool.size + pool.max_overflow)
        await together(*(_work_off(database, waiting) for _ in range(workers)))


async def _work_off(database: Database, waiting: list[str]) -> None:
    async with database.connect() as connection:
        while waiting:
            await connection.exec_driver_sql(f"ANALYZE {waiting.pop()}")
