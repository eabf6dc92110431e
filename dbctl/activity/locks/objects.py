"""What a lock is on, in words; and the names of tables, looked up without waiting for anybody."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from sqlalchemy import Row, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection

from dbctl.activity.reading import bounded
from dbctl.database.errors import sqlstate
from dbctl.postgres.identifiers import quote_if_needed

_RELATIONS = text(
    """
    SELECT c.oid, n.nspname, c.relname
      FROM pg_catalog.pg_class AS c JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
     WHERE c.oid = ANY(CAST(:oids AS oid[]))
    """
)
_DATABASES = text("SELECT oid, datname FROM pg_catalog.pg_database WHERE oid = ANY(CAST(:oids AS oid[]))")
_LOCK_NOT_AVAILABLE = "55P03"
_PARTS_OF_RELATIONS = {
    "relation": "",
    "page": "a page of ",
    "tuple": "a row of ",
    "extend": "the growth of ",
}
_SHARED = 0


async def read_relations(connection: AsyncConnection, oids: Collection[int]) -> Mapping[int, str] | None:
    """Names by oid, from pg_class; None where somebody has locked the catalog itself."""
    rows = await _rows(connection, _RELATIONS, oids)
    if rows is None:
        return None
    return {row.oid: f"{quote_if_needed(row.nspname)}.{quote_if_needed(row.relname)}" for row in rows}


async def read_databases(connection: AsyncConnection, oids: Collection[int]) -> Mapping[int, str] | None:
    """Names by oid, from pg_database; None where somebody has locked the catalog itself."""
    rows = await _rows(connection, _DATABASES, oids)
    return None if rows is None else {row.oid: row.datname for row in rows}


async def _rows(connection: AsyncConnection, statement: Any, oids: Collection[int]) -> Any:
    if not oids:
        return ()
    try:
        async with bounded(connection):
            return (await connection.execute(statement, {"oids": list(oids)})).all()
    except DBAPIError as error:
        if sqlstate(error) != _LOCK_NOT_AVAILABLE:
            raise
        return None


def relation_name(database: int, oid: int, ours: int, relations: Mapping[int, str]) -> str:
    """A table's name; its number where it is another database's, or where the catalog can't be read."""
    if database in {ours, _SHARED}:
        return relations.get(oid, f"relation {oid}")
    return f"relation {oid} of database {database}"


def lock_object(lock: Row[Any], relation: str | None) -> str:
    """What a row of pg_locks is about; ``relation`` is the table that is concerned, if one is known."""
    kind = str(lock.locktype)
    if kind in _PARTS_OF_RELATIONS:
        return f"{_PARTS_OF_RELATIONS[kind]}{relation}"
    # One who waits for a row waits for the transaction that changed it last.
    if kind == "transactionid" and relation:
        return f"a row of {relation}"
    words = {
        "transactionid": f"transaction {lock.transactionid}",
        "virtualxid": f"the transaction {lock.virtualxid}, whatever it does",
        "object": f"object {lock.objid} of catalog {lock.classid}",
    }
    return f"advisory lock {_advisory_key(lock)}" if kind == "advisory" else words.get(kind, kind)


def _advisory_key(lock: Row[Any]) -> str:
    """As it was given: one 64-bit number, or two of 32 bits."""
    high, low = lock.classid, lock.objid
    if lock.objsubid == 1:
        whole = high << 32 | low
        return str(whole - (1 << 64) if whole >> 63 else whole)
    return f"({_signed(high)}, {_signed(low)})"


def _signed(number: int) -> int:
    return number - (1 << 32) if number >> 31 else number
