"""The rows that a DELETE means, as a query that reads them."""

from __future__ import annotations

from dbctl.postgres.identifiers import quote_identifier
from dbctl.postgres.sql.operations import Delete
from dbctl.postgres.sql.tree import Fields, deparse_statement, read, walk

# Values that the statement was given, rows that only its own session or another query can tell.
_NOT_TO_BE_HAD = {"ParamRef", "CurrentOfExpr"}


def doomed_rows(change: Delete) -> str:
    """A SELECT of those rows; empty where the text alone does not say which."""
    fields: Fields = change.tree or {}
    where = fields.get("whereClause")
    if "withClause" in fields or not fields or any(kind in _NOT_TO_BE_HAD for kind, _ in walk(where or {})):
        return ""
    relation = fields["relation"]
    name = quote_identifier(relation.get("alias", {}).get("aliasname") or relation["relname"])
    select = _select(f"SELECT {name}.* FROM t")  # noqa: S608 - a quoted name
    select["fromClause"] = [{"RangeVar": relation}]
    if using := fields.get("usingClause"):
        link = _select("SELECT FROM t WHERE EXISTS (SELECT FROM t)")["whereClause"]
        inner = link["SubLink"]["subselect"]["SelectStmt"]
        inner["fromClause"] = using
        if where:
            inner["whereClause"] = where
        where = link
    if where:
        select["whereClause"] = where
    return deparse_statement({"SelectStmt": select})


def _select(sql: str) -> Fields:
    ((_, _, fields),) = read(sql)
    return fields
