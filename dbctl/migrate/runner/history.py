"""The table ``dbctl_history``: who ran which revision when, how long it took, how it ended."""

from __future__ import annotations

import platform
from typing import Any

from sqlalchemy import Connection, text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection

from dbctl import __version__
from dbctl.migrate.model import Applied, Direction, Ran
from dbctl.migrate.trace.asking import Asking
from dbctl.postgres.identifiers import quote_identifier
from dbctl.postgres.own_tables import HISTORY

_COLUMNS = """
    id int8 GENERATED ALWAYS AS IDENTITY PRIMARY KEY, at timestamptz NOT NULL DEFAULT clock_timestamp(),
    revision text NOT NULL, direction text NOT NULL, outcome text NOT NULL, duration_seconds float8 NOT NULL,
    retries int NOT NULL, by_role text NOT NULL DEFAULT session_user, from_host text NOT NULL,
    dbctl_version text NOT NULL
"""
_ADD = """
INSERT INTO {table} (revision, direction, outcome, duration_seconds, retries, from_host, dbctl_version)
VALUES (:revision, :direction, :outcome, CAST(CAST(:seconds AS text) AS float8), CAST(CAST(:retries AS text) AS int),
        :host, :version)
"""
_MAY_WRITE = """
SELECT CASE WHEN to_regclass(CAST(:name AS text)) IS NULL THEN has_schema_privilege(CAST(:schema AS text), 'CREATE')
            ELSE has_table_privilege(CAST(:name AS text), 'INSERT') END
"""
_SCHEMAS = """
SELECT n.nspname FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
 WHERE c.relname = :name AND c.relkind = 'r' AND has_schema_privilege(n.oid, 'USAGE')
   AND has_table_privilege(c.oid, 'SELECT')
"""
_READ = """
SELECT at, revision, direction, outcome, duration_seconds, retries, by_role, from_host, dbctl_version
  FROM {table} ORDER BY id DESC LIMIT {most}
"""


class History:
    """Writes a row for each revision, in the transaction that applies it; one that failed afterwards."""

    def __init__(self) -> None:
        self._table = ""
        self._may_write = False
        self._schema = ""
        self._late: list[dict[str, Any]] = []

    def opened(self, connection: Connection, schema: str) -> None:
        """The version table's schema is known; without the right to write there, there is no history."""
        self._table, self._schema = table_name(schema), schema
        (may_write,) = Asking(connection).row(_MAY_WRITE, name=self._table, schema=schema)
        if may_write and not self._may_write:
            Asking(connection).run(f"CREATE TABLE IF NOT EXISTS {self._table} ({_COLUMNS})")
            connection.connection.commit()
        self._may_write = bool(may_write)

    def note(self, connection: Connection, ran: Applied, *, other_role: bool = False) -> None:
        """A revision is about to be committed; under another role than ours its row may have to wait."""
        if not self._may_write:
            return
        values = _values(ran.revision, ran.direction, "applied", ran.duration_seconds, ran.retries)
        if other_role and not Asking(connection).row(_MAY_WRITE, name=self._table, schema=self._schema)[0]:
            self._late.append(values)
            return
        Asking(connection).put(_ADD.format(table=self._table), **values)

    async def note_late(self, guard: AsyncConnection) -> None:
        """Write the rows that had to wait."""
        while self._late:
            await guard.execute(text(_ADD.format(table=self._table)), self._late.pop(0))

    async def note_failure(
        self, guard: AsyncConnection, revision: str, direction: Direction, outcome: str, retries: int
    ) -> None:
        """A revision has failed, or was stopped; a server that is gone hears of nothing."""
        if not (self._may_write and revision):
            return
        values = _values(revision, direction, outcome, 0, retries)
        try:
            await guard.execute(text(_ADD.format(table=self._table)), values)
        except (SQLAlchemyError, OSError):
            return


async def read_history(connection: AsyncConnection, most: int = 100) -> tuple[Ran, ...]:
    """The last runs, newest first, of whatever schema; empty where there is no history, or we may not read it."""
    found: list[Ran] = []
    for schema in await connection.scalars(text(_SCHEMAS), {"name": HISTORY}):
        sql = _READ.format(table=table_name(schema), most=int(most))
        found += [Ran(**row._mapping) for row in await connection.exec_driver_sql(sql)]  # noqa: SLF001
    return tuple(sorted(found, key=lambda one: one.at, reverse=True)[:most])


def table_name(schema: str) -> str:
    """The table's name for SQL."""
    return f"{quote_identifier(schema)}.{quote_identifier(HISTORY)}"


def _values(
    revision: str, direction: Direction, outcome: str, seconds: float, retries: int
) -> dict[str, Any]:
    return {
        "revision": revision,
        "direction": str(direction),
        "outcome": outcome,
        "seconds": str(round(seconds, 3)),
        "retries": str(retries),
        "host": platform.node(),
        "version": __version__,
    }
