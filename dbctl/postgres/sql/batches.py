"""A change of many rows, cut to a part of them: the same statement, with its own WHERE and one more."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from dbctl.postgres.identifiers import quote_identifier
from dbctl.postgres.sql.expressions import column, conjuncts
from dbctl.postgres.sql.names import words
from dbctl.postgres.sql.operations import Delete, Insert, Update
from dbctl.postgres.sql.tree import Fields, deparse, deparse_statement, read, walk

START, UNTIL, PART = "dbctl start", "dbctl until", "dbctl part"
_KINDS = {Update: "UpdateStmt", Delete: "DeleteStmt", Insert: "InsertStmt"}
_SOURCES = {Update: "fromClause", Delete: "usingClause"}
# Given the same values they give the same result.
_PURE = {"lower", "upper", "btrim", "ltrim", "rtrim", "md5", "left", "right", "length", "abs", "replace"}
_PURE |= {"split_part", "substring", "regexp_replace", "concat", "concat_ws"}
_NEVER_NULL = {
    "now",
    "current_timestamp",
    "clock_timestamp",
    "gen_random_uuid",
    "current_date",
    "localtimestamp",
}
_WITHOUT_EQUALITY = {"json", "xml", "point", "line", "lseg", "box", "path", "polygon", "circle"}
# What gives other rows for a part of its source than for all of it.
_OF_ALL_ROWS = {
    "larg",
    "groupClause",
    "havingClause",
    "distinctClause",
    "windowClause",
    "limitCount",
    "limitOffset",
}
_AGGREGATES = {"count", "sum", "min", "max", "avg", "array_agg", "string_agg", "json_agg", "jsonb_agg"}
_AGGREGATES |= {"bool_and", "bool_or", "every", "json_object_agg", "jsonb_object_agg"}


def next_rows(change: Update | Delete, key: Sequence[str], types: Mapping[str, str]) -> str:
    """The change for the next 1000 rows; empty where it would find the same rows again.

    ``key`` is the primary key, or ctid; ``types`` are the table's columns.
    """
    fields = change.tree
    where: Fields | None = fields.get("whereClause")
    if isinstance(change, Update):
        left = _left(fields, types)
        if left is None:
            return ""
        where = _both(where, _condition(left)) if left else where
    name = _alias(fields["relation"])
    columns = ", ".join(f"{name}.{quote_identifier(each)}" for each in key)
    rows = f"SELECT {columns} FROM t LIMIT 1000"  # noqa: S608 - quoted names
    batch = _condition(
        f"{columns} = ANY (ARRAY({rows}))"
        if list(key) == ["ctid"]
        else f"{columns if len(key) == 1 else f'({columns})'} IN ({rows})"
    )
    select = next(node for kind, node in walk(batch) if kind == "SelectStmt")
    select["fromClause"] = [{"RangeVar": fields["relation"]}, *fields.get(_SOURCES[type(change)], ())]
    if where:
        select["whereClause"] = where
    return _with_where(change, _both(where, batch))


def one_range(change: Update | Delete | Insert, key: str, source: Sequence[str]) -> str:
    """The change for the rows whose key is between `START` and `UNTIL`; empty if parts are not the whole.

    An INSERT … SELECT is cut by the key of ``source``, the table that it reads: its schema and name.
    """
    if not isinstance(change, Insert):
        condition = _range(_alias(change.tree["relation"]), key)
        return _with_where(change, _both(change.tree.get("whereClause"), condition))
    select = change.tree["selectStmt"].get("SelectStmt", {})
    read_from = [
        item["RangeVar"]
        for item in select.get("fromClause", ())
        if "RangeVar" in item and item["RangeVar"].get("relname") == source[-1]
    ]
    if len(read_from) != 1 or _OF_ALL_ROWS & select.keys() or _aggregates(select):
        return ""
    where = _both(select.get("whereClause"), _range(_alias(read_from[0]), key))
    part = {"SelectStmt": select | {"whereClause": where}}
    return deparse_statement({"InsertStmt": change.tree | {"selectStmt": part}})


def merge_of_part(sql: str) -> tuple[str, str]:
    """MERGE from a part of its source, whose condition is `PART`, and the source; empty if parts are not the whole."""
    ((_, _, fields),) = read(sql)
    source = fields["sourceRelation"].get("RangeVar")
    whens = [each.get("MergeWhenClause", {}) for each in fields.get("mergeWhenClauses", ())]
    is_of_target = any(each.get("matchKind") == "MERGE_WHEN_NOT_MATCHED_BY_SOURCE" for each in whens)
    if source is None or is_of_target or source["relname"] == fields["relation"]["relname"]:
        return "", ""
    name = ".".join(quote_identifier(source[key]) for key in ("schemaname", "relname") if key in source)
    part = f"SELECT FROM (SELECT * FROM {name} WHERE '{PART}') AS {_alias(source)}"  # noqa: S608 - quoted names
    ((_, _, select),) = read(part)
    cut = {"MergeStmt": fields | {"sourceRelation": select["fromClause"][0]}}
    return deparse_statement(cut), name


def plain_update(change: Update) -> tuple[dict[str, str], str] | None:
    """The columns of an UPDATE with their expressions, and its condition; None where it is more than that."""
    fields: Fields = change.tree
    targets = [node.get("ResTarget", {}) for node in fields.get("targetList", ())]
    if {"fromClause", "withClause"} & fields.keys() or "alias" in fields["relation"]:
        return None
    if any("indirection" in each or "MultiAssignRef" in each.get("val", {}) for each in targets):
        return None
    where = fields.get("whereClause")
    return {each["name"]: deparse(each["val"]) for each in targets}, deparse(where) if where else ""


def _left(fields: Fields, types: Mapping[str, str]) -> str | None:
    """The condition of the rows still to be changed: empty if the WHERE says it already, None if there is none."""
    targets = [node.get("ResTarget", {}) for node in fields.get("targetList", ())]
    if "fromClause" in fields or "withClause" in fields:
        return None
    where = fields.get("whereClause")
    nulls = {_tested(term) for term in (conjuncts(where) if where else ())}
    if any(each.get("name") in nulls and _is_never_null(each.get("val", {})) for each in targets):
        return ""
    changed = {each.get("name", "") for each in targets}
    if not all(_is_settled(each, changed, types) for each in targets):
        return None
    name = _alias(fields["relation"])
    return " OR ".join(
        f"{name}.{quote_identifier(each['name'])} IS DISTINCT FROM "
        f"CAST({deparse(each['val'])} AS {types[each['name']]})"
        for each in targets
    )


def _is_settled(target: Fields, changed: set[str], types: Mapping[str, str]) -> bool:
    """Whether a column, once set, has the value that it would be set to again."""
    type_ = types.get(target.get("name", ""), "json")
    if "indirection" in target or type_.removesuffix("[]") in _WITHOUT_EQUALITY:
        return False
    for kind, fields in walk(target.get("val", {})):
        if kind in {"MultiAssignRef", "SetToDefault", "SubLink", "SQLValueFunction"}:
            return False
        if kind == "ColumnRef" and column(fields) in changed:
            return False
        if kind == "FuncCall" and words(fields.get("funcname", ()))[-1:][0] not in _PURE:
            return False
    return True


def _is_never_null(value: Fields) -> bool:
    if "A_Const" in value:
        return not value["A_Const"].get("isnull")
    if "TypeCast" in value:
        return _is_never_null(value["TypeCast"].get("arg", {}))
    if "FuncCall" in value:
        return words(value["FuncCall"].get("funcname", ()))[-1] in _NEVER_NULL
    return "SQLValueFunction" in value


def _tested(term: Fields) -> str | None:
    """The column of ``column IS NULL``."""
    test = term.get("NullTest", {})
    reference = test.get("arg", {}).get("ColumnRef")
    return column(reference) if reference and test.get("nulltesttype") == "IS_NULL" else None


def _aggregates(select: Fields) -> bool:
    calls = (fields for kind, fields in walk(select.get("targetList", ())) if kind == "FuncCall")
    return any("over" in call or words(call.get("funcname", ()))[-1] in _AGGREGATES for call in calls)


def _range(name: str, key: str) -> Fields:
    return _condition(f"{name}.{quote_identifier(key)} BETWEEN '{START}' AND '{UNTIL}'")


def _alias(range_: Fields) -> str:
    return quote_identifier(range_.get("alias", {}).get("aliasname") or range_["relname"])


def _condition(sql: str) -> Fields:
    ((_, _, fields),) = read(f"SELECT WHERE {sql}")
    condition: Fields = fields["whereClause"]
    return condition


def _both(where: Fields | None, condition: Fields) -> Fields:
    terms: Iterator[Any] = (each for each in (where, condition) if each)
    return {"BoolExpr": {"boolop": "AND_EXPR", "args": list(terms)}} if where else condition


def _with_where(change: Update | Delete, where: Fields) -> str:
    fields = {
        name: value for name, value in change.tree.items() if name not in {"returningList", "returningClause"}
    }
    return deparse_statement({_KINDS[type(change)]: fields | {"whereClause": where}})
