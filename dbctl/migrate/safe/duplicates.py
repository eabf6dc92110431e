"""A look for the rows that a unique index could not be built over."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from alembic.ddl.impl import DefaultImpl
from alembic.operations import ops
from sqlalchemy import Column

from dbctl.migrate.safe.facts import qualified
from dbctl.migrate.safe.operations import RefuseOp, condition_sql
from dbctl.postgres.identifiers import quote_identifier
from dbctl.postgres.sql.tree import SqlNotParsed, deparse, read


def look_for_duplicates(operation: ops.CreateIndexOp, impl: DefaultImpl) -> RefuseOp:
    """A query for a key that two rows have; NULLs are no duplicates, unless the index says so."""
    keys = [key for each in operation.to_index().expressions for key in _keys(each, impl)]
    conditions = []
    if (where := operation.kw.get("postgresql_where")) is not None:
        conditions.append(f"({condition_sql(where, impl)})")
    if not operation.kw.get("postgresql_nulls_not_distinct"):
        conditions += [f"{key} IS NOT NULL" for key in keys]
    table, listed = qualified(operation.schema, str(operation.table_name)), ", ".join(keys)
    chosen = f" WHERE {' AND '.join(conditions)}" if conditions else ""
    query = f"SELECT {listed} FROM {table}{chosen} GROUP BY {listed} HAVING count(*) > 1 LIMIT 1"  # noqa: S608 - to be read in a file
    what = listed.replace('"', "")
    complaint = (
        f"rows of {operation.table_name} have the same {what}: remove the duplicates, then run this again"
    )
    return RefuseOp(query, complaint)


def _keys(expression: Any, impl: DefaultImpl) -> Iterator[str]:
    if isinstance(expression, Column):
        yield quote_identifier(str(expression.name))
        return
    written = condition_sql(expression, impl)
    try:
        ((_, _, index),) = read(f"CREATE INDEX ON t ({written})")
    except (SqlNotParsed, ValueError):
        yield f"({written})"
        return
    for element in index["indexParams"]:
        # How it is sorted, and by which operators, is no part of what is the same.
        fields = element["IndexElem"]
        yield f"({deparse(fields['expr'])})" if "expr" in fields else quote_identifier(fields["name"])
