"""The table ``dbctl_steps``: which statements of a revision are done, while it commits before its end.

It stands beside the version table, and only as long as such a revision is in flight. A row is written in the
transaction of its statement, so that both are there or neither.
"""

from __future__ import annotations

import hashlib
import json
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection

from dbctl.migrate.trace.asking import Asking, document
from dbctl.postgres.identifiers import quote_identifier
from dbctl.postgres.own_tables import STEPS

_FEW_VALUES = 16
State = Literal["done", "started", "undone"]
_COLUMNS = """
    revision text NOT NULL, direction text NOT NULL, number int NOT NULL, state text NOT NULL,
    digest text NOT NULL, affected int8 NOT NULL, is_data bool NOT NULL, returns_rows bool NOT NULL,
    statement text NOT NULL, by_role text NOT NULL DEFAULT session_user, from_host text NOT NULL,
    noted_at timestamptz NOT NULL DEFAULT clock_timestamp(), PRIMARY KEY (revision, direction, number)
"""
_FIELDS = "revision, direction, number, state, digest, affected, is_data, returns_rows, statement, from_host"
_SCHEMAS = """
SELECT n.nspname FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
 WHERE c.relname = :name AND c.relkind = 'r' AND has_schema_privilege(n.oid, 'USAGE')
   AND has_table_privilege(c.oid, 'SELECT')
"""
_MAY_NOTE = """
SELECT CASE WHEN to_regclass(CAST(:name AS text)) IS NULL THEN has_schema_privilege(CAST(:schema AS text), 'CREATE')
            ELSE has_table_privilege(CAST(:name AS text), 'INSERT, SELECT')
             AND has_table_privilege(CAST(:name AS text), 'UPDATE')
             AND has_table_privilege(CAST(:name AS text), 'DELETE') END,
       to_regclass(CAST(:name AS text)) IS NOT NULL
"""


@dataclass(frozen=True, slots=True)
class Noted:
    """A row: ``affected`` is the driver's rowcount, ``statement`` its text, cut and with literals masked.

    ``started`` ones run outside of any transaction; whether they came to their end is to be found out. ``undone``
    ones were taken back by a savepoint: a part of the revision's way, they run again.
    """

    revision: str
    direction: str
    number: int
    state: State
    digest: str
    affected: int
    is_data: bool
    returns_rows: bool
    statement: str
    by_role: str
    from_host: str
    noted_at: datetime


@dataclass(frozen=True, slots=True)
class Step:
    """A statement that is to be noted."""

    number: int
    digest: str
    is_data: bool
    returns_rows: bool
    statement: str
    affected: int = 0
    state: State = "done"


class StepsTable:
    """The table in ``schema``, asked through whatever connection of the project is at work."""

    def __init__(self, schema: str) -> None:
        self.name = f"{quote_identifier(schema)}.{quote_identifier(STEPS)}"
        self._schema = schema

    def find(self, asking: Asking) -> tuple[bool, list[Noted]]:
        """Whether we may write there, and what stands there."""
        may_write, is_there = asking.row(_MAY_NOTE, name=self.name, schema=self._schema)
        return bool(may_write), self._read(asking) if may_write and is_there else []

    def write(self, asking: Asking, revision: str, direction: str, steps: Sequence[Step]) -> None:
        """Add rows, in the transaction that is open; makes the table where it is not there."""
        asking.run(f"CREATE TABLE IF NOT EXISTS {self.name} ({_COLUMNS})")
        rows = [_row(step, revision, direction) for step in steps]
        asking.row(
            f"WITH written AS (INSERT INTO {self.name} ({_FIELDS}) SELECT {_FIELDS} FROM"  # noqa: S608 - quoted
            f" json_populate_recordset(CAST(NULL AS {self.name}), CAST(:rows AS json)) RETURNING 1)"
            " SELECT count(*) FROM written",
            rows=json.dumps(rows),
        )

    def finish(self, asking: Asking, revision: str, direction: str, step: Step) -> None:
        """Note that a statement that was started is done."""
        asking.row(
            f"WITH written AS (UPDATE {self.name} SET state = 'done', affected = CAST(CAST(:affected AS text) AS int8)"  # noqa: S608
            " WHERE revision = CAST(:revision AS text) AND direction = CAST(:direction AS text) AND number = CAST(CAST(:number AS text) AS int)"
            " RETURNING 1) SELECT count(*) FROM written",
            revision=revision,
            direction=direction,
            number=str(step.number),
            affected=str(step.affected),
        )

    def forget(self, asking: Asking, revision: str, direction: str, number: int | None = None) -> None:
        """Remove the rows of a revision, or one of them, in the transaction that is open."""
        asking.row(
            f"WITH removed AS (DELETE FROM {self.name} WHERE revision = CAST(:revision AS text) AND direction = CAST(:direction AS text)"  # noqa: S608
            " AND coalesce(CAST(nullif(CAST(:number AS text), '') AS int), number) = number RETURNING 1)"
            " SELECT count(*) FROM removed",
            revision=revision,
            direction=direction,
            number="" if number is None else str(number),
        )

    def _read(self, asking: Asking) -> list[Noted]:
        answer = asking.ask(
            "SELECT encode(convert_to((SELECT json_agg(s ORDER BY s.number)::text"  # noqa: S608
            f" FROM {self.name} s), getdatabaseencoding()), 'base64')"
        )
        return [_noted(row) for row in document(answer) or ()]


async def half_applied(connection: AsyncConnection) -> tuple[str, ...]:
    """The revisions of which statements are noted, in whatever schema; none where we may not look."""
    found: set[str] = set()
    for schema in await connection.scalars(text(_SCHEMAS), {"name": STEPS}):
        name = f"{quote_identifier(schema)}.{quote_identifier(STEPS)}"
        rows = await connection.exec_driver_sql(f"SELECT DISTINCT revision FROM {name}")  # noqa: S608 - quoted
        found.update(row.revision for row in rows)
    return tuple(sorted(found))


async def drop_if_empty(guard: AsyncConnection, schema: str) -> None:
    """Remove the table that nobody needs any more; where somebody else uses it just now, the next run does it."""
    name = f"{quote_identifier(schema)}.{quote_identifier(STEPS)}"
    try:
        if await guard.scalar(text("SELECT to_regclass(:name)"), {"name": name}) is None:
            return
        if not (await guard.exec_driver_sql(f"SELECT EXISTS (SELECT FROM {name})")).scalar():  # noqa: S608
            await guard.exec_driver_sql(f"DROP TABLE {name}")
    except SQLAlchemyError:
        return


def digest(sql: str, parameters: Any) -> str:
    """The same for the same statement with the same values, in whatever order they were named.

    Behind a colon stands a short one of each value, where they are few: it tells which of them differs.
    """
    values = _ordered(parameters)
    whole = _hash(f"{sql}\0{values!r}", 16)
    if not (isinstance(parameters, Mapping | tuple) and 0 < len(parameters) <= _FEW_VALUES):
        return whole
    named = values if isinstance(parameters, Mapping) else enumerate(values, 1)
    short = (f"{str(name).replace(',', ' ')}={_hash(repr(value), 4)}" for name, value in named)
    return f"{whole}:{','.join(short)}"


def is_same(one: str, other: str) -> bool:
    """Whether two digests are of the same statement with the same values."""
    return one.partition(":")[0] == other.partition(":")[0]


def others(before: str, now: str) -> tuple[str, ...]:
    """The names, or the places, of the values that differ between two digests of one statement."""
    then, later = (dict(part.rpartition("=")[::2] for part in _values_of(one)) for one in (before, now))
    return tuple(name for name in {**then, **later} if then.get(name) != later.get(name))


def _values_of(digested: str) -> list[str]:
    _, _, values = digested.partition(":")
    return values.split(",") if values else []


def _hash(text_: str, size: int) -> str:
    return hashlib.blake2b(text_.encode(errors="replace"), digest_size=size).hexdigest()


def _ordered(parameters: Any) -> Any:
    # SQLAlchemy names the values of many rows from a set: in another order in each process.
    if isinstance(parameters, Mapping):
        return sorted(parameters.items())
    if isinstance(parameters, list | tuple):
        return [_ordered(one) for one in parameters]
    return parameters


def _row(step: Step, revision: str, direction: str) -> dict[str, Any]:
    return {
        "revision": revision,
        "direction": direction,
        "number": step.number,
        "state": step.state,
        "digest": step.digest,
        "affected": step.affected,
        "is_data": step.is_data,
        "returns_rows": step.returns_rows,
        "statement": step.statement,
        "from_host": platform.node(),
    }


def _noted(row: dict[str, Any]) -> Noted:
    return Noted(**{**row, "noted_at": datetime.fromisoformat(row["noted_at"])})
