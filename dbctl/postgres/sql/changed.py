"""The rows that a DELETE or an UPDATE means, as a query that reads them."""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from typing import Any

from dbctl.postgres.identifiers import quote_identifier
from dbctl.postgres.sql.names import relation
from dbctl.postgres.sql.operations import Delete, Update
from dbctl.postgres.sql.tree import Fields, deparse_statement, read, walk

# Values that the statement was given; rows that only its own session can tell, or that depend on how often it
# runs (batches by LIMIT); queries with names of their own.
_NOT_TO_BE_HAD = {"ParamRef", "CurrentOfExpr", "limitCount", "CommonTableExpr"}
# Values that only the statement itself has.
_ONLY_THEN = {"ParamRef", "SetToDefault", "MultiAssignRef"}
Place = tuple[str, str]


def doomed_rows(
    change: Delete | Update, places: Mapping[str, Place], column: str = "", type_: str = ""
) -> str:
    """A SELECT of those rows; empty where the text alone does not say which.

    ``places`` are the schema and the name of tables by their names as written. With a ``column`` of an UPDATE, the
    rows in which it gets another value, as text of that type; all of them where the value is not in the text.
    """
    fields: Fields = change.tree or {}
    where = fields.get("whereClause")
    sources = fields.get("usingClause") or fields.get("fromClause")
    if not fields or "withClause" in fields or _says(_NOT_TO_BE_HAD, where, sources):
        return ""
    value = _value(fields, column) if column else None
    name = _shown_name(fields)
    if value is not None:
        where = _both(where, _differs(f"{name}.{quote_identifier(column)}", value, type_))
    select = _select(f"SELECT {name}.* FROM t")  # noqa: S608 - a quoted name
    select["fromClause"] = [{"RangeVar": fields["relation"]}]
    if sources:
        link = _select("SELECT FROM t WHERE EXISTS (SELECT FROM t)")["whereClause"]
        inner = link["SubLink"]["subselect"]["SelectStmt"]
        inner["fromClause"] = sources
        if where:
            inner["whereClause"] = where
        where = link
    if where:
        select["whereClause"] = where
    moved = deepcopy({"SelectStmt": select})
    for kind, node in walk(moved):
        if kind == "RangeVar" and (place := places.get(str(relation(node)))):
            _move(node, place)
    return deparse_statement(moved)


def read_columns(change: Delete | Update) -> frozenset[str]:
    """The names of the columns that say which rows it means, and which values they get; "*" for a whole row."""
    fields: Fields = change.tree or {}
    given = (fields.get("whereClause"), fields.get("targetList"), fields.get("usingClause"))
    found: set[str] = set()
    for kind, node in walk(*(one for one in (*given, fields.get("fromClause")) if one)):
        if kind == "ColumnRef":
            last = node.get("fields", [{}])[-1]
            found.add(last.get("String", {}).get("sval", "*"))
    return frozenset(found)


def _says(kinds: set[str], *nodes: Any) -> bool:
    return any(kind in kinds for kind, _ in walk(*(node for node in nodes if node)))


def _shown_name(fields: Fields) -> str:
    table = fields["relation"]
    return quote_identifier(table.get("alias", {}).get("aliasname") or table["relname"])


def _value(fields: Fields, column: str) -> Fields | None:
    """The expression that a column is set to, where the text has it."""
    for node in fields.get("targetList", ()):
        target: Fields = node.get("ResTarget", {})
        if target.get("name") == column and "indirection" not in target:
            value: Fields = target.get("val", {})
            return None if _says(_ONLY_THEN, value) else value
    return None


def _differs(column: str, value: Fields, type_: str) -> Fields:
    """Compared as text: a type's own equality may take different values for one (citext), or be missing (json)."""
    shape = f"SELECT FROM t WHERE CAST({column} AS text) IS DISTINCT FROM CAST(CAST(x AS {type_}) AS text)"  # noqa: S608 - a quoted name, the catalog's type
    condition: Fields = _select(shape)["whereClause"]
    condition["A_Expr"]["rexpr"]["TypeCast"]["arg"]["TypeCast"]["arg"] = value
    return condition


def _both(one: Fields | None, other: Fields) -> Fields:
    return {"BoolExpr": {"boolop": "AND_EXPR", "args": [one, other]}} if one else other


def _move(node: Fields, place: Place) -> None:
    """Name the table where it is, and let the rest of the statement call it as before."""
    schema, name = place
    if node["relname"] != name:
        node.setdefault("alias", {"aliasname": node["relname"]})
    node["schemaname"], node["relname"] = schema, name


def _select(sql: str) -> Fields:
    ((_, _, fields),) = read(sql)
    return fields
