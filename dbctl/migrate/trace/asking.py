"""Our own questions on the project's connection: past SQLAlchemy, so that it notices nothing."""

from __future__ import annotations

import base64
import json
from contextlib import closing, suppress
from typing import Any

from sqlalchemy import Connection, text
from sqlalchemy.engine import Dialect

from dbctl.migrate.raw_cursors import overheard

# As bytes: the project's client_encoding may lack a letter of what we ask for.
_AS_BYTES = "SELECT encode(convert_to({}, getdatabaseencoding()), 'base64')"
_OIDS = "string_to_array(CAST(:{} AS text), ',')::oid[]"
# Our functions answer in bytes by themselves: there the plan is kept.
OBSERVE = (
    "SELECT pg_catalog.dbctl_observe(pg_catalog.current_schemas(true)::text[], "
    f"CAST(:floor AS text)::oid, CAST(:ceiling AS text)::oid, {_OIDS.format('also')})"
)
READ_RELATIONS = (
    "SELECT pg_catalog.dbctl_relations(pg_catalog.current_schemas(true)::text[], "
    "nullif(CAST(:since AS text), '')::xid, nullif(CAST(:last AS text), '')::xid8)"
)
READ_TABLES = f"SELECT pg_catalog.dbctl_tables({_OIDS.format('oids')})"
READ_SOURCE = _AS_BYTES.format("""(
    SELECT min(p.prosrc)
    FROM pg_catalog.pg_proc p
    JOIN pg_catalog.pg_language l ON l.oid = p.prolang
    WHERE p.proname = CAST(:name AS text) AND l.lanname = 'sql'
)""")
# Functions of users in languages that may run any statement.
MADE_FUNCTIONS = _AS_BYTES.format("""(
    SELECT json_agg(p.proname)::text
    FROM pg_catalog.pg_proc p
    JOIN pg_catalog.pg_language l ON l.oid = p.prolang
    WHERE lower(p.proname) = ANY (string_to_array(CAST(:names AS text), ','))
      AND l.lanname NOT IN ('internal', 'c') AND p.oid >= 16384
)""")
# Which tables have a column of these types, of an array of one, or of a domain over one.
READ_TYPE_USERS = _AS_BYTES.format("""(
    WITH RECURSIVE wanted (oid) AS (
        SELECT t.oid
        FROM json_array_elements(CAST(:types AS json)) w (name)
        JOIN pg_catalog.pg_type t ON t.typname = w.name ->> 1
        JOIN pg_catalog.pg_namespace n ON n.oid = t.typnamespace
        WHERE n.nspname = w.name ->> 0
           OR (w.name ->> 0 = '' AND n.nspname = ANY (pg_catalog.current_schemas(true)))
        UNION
        SELECT t.oid
        FROM wanted
        JOIN pg_catalog.pg_type t ON t.typbasetype = wanted.oid OR t.typelem = wanted.oid AND t.typlen = -1
    )
    SELECT json_agg(DISTINCT c.oid::int8)::text
    FROM wanted
    JOIN pg_catalog.pg_attribute a ON a.atttypid = wanted.oid AND NOT a.attisdropped
    JOIN pg_catalog.pg_class c ON c.oid = a.attrelid AND c.relkind IN ('r', 'p', 'm')
)""")

# What the types of these names give a column by themselves, those that are domains: [name, default, is_constrained].
READ_DOMAINS = _AS_BYTES.format("""(
    WITH RECURSIVE wanted (name, oid, typdefault, top) AS (
        SELECT w.name, t.oid, t.typdefault, t.oid
        FROM json_array_elements_text(CAST(:types AS json)) w (name)
        JOIN pg_catalog.pg_type t ON t.oid = pg_catalog.to_regtype(w.name) AND t.typtype = 'd'
        UNION ALL
        SELECT w.name, b.oid, w.typdefault, w.top
        FROM wanted w
        JOIN pg_catalog.pg_type t ON t.oid = w.oid
        JOIN pg_catalog.pg_type b ON b.oid = t.typbasetype AND b.typtype = 'd'
    )
    SELECT json_agg(json_build_array(w.name, w.typdefault, w.constrained))::text
    FROM (
        SELECT w.name, w.typdefault, bool_or(t.typnotnull OR EXISTS (
            SELECT FROM pg_catalog.pg_constraint c WHERE c.contypid = w.oid
        )) AS constrained
        FROM wanted w
        JOIN pg_catalog.pg_type t ON t.oid = w.oid
        GROUP BY w.name, w.typdefault
    ) w
)""")


class Asking:
    """Puts questions to the server through a cursor of the driver, on a connection that SQLAlchemy has.

    SQLAlchemy would begin a transaction of its own for them and call the listeners again. The driver begins
    one too: where none was open, ``rollback`` ends it.
    """

    def __init__(self, connection: Connection) -> None:
        self._dialect = connection.dialect
        self._dbapi = connection.connection

    def ask(self, question: str, **values: str) -> str:
        """The document that a question of this module answers with; ``values`` are its parameters."""
        (answer,) = self.row(question, **values)
        return base64.b64decode(answer or "").decode(errors="replace")

    def row(self, question: str, **values: str) -> Any:
        """The first row that a query gives."""
        with closing(overheard(self._dbapi.cursor())) as cursor:
            self._execute(cursor, question, values)
            return cursor.fetchone()

    def put(self, command: str, **values: str) -> None:
        """Run a command that gives nothing back."""
        with closing(overheard(self._dbapi.cursor())) as cursor:
            self._execute(cursor, command, values)

    def _execute(self, cursor: Any, sql: str, values: dict[str, str]) -> None:
        sql, names = _prepared(self._dialect, sql)
        parameters = values if names is None else tuple(values[name] for name in names)
        # None where there are none: a driver that formats strings then leaves percent signs alone.
        cursor.execute(sql, parameters or None)

    def number(self, query: str) -> int:
        """The number that a query without parameters gives, whatever names stand in it."""
        with closing(overheard(self._dbapi.cursor())) as cursor:
            cursor.execute(query)
            (number,) = cursor.fetchone() or (0,)
            return int(number)

    def run(self, command: str, parameters: Any = None) -> None:
        """Run a command in the driver's words; what it gives back is not fetched."""
        with closing(overheard(self._dbapi.cursor())) as cursor:
            cursor.execute(command, parameters)

    def undo(self) -> None:
        """Say ROLLBACK for a BEGIN of ours, where it can still be said."""
        with suppress(Exception):
            self.run("ROLLBACK")

    def rollback(self) -> None:
        """End the transaction that the driver began for a question."""
        self._dbapi.rollback()


def document(answer: str) -> Any:
    """An answer as plain values."""
    return json.loads(answer or "null")


_cache: dict[tuple[str, str, str], tuple[str, list[str] | None]] = {}


def _prepared(dialect: Dialect, question: str) -> tuple[str, list[str] | None]:
    """The question in the driver's words, and the order of its parameters where they go by place."""
    key = (dialect.driver, dialect.paramstyle, question)
    if key not in _cache:
        compiled = text(question).compile(dialect=dialect)
        _cache[key] = str(compiled), list(compiled.positiontup or ()) if compiled.positional else None
    return _cache[key]
